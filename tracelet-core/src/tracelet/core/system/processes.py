"""Processes of this machine: which one is still the same one, and which belong to a lane.

Linux shows its processes in ``/proc`` (proc(5)). Where that is missing, as on macOS, psutil asks the system. Where neither
shows even this process, all that is left is whether a number is in use, and a lane's process group.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any, Protocol

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
#: When a process began, where nothing tells.
_UNKNOWN = "?"


@attrs.frozen
class ProcessId:
    """A process, told from a later one with the same number by its start time, where that is known."""

    host: str
    pid: int
    #: Clock ticks since the machine's start (proc(5), stat field 22); or, with a point in them, seconds since the epoch;
    #: or ``?``, where nothing tells. Empty where it did not run any more.
    started: str


def process_id(pid: int) -> ProcessId:
    """Return the identity of a process of this machine."""
    return ProcessId(socket.gethostname(), pid, _started(pid))


@functools.cache
def current() -> ProcessId:
    """Return the identity of this process. A process asks the system once: it never changes."""
    return process_id(os.getpid())


if hasattr(os, "register_at_fork"):  # Windows has none; it is refused, in words
    # A child has a number of its own, which may be that of a process that ended.
    os.register_at_fork(after_in_child=current.cache_clear)


def alive(process: ProcessId) -> bool:
    """Tell whether a process of this machine still runs.

    Where its start cannot be compared, whoever has its number now is taken for it: nobody's work is taken from them.
    """
    now = _started(process.pid)
    if not now or not process.started:
        return False
    return now == process.started or not _comparable(now, process.started)


def _comparable(one: str, other: str) -> bool:
    return _UNKNOWN not in {one, other} and one.isdigit() == other.isdigit()


def family(token: str) -> list[int]:
    """Return the processes that carry the token, in whatever session or process group they are, as far as they are shown."""
    return _marked(TOKEN, token)


def owned_by(process: ProcessId) -> list[int]:
    """Return the lanes' processes of a process of this machine, which may be dead."""
    return _marked(OWNER, owner_mark(process))


def owner_mark(process: ProcessId) -> str:
    """Return what the variable ``OWNER`` says."""
    return f"{process.pid}~{process.started}"


def end_family(token: str, leader: int | None = None, *, spare: int | None = None, patience: float = 5.0) -> list[int]:
    """Kill every process that carries the token, and those they start meanwhile; return who is left.

    ``spare`` is left alone. ``patience`` is in seconds. Where nothing shows processes, the whole process group of
    ``leader`` is killed; who has left that group goes on unseen.
    """
    if _TABLE is None:
        return _end_group(leader)
    limit = time.monotonic() + patience
    while True:
        left = [pid for pid in family(token) if pid != spare and _started(pid)]
        if not left or time.monotonic() > limit:
            return left
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _end_group(leader: int | None) -> list[int]:
    if leader is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
    return []


def io_bytes(token: str) -> int | None:
    """Return the bytes that a lane's processes have read and written so far (proc(5), io); None where nothing counts them."""
    if not isinstance(_TABLE, _Proc):
        return None
    total = 0
    for pid in family(token):
        with contextlib.suppress(OSError):
            lines = (_PROC / str(pid) / "io").read_text().split("\n")
            counts = dict(line.split(": ") for line in lines if line)
            total += int(counts["rchar"]) + int(counts["wchar"])
    return total


# -- who shows processes


class _Table(Protocol):
    """What shows the processes of this machine."""

    def started(self, pid: int) -> str:
        """When a process began, see :class:`ProcessId`; empty where there is none, or a zombie, which runs nothing any more."""
        ...

    def marked(self, variable: str, value: str) -> list[int]:
        """The processes that have this in their environment."""
        ...


class _Proc:
    """Linux's ``/proc``."""

    def started(self, pid: int) -> str:
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]

    def marked(self, variable: str, value: str) -> list[int]:
        mark = f"{variable}={value}".encode()
        found = []
        for entry in _PROC.glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


class _Psutil:
    """psutil, which is there wherever the system is not Linux."""

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        self._wrong = (psutil.Error, OSError)

    def started(self, pid: int) -> str:
        with contextlib.suppress(*self._wrong):
            process = self._psutil.Process(pid)
            return "" if process.status() == self._psutil.STATUS_ZOMBIE else f"{process.create_time():.6f}"
        return ""

    def marked(self, variable: str, value: str) -> list[int]:
        found = set()
        for pid in self._psutil.pids():
            with contextlib.suppress(*self._wrong):
                process = self._psutil.Process(pid)
                if process.environ().get(variable) == value:
                    # Some of a system's own programs show their environment to nobody.
                    found |= {process.pid, *(child.pid for child in process.children(recursive=True))}
        return sorted(found)


def _find_table() -> _Table | None:
    """The first table that shows this very process."""
    tables: list[_Table] = [_Proc()]
    if not tables[0].started(os.getpid()):
        with contextlib.suppress(ImportError):
            import psutil

            tables.append(_Psutil(psutil))
    return next((table for table in tables if table.started(os.getpid())), None)


#: Found once: of two threads that import what is not there, one would get half of it.
_TABLE = _find_table()


def _started(pid: int) -> str:
    if _TABLE is not None:
        return _TABLE.started(pid)
    return _UNKNOWN if _exists(pid) else ""


def _marked(variable: str, value: str) -> list[int]:
    return [] if _TABLE is None else _TABLE.marked(variable, value)


def _exists(pid: int) -> bool:
    try:
        with contextlib.suppress(PermissionError):  # another user's is there, too
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
