"""The backend `moody` from outside, and the lanes' processes on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import attrs


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


def lane_processes() -> list[int]:
    """Every process on this machine that carries a lane's token."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"TRACELET_LANE=" in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
