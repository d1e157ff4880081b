"""Users' programs, each in a process, a folder and an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pacing

#: What a program has for its deeds by default, and what a test may give it, in seconds on a quiet machine.
_LIMITS = {"TRACELET_DEADLINE": 30.0, "TRACELET_OPEN_TIMEOUT": 120.0, "TRACELET_STOP_TIMEOUT": 30.0}
#: No limit grows by more: a hang has to be found out on the busiest machine, too.
_SLOWEST = 10.0
_slowest = 1.0


def pace() -> float:
    """How many times as long as on a quiet machine things take now."""
    global _slowest
    now = min(pacing.pace(), _SLOWEST)
    _slowest = max(_slowest, now)
    return now


def soon(took: float, limit: float) -> bool:
    """Say whether something took less than a limit, as that is on this machine at its busiest until now."""
    pace()
    return took < limit * _slowest


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any tracker's own variables, and `extra`."""
    foreign = ("MLFLOW_", "TRACELET_", "WANDB_", "CLEARML_", "AIM_", "AWS_")
    return {**{key: value for key, value in os.environ.items() if not key.startswith(foreign)}, **extra}


def paced(environ: Mapping[str, str]) -> dict[str, str]:
    """A clean environment whose limits are those of this machine now; `TEST_PACE` is what programs multiply theirs by."""
    now = pace()
    own = environ if now == 1.0 else {**{name: str(value) for name, value in _LIMITS.items()}, **environ}
    limits = {name: str(float(own[name]) * now) for name in _LIMITS if name in own}
    return clean_environment({**environ, **limits, "TEST_PACE": str(now)})


def begin(code: str, folder: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Begin to run a program."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "program.py"
    script.write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env=paced(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], limit: float = 300.0) -> Any:
    """Wait for a program's end; return the JSON of the last line that it printed, or None."""
    out, err = process.communicate(timeout=limit * _SLOWEST)
    assert process.returncode == 0, f"{out[-3000:]}\n{err[-6000:]}"
    return json.loads(out.strip().splitlines()[-1]) if out.strip() else None


def run(code: str, folder: Path, environ: Mapping[str, str], limit: float = 300.0) -> Any:
    """Run a program to its end; return the JSON of the last line that it printed, or None."""
    return finish(begin(code, folder, environ), limit)


def on_a_terminal(arguments: Sequence[str], folder: Path, environ: Mapping[str, str], limit: float) -> bytes:
    """Run Python with a terminal for its input and output, and nobody at it; return all that it showed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=paced(environ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal's way to say that its last writer is gone
        while block := os.read(ours, 1 << 16):
            shown += block
    os.close(ours)
    assert child.wait(limit * _SLOWEST) == 0, shown
    return shown
