"""Train with Lightning, of whichever package ``PACKAGE`` names: eight steps, and a checkpoint at every second."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

pl = import_module(os.environ["PACKAGE"])
NAME = "net-checkpoint"


class Net(pl.LightningModule):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.losses: dict[int, float] = {}

    def training_step(self, batch: Any, number: int) -> Any:
        loss = (self.layer(batch) - 1).square().mean()
        self.losses[self.trainer.global_step + 1] = loss.item()
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


def train(resumed: Path | None = None) -> dict[int, float]:
    """Return the loss of each step."""
    torch.manual_seed(0)
    net = Net()
    checkpoint = import_module(f"{pl.__name__}.callbacks").ModelCheckpoint("out", save_top_k=-1, every_n_train_steps=2)
    trainer = pl.Trainer(
        max_steps=8, callbacks=[checkpoint], logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    (path,) = resumed.rglob("*.ckpt") if resumed else (None,)
    trainer.fit(net, torch.utils.data.DataLoader(torch.arange(16.0).reshape(4, 4), batch_size=1), ckpt_path=path)
    return net.losses
