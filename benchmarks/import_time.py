"""Importing Tracelet and making an experiment, beside the trackers' SDKs, each over bare Python: ``python benchmarks/import_time.py``."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import measuring
from measuring import OURS, Line, Step, Way, at_most, seconds, times


@contextlib.contextmanager
def python(code: str) -> Iterator[Step]:
    """Run a program, and bare Python after it; the difference is the program's own."""

    def step(number: int) -> float:
        took = seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True))
        return took - seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))

    yield step


def _way(code: str) -> Way:
    return Way("import_time:python", {"code": code})


def lines(*, quick: bool) -> list[Line]:
    sdks = {f"import {name}": _way(f"import {name}") for name in ("wandb", "mlflow")}
    made = "from tracelet import Experiment; Experiment('bench', artifacts=True)"
    return [
        Line("import-module", "`import tracelet`", {OURS: _way("import tracelet"), **sdks}, at_most(0.1)),
        Line(
            "import-experiment",
            "`from tracelet import Experiment`",
            {OURS: _way("from tracelet import Experiment"), **sdks},
            times(0.1, "import wandb"),
        ),
        Line("import-made", "the same, and `Experiment(…)`", {OURS: _way(made), **sdks}),
    ]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
