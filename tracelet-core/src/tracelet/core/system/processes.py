"""Processes: which one is still the same one, and which belong to a lane.

Linux shows its processes in ``/proc`` (proc(5)). Where that is missing, as on macOS, psutil asks the system. Where neither
shows even this process, all that is left is whether a number is in use, and a lane's process group.

A tracelet directory may be shared by machines, and by containers, which number their processes anew and may have the name of
their machine. So a process is noted with the table that has its number: nobody else's number is taken for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
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
    "count_as_dead",
    "current",
    "end_family",
    "family",
    "io_bytes",
    "is_dead",
    "lives",
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
#: The number of the namespace that sees all processes of a machine (PROC_PID_INIT_INO of linux/proc_ns.h).
_ALL_SEEING = "4026531836"
#: Names of machines that the user of this process has said to be gone.
_GONE: set[str] = set()


@attrs.frozen
class ProcessId:
    """A process, told from a later one with the same number by its start time, where that is known."""

    host: str
    pid: int
    #: Clock ticks since the machine's start (proc(5), stat field 22); or, with a point in them, seconds since the epoch;
    #: or ``?``, where nothing tells. Empty where it did not run any more.
    started: str
    #: The table that has its number: a mark of the machine, one of its start, and the number of its namespace (namespaces(7)),
    #: with ``-`` between them. Empty where an earlier release noted it, or the system is not Linux: then ``host`` tells.
    table: str = attrs.field(default="", kw_only=True)


def process_id(pid: int) -> ProcessId:
    """Return the identity of a process of this machine."""
    return ProcessId(socket.gethostname(), pid, _started(pid), table=_own_table())


@functools.cache
def current() -> ProcessId:
    """Return the identity of this process. A process asks the system once: it never changes."""
    return process_id(os.getpid())


if hasattr(os, "register_at_fork"):  # Windows has none; it is refused, in words
    # A child has a number of its own, which may be that of a process that ended.
    os.register_at_fork(after_in_child=current.cache_clear)


@functools.cache
def _own_table() -> str:
    """The mark of the table that this process sees; empty where the system has none. A process is moved to no other one."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:16]
        space = (_PROC / "self/ns/pid").readlink().name.removeprefix("pid:[").removesuffix("]")
    except OSError:
        return ""
    machine = b""
    with contextlib.suppress(OSError):
        machine = Path("/etc/machine-id").read_bytes().strip()
    # machine-id(5): it is not to be shown as it is.
    mark = hashlib.sha256(b"tracelet " + machine).hexdigest()[:12] if machine else ""
    return f"{mark}-{boot}-{space}"


def count_as_dead(host: str) -> None:
    """Take the processes of a machine or container that nothing here shows for dead, for the user says that it is gone."""
    _GONE.add(host)


def lives(process: ProcessId) -> bool | None:
    """Tell whether a process still runs; None where it is of another machine or container, and nothing here shows it."""
    known = _lives(process)
    return False if known is None and process.host in _GONE else known


def _lives(process: ProcessId) -> bool | None:
    mine = current()
    if not process.table or not mine.table:
        return alive(process) if process.host == mine.host else None
    if process.table == mine.table:
        return alive(process)
    (machine, boot, space), (my_machine, my_boot, my_space) = _parts(process.table), _parts(mine.table)
    if boot == my_boot:
        return _is_below(process) if my_space == _ALL_SEEING else None
    # A copied image has the mark of the machine that it was copied from, and containers have that of their image.
    again = process.host == mine.host and machine and machine == my_machine and space == my_space == _ALL_SEEING
    return False if again else None


def is_dead(process: ProcessId) -> bool:
    """Tell whether a process is known not to run any more: one that nothing here shows may be alive."""
    return lives(process) is False


def _parts(table: str) -> tuple[str, str, str]:
    machine, boot, space = (*table.split("-"), "", "", "")[:3]
    return machine, boot, space


def _is_below(process: ProcessId) -> bool:
    """Tell whether a process runs in a container of this machine, as its whole table shows (proc(5), status: NSpid)."""
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            rows = (line.split() for line in (entry / "status").read_text().splitlines())
            numbers = next((row[1:] for row in rows if row[0] == "NSpid:"), [])
            if len(numbers) > 1 and numbers[-1] == str(process.pid) and _started(int(entry.name)) == process.started:
                return True
    return False


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
