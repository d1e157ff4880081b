"""Train a small network with PyTorch Lightning, unchanged, and get back what was captured of it.

    python examples/lightning_artifacts.py [lightning.pytorch | pytorch_lightning]

It needs tracelet-core, tracelet-lightning, scikit-learn and one of Lightning's two packages, and keeps what it captures in
``.tracelet/`` of the current folder. The images are scikit-learn's handwritten digits.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split

from tracelet import Experiment

PACKAGES = [name for name in ("lightning", "pytorch_lightning") if importlib.util.find_spec(name)]
PACKAGE = sys.argv[1] if len(sys.argv) > 1 else {"lightning": "lightning.pytorch"}.get(PACKAGES[0], PACKAGES[0])
pl: Any = importlib.import_module(PACKAGE)


class Digits(pl.LightningDataModule):
    """8 x 8 images of handwritten digits."""

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.save_hyperparameters()
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        everything = TensorDataset(images, torch.tensor(digits.target))
        self.train, self.validation = random_split(everything, [0.8, 0.2], torch.Generator().manual_seed(7))

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, self.hparams.batch_size)


class DigitsNet(pl.LightningModule):
    """Two convolutions and a linear layer."""

    def __init__(self, channels: int = 16, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * channels * 16, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        loss = cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        scores = self(images)
        self.log("val_loss", cross_entropy(scores, labels))
        self.log("accuracy", (scores.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


def train(folder: Path) -> DigitsNet:
    """Any training with Lightning: nothing in it is there for Tracelet."""
    pl.seed_everything(7, verbose=False)
    saver = importlib.import_module(f"{PACKAGE}.callbacks").ModelCheckpoint(
        dirpath=folder, filename="{epoch}", monitor="val_loss", save_top_k=2, save_last=True
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=5, accelerator="cpu", callbacks=[saver], **quiet)
    model = DigitsNet()
    trainer.fit(model, datamodule=Digits())
    trainer.save_checkpoint(folder / "mine.ckpt")
    return model


def main() -> None:
    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, Experiment("digits", artifacts=True, automagic_artifacts=True):
        model = train(Path(folder))

    # From here on this could be another process, on any machine that reaches the same backend.
    exp = Experiment("digits", artifacts=True)
    stored = exp.list_artifacts()
    for name, versions in sorted(Counter(artifact.name for artifact in stored).items()):
        print(f"{name}: versions: {versions}")
    labelled = {f"{one.name} {alias}": one.metadata for one in stored for alias in one.aliases}
    for name, said in sorted(labelled.items()):
        print(f"{name}: epoch {said['epoch']}, step {said['global_step']}")
    best = exp.get_artifact("digits-net-checkpoint", "best")
    print(f"best by {best.metadata['monitor']}, with {best.metadata['hyperparameters']}")
    images = next(iter(Digits().val_dataloader()))[0]
    loaded = exp.get_artifact("digits-net-model", "final").load_model().eval()
    same = torch.equal(loaded(images), model.eval()(images))
    print(f"the final model predicts {'as it did' if same else 'something else'}")


if __name__ == "__main__":
    main()
