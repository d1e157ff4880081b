"""Who has a file open to write it, as Linux tells in ``/proc`` (proc_pid_fdinfo(5)).

A lease (fcntl(2), F_SETLEASE) would tell it too, but while one is held an ``open`` of the same file waits for its end,
and where that ``open`` holds Python's lock, as those of extensions do, the thread that would end it waits for the lock:
both stand still for the lease's 45 seconds. Reading ``/proc`` disturbs nobody.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

__all__ = ["Writers", "being_written", "visible"]

#: Tells which of these files, by device and inode, are being written; None where the system does not say it.
Writers = Callable[[set[tuple[int, int]]], set[tuple[int, int]] | None]

_FLAGS = re.compile(rb"^flags:\s*([0-7]+)$", re.MULTILINE)
_INODE = re.compile(rb"^ino:\s*(\d+)$", re.MULTILINE)


def being_written(wanted: Collection[tuple[int, int]]) -> set[tuple[int, int]] | None:
    """Return which of these files, by device and inode, a process that can be seen has open to write.

    None where the system does not say it.
    """
    if sys.platform != "linux" or not Path("/proc/self/fdinfo").is_dir():
        return None
    inodes = {inode for _, inode in wanted}
    return {file for file in _open_to_write(inodes) if file in wanted}


def visible(owner: int) -> bool:
    """Tell whether what a user's processes have open can be seen from this one."""
    return os.geteuid() in (0, owner)


def _read(path: str) -> bytes:
    """Read one of the kernel's small files: there may be ten thousand, and a stream for each costs three times as much."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _open_to_write(inodes: Collection[int]) -> Iterator[tuple[int, int]]:
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir(f"/proc/{process}/fdinfo")
        except OSError:  # another user's, or gone
            continue
        for descriptor in descriptors:
            try:
                told = _read(f"/proc/{process}/fdinfo/{descriptor}")
                flags, inode = _FLAGS.search(told), _INODE.search(told)
                if flags is None or not int(flags[1], 8) & (os.O_WRONLY | os.O_RDWR):
                    continue
                # Older kernels do not tell the inode here. The rest is not asked for more: of a file on a server that
                # is away there may be no answer.
                if inode is not None and int(inode[1]) not in inodes:
                    continue
                status = Path(f"/proc/{process}/fd/{descriptor}").stat()
            except OSError:  # closed meanwhile
                continue
            yield status.st_dev, status.st_ino
