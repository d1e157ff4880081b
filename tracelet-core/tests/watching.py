"""The backend `scripted` from outside, and the lanes' processes on this machine."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tracelet import Experiment

#: What everything that this process starts inherits; other programs of this machine have lanes, too.
RUN = os.environ["TRACELET_TEST_RUN"] = uuid.uuid4().hex


@attrs.define
class Scripted:
    """The backend `scripted`, from outside: what it is told to do, and what it was asked."""

    place: Path

    def told(self, **misdeeds: str) -> None:
        """Misbehave so from now on, method by method."""
        (self.place / "script").write_text(json.dumps(misdeeds))

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


class _Opened:
    """The files that this process opens while they are noted."""

    def __init__(self) -> None:
        self._noted: list[list[str]] = []

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            for paths in self._noted:
                paths.append(str(arguments[0]))

    @contextmanager
    def noted(self) -> Iterator[list[str]]:
        """Give the paths of the files that are opened meanwhile."""
        paths: list[str] = []
        self._noted.append(paths)
        try:
            yield paths
        finally:
            self._noted.remove(paths)


opened = _Opened()
sys.addaudithook(opened.see)


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
