"""What capture adds to ``torch.save``: ``python benchmarks/torch_save.py`` (needs torch).

The function that saves is replaced by one that does nothing, so that what is left is Tracelet's own work; the same
calls are then made with the real one. Each figure is the median of several rounds, in which the ways take turns; the
overhead is the median of the rounds' differences. Tracelet's own work is in microseconds of the thread's CPU time, for
it waits for nothing, and a busy machine does not change it much; the real saves are in those of the clock.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tracelet import Experiment, ExperimentConfig
from tracelet.core.plugins.registry import registry
from tracelet.plugin import DetectorContext, saving

ROUNDS = 15


def per_call(call: Callable[[], Any], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Microseconds of one call."""
    began = clock()
    for _ in range(calls):
        call()
    return (clock() - began) / calls * 1e6


def compare(without: Callable[[], float], with_it: Callable[[], float]) -> tuple[float, float, float]:
    """Medians of both, and of the differences, round by round."""
    rounds = [(without(), with_it()) for _ in range(ROUNDS)]
    differences = [after - before for before, after in rounds]
    return (*(statistics.median(column) for column in zip(*rounds, strict=True)), statistics.median(differences))


def row(name: str, before: float, after: float, more: float, budget: str = "") -> None:
    ratio = f"{after / before:.2f}" if before >= 1 else ""
    print(f"{name:<52}{before:>10.2f}{after:>10.2f}{more:>+10.2f}{ratio:>8}   {budget}")


def no_save(obj: object, f: Any, pickle_module: Any = None) -> None:
    """Stands in for ``torch.save``: the patch is put on it, as on the real one."""


def tensors(count: int) -> dict[str, torch.Tensor]:
    return {f"layers.{number}.weight": torch.ones(4) for number in range(count)}


def checkpoint(count: int) -> dict[str, Any]:
    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(count).values()]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.ones(4)
    optimizer.step()
    return {"model": tensors(count), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": torch.tensor(0.5)}


class Switched:
    """A detector of its own, on and off as a measurement asks for it."""

    def __init__(self, folder: Path) -> None:
        spec = registry().detectors.get("torch")
        context = DetectorContext(experiment="bench", directory=folder, workspace=folder / "made")
        self._detector = spec.create(spec.settings(), context)

    @staticmethod
    def off(call: Callable[[], Any], calls: int) -> float:
        """Microseconds of a call while it does not run."""
        return per_call(call, calls, time.thread_time)

    def on(self, call: Callable[[], Any], calls: int) -> float:
        """Microseconds of a call while it runs."""
        self._detector.start(lambda detection: None)
        try:
            return per_call(call, calls, time.thread_time)
        finally:
            self._detector.stop()

    def claimed(self, call: Callable[[], Any], calls: int) -> float:
        """Microseconds of a call while it runs, and another detector has the file."""
        with saving():
            return self.on(call, calls)


def own_work(folder: Path) -> None:
    path = folder / "model.pth"
    path.write_bytes(b"content")
    real, torch.serialization.save = torch.serialization.save, no_save
    try:
        switched = Switched(folder)
        small, buffer = tensors(2), type("Unnamed", (), {"write": None})()
        cases: list[tuple[str, Any, Any, int, str]] = [
            ("off", small, path, 20_000, "1 us"),
            ("a save inside another detector's", small, path, 2_000, ""),
            ("to a buffer without a name", small, buffer, 2_000, ""),
            ("2 tensors", small, path, 1_000, "50 us"),
            ("1,000 tensors", tensors(1000), path, 300, "50 us"),
            ("checkpoint, 2 tensors, with Adam", checkpoint(2), path, 500, "50 us"),
            ("checkpoint, 1,000 tensors, with Adam", checkpoint(1000), path, 200, "50 us"),
            ("a module", torch.nn.Linear(2, 2), path, 1_000, "50 us"),
        ]
        for name, thing, place, calls, budget in cases:
            call: Callable[[], Any] = lambda thing=thing, place=place: no_save(thing, place)  # noqa: E731
            on = {"off": switched.off, "a save inside another detector's": switched.claimed}.get(name, switched.on)
            row(name, *compare(lambda: switched.off(call, calls), lambda: on(call, calls)), budget=budget)  # noqa: B023
    finally:
        torch.serialization.save = real


def imports() -> None:
    switched = Switched(Path.cwd())
    switched._detector.start(lambda detection: None)
    finder = sys.meta_path[0]
    took = statistics.median(
        per_call(lambda: finder.find_spec("colorsys", None), 20_000, time.thread_time) for _ in range(ROUNDS)
    )
    switched._detector.stop()
    row("an import of another module", 0.0, took, took)


def real_saves(folder: Path) -> None:
    """All of it, beside a save and a plain copy of the file by hand: claims, classification, snapshot.

    What capture does behind is waited for between two calls, as a training step would leave time for it.
    """
    config = ExperimentConfig(dir=folder / "tracelet", on_large="upload")
    exp = Experiment("bench", artifacts=True, automagic_artifacts=True, config=config)
    path = folder / "real.pth"
    for name, thing in (
        ("torch.save, 2 tensors", tensors(2)),
        ("torch.save, 1,000 tensors", tensors(1000)),
        ("torch.save, 50 MB", {"weight": torch.rand(12_500_000)}),
    ):

        def save() -> None:
            torch.save(thing, path)  # noqa: B023

        def save_and_copy() -> None:
            save()
            shutil.copyfile(path, folder / uuid.uuid4().hex)

        def idle() -> float:
            exp.stop()
            return per_call(save, 1)

        def by_hand() -> float:
            exp.stop()
            return per_call(save_and_copy, 1)

        def captured() -> float:
            exp.start()
            save()
            exp.flush()
            return per_call(save, 1)

        row(f"{name}: beside a save", *compare(idle, captured))
        row(f"{name}: beside a save and a copy", *compare(by_hand, captured), budget="50 us")
    exp.stop()


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        print(f"{'microseconds a call':<52}{'without':>10}{'with':>10}{'more':>10}{'ratio':>8}   budget")
        own_work(folder)
        imports()
        real_saves(folder)


if __name__ == "__main__":
    main()
