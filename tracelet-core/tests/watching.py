"""The backend `moody` from outside, and the lanes' processes on this machine."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet import Experiment

#: What everything that this process starts inherits; other programs of this machine have lanes, too.
RUN = os.environ["TRACELET_TEST_RUN"] = uuid.uuid4().hex


@attrs.define
class Moody:
    """The backend `moody`, from outside: what it is told to do, and what it was asked."""

    place: Path

    def told(self, **misdeeds: str) -> None:
        """Misbehave so from now on, method by method."""
        (self.place / "mood").write_text(json.dumps(misdeeds))

    def calls(self, method: str) -> list[int]:
        """The processes in which a method was called."""
        path = self.place / "calls"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [int(pid) for name, pid in lines if name == method]


def beside(exp: Experiment) -> Experiment:
    """The experiment of that name as this process reads it from moody's place, without a lane."""
    return Experiment(exp.name, backend="moody-inline", artifacts=True)


class _Started:
    """How many processes this one has started: where there is none, none can be left behind."""

    count = 0

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in {"subprocess.Popen", "os.fork", "os.posix_spawn"}:
            self.count += 1


started = _Started()
sys.addaudithook(started.see)


def lane_processes() -> list[int]:
    """Every process that this one started and that carries a lane's token."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
            if b"TRACELET_LANE=" in environ and RUN.encode() in environ:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


#: Seconds that a million rounds of a loop take where nothing else is at work.
_QUIET = 0.03
#: Seconds for which a measurement is believed.
_FRESH = 5.0
_measured = (float("-inf"), 1.0)


def pace() -> float:
    """How many times as long as on a quiet machine things take on this one now; limits that are no test's subject grow by it."""
    global _measured
    told = os.environ.get("TRACELET_TEST_PACE")
    if told:
        return float(told)
    began = time.monotonic()
    if began - _measured[0] > _FRESH:
        for _ in range(1_000_000):
            pass
        took = (time.monotonic() - began) / _QUIET
        # What starts a process waits for more than a loop does; and the machine may be busier in a moment.
        _measured = time.monotonic(), 1.0 if took < 1.3 else 2 * took
    return _measured[1]


def at_this_pace(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits of a quiet machine as they have to be on this one now."""
    return {name: value * pace() if name in _LIMITS else value for name, value in limits.items()}


_LIMITS = {"deadline", "open_timeout", "stop_timeout"}
