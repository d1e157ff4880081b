"""What capture adds to a step and a save of Lightning: ``python benchmarks/lightning_step.py``.

Fits of a model that does almost nothing take turns with the detector off and on, within one process. A figure is the
fastest of three fits, because a busy machine adds more than the callback does. A save is a checkpoint of 50 MB.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measuring
from measuring import OURS, Line, Step, Way, beside, seconds

if TYPE_CHECKING:
    from tracelet.plugin import Detection

WITHOUT = "without capture"
STEPS, FITS = 400, 3


class Lightning:
    """One of the two packages, with a model that does as little as a step can, and the detector."""

    def __init__(self, package: str, folder: Path) -> None:
        import torch

        from tracelet.plugin import DetectorContext
        from tracelet_lightning import LightningSettings, tracelet_detectors

        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        self._package: Any = importlib.import_module(package)
        self._torch: Any = torch
        self._folder = folder
        (spec,) = tracelet_detectors()
        context = DetectorContext(experiment="bench", directory=folder, workspace=folder / "made")
        self._detector = spec.create(LightningSettings(final_model=False), context)

    def model(self, width: int = 1) -> Any:
        """One layer, and steps that change nothing."""
        torch = self._torch

        class Small(self._package.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(width, width)

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return self.layer(batch).sum()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.0)

        return Small()

    def data(self, count: int, width: int) -> Any:
        """So many batches, all the same."""
        return self._torch.utils.data.DataLoader(self._torch.ones(count, width))

    def trainer(self) -> Any:
        """One that says nothing and keeps nothing."""
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
        return self._package.Trainer(
            max_epochs=1, accelerator="cpu", enable_checkpointing=False, default_root_dir=self._folder, **quiet
        )

    @contextlib.contextmanager
    def detected(self) -> Iterator[None]:
        """Have the detector on; what it detects is copied, as capture does it."""
        self._detector.start(self._copy)
        try:
            yield
        finally:
            self._detector.stop()

    def _copy(self, detection: Detection) -> None:
        if detection.path is None or not detection.path.is_file():
            return
        with detection.path.open("rb") as source, (self._folder / "kept").open("wb") as copy:
            while block := source.read(1 << 20):
                copy.write(block)


@contextlib.contextmanager
def stepping(package: str) -> Iterator[Step]:
    lightning = Lightning(package, Path.cwd())
    data = lightning.data(STEPS, 1)

    def fit() -> float:
        """Seconds of one training step; the start and the end of a fit are not counted."""
        model, times = lightning.model(), []
        model.on_train_batch_end = lambda outputs, batch, batch_idx: times.append(time.perf_counter())
        lightning.trainer().fit(model, data)
        return statistics.median(after - before for before, after in itertools.pairwise(times))

    def step(number: int) -> dict[str, float]:
        off, on = [], []
        for _ in range(FITS):
            off.append(fit())
            with lightning.detected():
                on.append(fit())
        return {WITHOUT: min(off), OURS: min(on)}

    yield step


@contextlib.contextmanager
def saving(package: str) -> Iterator[Step]:
    lightning = Lightning(package, Path.cwd())
    run, path = lightning.trainer(), Path("large.ckpt")
    run.fit(lightning.model(3500), lightning.data(1, 3500))

    def save() -> None:
        run.save_checkpoint(path)

    def save_and_copy() -> None:
        save()
        with path.open("rb") as source, Path("copy").open("wb") as copy:
            while block := source.read(1 << 20):
                copy.write(block)

    def step(number: int) -> dict[str, float]:
        taken = {"a save": seconds(save), "a save and a copy": seconds(save_and_copy)}
        with lightning.detected():
            taken[OURS] = seconds(save)
        return taken

    yield step


def lines(*, quick: bool) -> list[Line]:
    found = []
    for name, package in (("lightning", "lightning.pytorch"), ("pytorch-lightning", "pytorch_lightning")):
        what = {"package": package}
        found += [
            Line(
                f"{name}-step",
                f"a training step of `{package}`",
                {OURS: Way("lightning_step:stepping", what)},
                beside(WITHOUT, 30e-6),
            ),
            Line(
                f"{name}-save",
                f"a checkpoint of 50 MB of `{package}`",
                {OURS: Way("lightning_step:saving", what)},
                beside("a save and a copy", 50e-6),
            ),
        ]
    return found


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
