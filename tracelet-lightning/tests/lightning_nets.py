"""Modules to train, of either package, for tests and the children that they start."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

UNIFIED, CLASSIC = "lightning.pytorch", "pytorch_lightning"
_NAMES = {UNIFIED: "LitUnified", CLASSIC: "LitClassic"}


class Steps:
    """What the modules of both packages do."""

    def __init__(self, hidden: int = 4, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, hidden), torch.nn.Linear(hidden, 3))

    def forward(self, x):
        return self.net(x)

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.cross_entropy(self(x), y)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch))
        self.log("val/gap", -float(self.current_epoch))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def net(package: str) -> type[Any]:
    """The class of the module for a package, findable by its name in this module."""
    name = _NAMES[package]
    if name not in globals():
        base = importlib.import_module(package).LightningModule
        globals()[name] = type(name, (Steps, base), {"__module__": __name__, "__qualname__": name})
    return globals()[name]


def __getattr__(name: str) -> Any:
    package = next((package for package, known in _NAMES.items() if known == name), None)
    if package is None:
        raise AttributeError(name)
    return net(package)


def data(count: int = 24) -> DataLoader:
    """Images of 4 x 4 of three classes, the same in every process."""
    x = torch.linspace(0, 1, count * 16).reshape(count, 1, 4, 4)
    return DataLoader(TensorDataset(x, torch.arange(count) % 3), batch_size=8)


def trainer(package: str, folder: Path | str, **options: Any) -> Any:
    """A quiet Trainer on the CPU."""
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "default_root_dir": str(folder),
    }
    return importlib.import_module(package).Trainer(**{**quiet, **options})


def checkpoints(package: str, folder: Path | str, **options: Any) -> Any:
    return importlib.import_module(f"{package}.callbacks").ModelCheckpoint(dirpath=str(folder), **options)
