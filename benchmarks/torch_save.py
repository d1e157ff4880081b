"""What capture adds to ``torch.save``: ``python benchmarks/torch_save.py`` (needs torch).

For most lines, the function that saves is replaced by one that does nothing, so that what is left is Tracelet's own work.
That is in the thread's CPU time, for it waits for nothing, and a busy machine does not change it much. The last lines make
the same calls with the real function, and are in the time of the clock. The ways take turns within one process, because
what is compared is a patch that is there or not.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import measuring
from measuring import OURS, Budget, Line, Step, Way, beside, seconds

WITHOUT = "without capture"


def per_call(call: Callable[[], Any], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    began = clock()
    for _ in range(calls):
        call()
    return (clock() - began) / calls


def no_save(obj: object, f: Any, pickle_module: Any = None) -> None:
    """Stands in for ``torch.save``: the patch is put on it, as on the real one."""


def tensors(count: int) -> dict[str, Any]:
    import torch

    return {f"layers.{number}.weight": torch.ones(4) for number in range(count)}


def checkpoint(count: int) -> dict[str, Any]:
    import torch

    parameters = [torch.nn.Parameter(tensor) for tensor in tensors(count).values()]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.ones(4)
    optimizer.step()
    return {"model": tensors(count), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": torch.tensor(0.5)}


class Switched:
    """A detector of its own, on and off as a measurement asks for it."""

    def __init__(self, folder: Path) -> None:
        from tracelet.core.plugins.registry import registry
        from tracelet.plugin import DetectorContext

        spec = registry().detectors.get("torch")
        context = DetectorContext(experiment="bench", directory=folder, workspace=folder / "made")
        self._detector = spec.create(spec.settings(), context)

    @staticmethod
    def off(call: Callable[[], Any], calls: int) -> float:
        """Seconds of a call while it does not run."""
        return per_call(call, calls, time.thread_time)

    def on(self, call: Callable[[], Any], calls: int) -> float:
        """Seconds of a call while it runs."""
        self._detector.start(lambda detection: None)
        try:
            return per_call(call, calls, time.thread_time)
        finally:
            self._detector.stop()

    def claimed(self, call: Callable[[], Any], calls: int) -> float:
        """Seconds of a call while it runs, and another detector has the file."""
        from tracelet.plugin import saving

        with saving():
            return self.on(call, calls)


#: The cases of a save that does nothing: what they are called, how often one is called in a row, and the budget in seconds.
_CASES: dict[str, tuple[str, int, float | None]] = {
    "idle": ("`torch.save`, the detector does not run", 20_000, 1e-6),
    "claimed": ("`torch.save` inside another detector's save", 2_000, None),
    "buffer": ("`torch.save` to a buffer without a name", 2_000, None),
    "small": ("`torch.save` of 2 tensors", 1_000, 50e-6),
    "large": ("`torch.save` of 1,000 tensors", 300, 50e-6),
    "checkpoint": ("`torch.save` of a checkpoint: 2 tensors, with Adam", 500, 50e-6),
    "large-checkpoint": ("`torch.save` of a checkpoint: 1,000 tensors, with Adam", 200, 50e-6),
    "module": ("`torch.save` of a module", 1_000, 50e-6),
}


def _saved(case: str) -> Any:
    import torch

    made: dict[str, Callable[[], Any]] = {
        "large": lambda: tensors(1000),
        "checkpoint": lambda: checkpoint(2),
        "large-checkpoint": lambda: checkpoint(1000),
        "module": lambda: torch.nn.Linear(2, 2),
    }
    return made.get(case, lambda: tensors(2))()


@contextlib.contextmanager
def own_work(case: str, calls: int) -> Iterator[Step]:
    import torch

    path = Path("model.pth")
    path.write_bytes(b"content")
    thing = _saved(case)
    place: Any = type("Unnamed", (), {"write": None})() if case == "buffer" else path.absolute()
    # The process ends with it: nobody needs the real one again.
    torch.serialization.save = no_save
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        switched = Switched(Path(folder))
        on = {"idle": switched.off, "claimed": switched.claimed}.get(case, switched.on)

        def call() -> None:
            no_save(thing, place)

        yield lambda number: {WITHOUT: switched.off(call, calls), OURS: on(call, calls)}


@contextlib.contextmanager
def importing() -> Iterator[Step]:
    """What the finder that waits for torch adds to the import of another module."""
    switched = Switched(Path.cwd())
    switched._detector.start(lambda detection: None)
    finder = sys.meta_path[0]
    yield lambda number: per_call(lambda: finder.find_spec("colorsys", None), 20_000, time.thread_time)
    switched._detector.stop()


@contextlib.contextmanager
def real_saves(count: int, width: int) -> Iterator[Step]:
    """All of it, beside a save and a plain copy of the file by hand: claims, classification, snapshot.

    What capture does behind is waited for between two calls, as a training step would leave time for it.
    """
    import torch

    from tracelet import Experiment

    exp = Experiment("bench", artifacts=True, automagic_artifacts=True)
    path = Path("real.pth")
    thing = {f"layers.{number}.weight": torch.rand(width) for number in range(count)}

    def save() -> None:
        torch.save(thing, path)

    def save_and_copy() -> None:
        save()
        shutil.copyfile(path, uuid.uuid4().hex)

    def step(number: int) -> dict[str, float]:
        taken = {"a save": seconds(save), "a save and a copy": seconds(save_and_copy)}
        exp.start()
        save()
        exp.flush()
        taken[OURS] = seconds(save)
        exp.stop()
        return taken

    yield step


def lines(*, quick: bool) -> list[Line]:
    rounds = {"rounds": 15, "quick_rounds": 7}
    found = [
        Line(
            f"torch-{case}",
            f"{title}: own work",
            {OURS: Way("torch_save:own_work", {"case": case, "calls": calls})},
            None if budget is None else beside(WITHOUT, budget),
            **rounds,
        )
        for case, (title, calls, budget) in _CASES.items()
    ]
    found.append(Line("torch-import", "an import of another module", {OURS: Way("torch_save:importing")}, **rounds))
    limit: Budget = beside("a save and a copy", 50e-6)
    for name, title, arguments in (
        ("torch-real-small", "`torch.save` of 2 tensors, captured", {"count": 2, "width": 4}),
        ("torch-real-many", "`torch.save` of 1,000 tensors, captured", {"count": 1000, "width": 4}),
        ("torch-real-50mb", "`torch.save` of 50 MB, captured", {"count": 1, "width": 12_500_000}),
    ):
        found.append(Line(name, title, {OURS: Way("torch_save:real_saves", arguments)}, limit, **rounds))
    return [attrs.evolve(line, environ={"TRACELET_ON_LARGE": "upload", "TRACELET_BACKEND": "local"}) for line in found]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
