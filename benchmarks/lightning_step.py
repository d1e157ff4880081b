"""What capture adds to a step and a save of Lightning: ``python benchmarks/lightning_step.py [package]``.

Steps are measured in turn with the detector off and on, in short fits of a model that does almost nothing; the
difference of the medians of the fastest fits is what the callback costs. A save is a checkpoint of 50 MB.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tracelet.plugin import Detection, DetectorContext
from tracelet_lightning import LightningSettings, tracelet_detectors

PACKAGE = sys.argv[1] if len(sys.argv) > 1 else "lightning.pytorch"
pl: Any = importlib.import_module(PACKAGE)
STEPS, ROUNDS, SAVES = 400, 15, 10


class Small(pl.LightningModule):
    """Does as little as a step can."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, width)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """One layer."""
        return self.layer(batch).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """One layer."""
        return self.layer(batch)

    def configure_optimizers(self) -> Any:
        """Steps that change nothing."""
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(folder: Path) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
    return pl.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, default_root_dir=folder, **quiet)


def step(folder: Path, data: Any) -> float:
    """Microseconds of one training step, the start and the end of a fit not counted."""
    model, times = Small(), []
    model.on_train_batch_end = lambda outputs, batch, batch_idx: times.append(time.perf_counter())
    trainer(folder).fit(model, data)
    return 1e6 * statistics.median(after - before for before, after in itertools.pairwise(times))


def save(run: Any, folder: Path) -> float:
    """Milliseconds of one save."""
    began = time.perf_counter()
    run.save_checkpoint(folder / "large.ckpt")
    return 1e3 * (time.perf_counter() - began)


def compared(measure: Callable[[], float], rounds: int, start: Callable[[], Any]) -> tuple[list[float], list[float]]:
    off, on = [], []
    for _ in range(rounds):
        off.append(measure())
        detector = start()
        on.append(measure())
        detector.stop()
    return off, on


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    (spec,) = tracelet_detectors()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        kept = folder / "kept"

        def emit(detection: Detection) -> None:
            if detection.path is not None and detection.path.is_file():
                kept.write_bytes(b"")
                with detection.path.open("rb") as source, kept.open("wb") as copy:
                    while block := source.read(1 << 20):
                        copy.write(block)

        def start() -> Any:
            context = DetectorContext(experiment="bench", directory=folder, workspace=folder / "made")
            detector = spec.create(LightningSettings(final_model=False), context)
            detector.start(emit)
            return detector

        data = torch.utils.data.DataLoader(torch.ones(STEPS, 1))
        step(folder, data)
        off, on = compared(lambda: step(folder, data), ROUNDS, start)
        print(f"{PACKAGE} {sys.modules[PACKAGE.partition('.')[0]].__version__}, {ROUNDS} fits of {STEPS} steps each")
        print(f"{'':<24}{'off':>10}{'on':>10}{'added':>10}   budget")
        fastest = [sorted(times)[:5] for times in (off, on)]
        for what, times in (
            ("step, us, minimum", (min(off), min(on))),
            ("step, us, fastest 5", map(statistics.median, fastest)),
        ):
            before, after = times
            print(f"{what:<24}{before:>10.1f}{after:>10.1f}{after - before:>10.1f}   30 us")
        run = trainer(folder)
        run.fit(Small(3500), torch.utils.data.DataLoader(torch.ones(1, 3500)))
        save(run, folder)
        off, on = compared(lambda: save(run, folder), SAVES, start)
        before, after = statistics.median(off), statistics.median(on)
        size = (folder / "large.ckpt").stat().st_size / 1e6
        print(f"{f'save of {size:.0f} MB, ms':<24}{before:>10.1f}{after:>10.1f}{after - before:>10.1f}   the copy")


if __name__ == "__main__":
    main()
