"""The table that is made of the samples of a batch."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import torch

from tracelet_lightning import sample_files, samples

Row = dict[str, str]


class PutsOut(torch.nn.Module):
    """A model that puts out what it was made with."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, part: Any) -> Any:
        return self.output


def table(batch: Any, outputs: Any = None, module: Any = None, step: Any = None, **named: Any) -> list[Row]:
    """Return the rows of the table that a batch gives; ``step`` is what is done with the module and the batch."""
    module = module or torch.nn.Identity()
    view = samples.BatchObserver(module, batch, 16, **named)
    try:
        outputs = outputs if step is None else step(module, batch)
    finally:
        view.close()
    with tempfile.TemporaryDirectory() as folder:
        sample_files.write(Path(folder) / "s", view.samples(outputs), 16)
        return rows(Path(folder) / "s")


def rows(folder: Path) -> list[Row]:
    """Return the rows of the table in a folder of samples."""
    with (folder / "samples.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))
