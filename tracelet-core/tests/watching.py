"""The backend `scripted` from outside, and the lanes' processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tracelet import Experiment

#: What everything that this process starts inherits; other programs of this machine have lanes, too.
RUN = os.environ["TRACELET_TEST_RUN"] = uuid.uuid4().hex

#: From Python 3.12 on it warns of other threads; the children here end where they began.
FORKS = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@attrs.define
class Scripted:
    """The backend `scripted`, from outside: what it is told to do, and what it was asked."""

    place: Path

    def told(self, **misdeeds: str) -> None:
        """Misbehave so from now on, method by method."""
        aside = self.place / "script.new"
        aside.write_text(json.dumps(misdeeds))
        aside.replace(self.place / "script")  # whoever waits reads it meanwhile

    def calls(self, method: str) -> list[int]:
        """The processes in which a method was called."""
        path = self.place / "calls"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [int(pid) for name, pid in lines if name == method]


def beside(exp: Experiment) -> Experiment:
    """The experiment of that name as this process reads it from scripted's place, without a lane."""
    return Experiment(exp.name, backend="scripted-inline", artifacts=True)


class _Started:
    """How many processes this one has started: where there is none, none can be left behind."""

    count = 0

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in {"subprocess.Popen", "os.fork", "os.posix_spawn"}:
            self.count += 1


started = _Started()
sys.addaudithook(started.see)


class Steps:
    """Does something at one step of what this process does with files."""

    _SEEN = frozenset({"open", "os.rename", "os.remove", "os.link", "os.scandir", "os.listdir", "os.utime", "os.mkdir"})

    def __init__(self) -> None:
        self._left = 0
        self._act: Callable[[], object] | None = None
        #: The paths of the files that were opened.
        self.opened: list[str] = []

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            self.opened.append(str(arguments[0]))
        if self._act is None or event not in self._SEEN:
            return
        self._left -= 1
        if self._left == 0:
            act, self._act = self._act, None
            act()

    def next(self, act: Callable[[], object]) -> None:
        """Act at the next step."""
        self._left, self._act = 1, act

    def at(self, step: int, act: Callable[[], object], while_in: Callable[[], object]) -> bool:
        """Act at that step of a call; say whether the call had so many."""
        self._left, self._act = step, act
        try:
            while_in()
        finally:
            acted, self._act = self._act is None, None
        return acted


steps = Steps()
sys.addaudithook(steps.see)


def ended_at(step: int, end: signal.Signals, call: Callable[[], object]) -> bool:
    """Make a call in a process of its own, and send that the signal at a step of it; say whether it got so far."""
    child = os.fork()
    if child == 0:
        acted = True
        try:
            acted = steps.at(step, lambda: os.kill(os.getpid(), end), call)
        finally:
            os._exit(int(acted))
    return os.waitpid(child, 0)[1] != 0


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
