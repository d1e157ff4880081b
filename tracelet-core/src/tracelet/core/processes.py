"""Processes of this machine: which one is still the same one, and which belong to a lane."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import attrs

__all__ = [
    "OWNER",
    "TOKEN",
    "ProcessId",
    "alive",
    "current",
    "end_family",
    "family",
    "io_bytes",
    "owned_by",
    "owner_mark",
    "process_id",
]

#: The variable that marks a lane's process and, by inheritance, all it starts.
TOKEN = "TRACELET_LANE"
#: The one that says whose lane it is.
OWNER = "TRACELET_LANE_OF"
_PROC = Path("/proc")


@attrs.frozen
class ProcessId:
    """A process, told from a later one with the same number by its start time, where that is known."""

    host: str
    pid: int
    #: Clock ticks since the machine's start (proc(5), stat field 22), or empty.
    started: str


def process_id(pid: int) -> ProcessId:
    """Return the identity of a process of this machine."""
    return ProcessId(socket.gethostname(), pid, _started(pid))


def current() -> ProcessId:
    """Return the identity of this process."""
    return process_id(os.getpid())


def _started(pid: int) -> str:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie runs nothing any more.
    return "" if fields[0] == "Z" else fields[19]


def alive(process: ProcessId) -> bool:
    """Tell whether a process of this machine still runs."""
    if _PROC.is_dir():
        return bool(process.started) and _started(process.pid) == process.started
    try:  # pragma: no cover - systems without /proc
        os.kill(process.pid, 0)
    except ProcessLookupError:  # pragma: no cover
        return False
    except PermissionError:  # pragma: no cover
        return True
    return True  # pragma: no cover


def family(token: str) -> list[int]:
    """Return the processes that carry the token, in whatever session or process group they are."""
    return _marked(f"{TOKEN}={token}")


def owned_by(process: ProcessId) -> list[int]:
    """Return the lanes' processes of a process of this machine, which may be dead."""
    return _marked(f"{OWNER}={owner_mark(process)}")


def owner_mark(process: ProcessId) -> str:
    """Return what the variable ``OWNER`` says."""
    return f"{process.pid}~{process.started}"


def _marked(variable: str) -> list[int]:
    mark = variable.encode()
    found = []
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def io_bytes(token: str) -> int:
    """Return the bytes that a lane's processes have read and written so far (proc(5), io)."""
    total = 0
    for pid in family(token):
        with contextlib.suppress(OSError):
            lines = (_PROC / str(pid) / "io").read_text().split("\n")
            counts = dict(line.split(": ") for line in lines if line)
            total += int(counts["rchar"]) + int(counts["wchar"])
    return total


def end_family(token: str, *, spare: int | None = None, patience: float = 5.0) -> list[int]:
    """Kill every process that carries the token, and those they start meanwhile; return who is left.

    ``spare`` is left alone. ``patience`` is in seconds.
    """
    limit = time.monotonic() + patience
    while True:
        left = [pid for pid in family(token) if pid != spare and _started(pid)]
        if not left or time.monotonic() > limit:
            return left
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
