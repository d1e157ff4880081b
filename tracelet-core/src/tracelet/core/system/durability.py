"""Bytes and names that outlive a power cut: of one file or folder, and of many at once where the system can."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tracelet.core.system.threads import in_parallel

__all__ = ["Disk", "kind_of", "make_durable", "make_names_durable"]

_T = TypeVar("_T")

#: From so many files on, all of a filesystem at once is faster than each by itself.
_MANY = 16
#: How many files are brought to the disk at the same time where that is not so: the journal takes them together.
_AT_ONCE = 8
#: Bytes of other programs that may wait for the disk, and would be waited for with ours.
_OTHERS = 256_000_000
#: Filesystems of which syncfs(2) is known to write all, and to tell of what it could not write. FUSE may do neither.
_WHOLE = frozenset({"btrfs", "ext4", "xfs"})
#: The first Linux whose syncfs tells of errors since the filesystem was opened.
_TELLS = (5, 8)


def make_durable(path: Path) -> None:
    """Have the file's bytes on the disk before this returns. Its name need not be there after a power cut."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def make_names_durable(folder: Path | str) -> None:
    """Have the names of what is in a folder on the disk before this returns; so a new file outlives a power cut."""
    folder_fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network filesystems have no such thing
            raise
    finally:
        os.close(folder_fd)


class Disk:
    """The disk below a folder, for as long as files are written there: it tells of what went wrong meanwhile."""

    def __init__(self, folder: Path, count: int) -> None:
        """``folder`` is there already. ``count`` is how many files are about to be written."""
        self._whole = os.open(folder, os.O_RDONLY) if count >= _MANY and _can_all_at_once(folder) else None

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._whole is not None:
            os.close(self._whole)

    def settle_files(self, paths: Sequence[Path], size_bytes: int) -> None:
        """Have the bytes of new files on the disk before this returns. Raises ``OSError`` where one cannot be written."""
        self._settle(paths, size_bytes, make_durable)

    def settle_names(self, folders: Collection[Path | str]) -> None:
        """Have the names in these folders on the disk before this returns; a folder may be gone by now."""
        self._settle(folders, 0, _settle_folder)

    def _settle(self, paths: Collection[_T], size_bytes: int, one: Callable[[_T], None]) -> None:
        if len(paths) < _MANY:
            for path in paths:
                one(path)
        elif self._whole is not None and _waiting_bytes() <= size_bytes + _OTHERS:
            _sync(self._whole)
        else:
            in_parallel(one, paths, _AT_ONCE)


def _settle_folder(folder: Path | str) -> None:
    with contextlib.suppress(FileNotFoundError):  # it went, and its names with it
        make_names_durable(folder)


@functools.cache
def _system() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _sync(descriptor: int) -> None:
    """syncfs(2): have all of a filesystem on the disk."""
    if _system().syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _can_all_at_once(folder: Path) -> bool:
    return sys.platform == "linux" and _tells_errors() and kind_of(folder) in _WHOLE


@functools.cache
def _tells_errors() -> bool:
    """Whether this Linux tells of what syncfs could not write."""
    parts = os.uname().release.split(".")
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts[:2])
    return numbers >= _TELLS and hasattr(_system(), "syncfs")


def kind_of(folder: Path | str) -> str:
    """Return the kind of filesystem that a folder is on, such as ``ext4``; an empty text where nothing tells."""
    return _kind(os.stat(folder).st_dev)  # noqa: PTH116 - it may be text


@functools.cache
def _kind(device: int) -> str:
    """The kind of filesystem with this number, as ``/proc/self/mountinfo`` says (proc(5)); an empty text where it does not."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            mounted, _, kind = line.partition(" - ")
            if mounted.split()[2:3] == [number]:
                return kind.split()[0]
    return ""


def _waiting_bytes() -> int:
    """What waits for any disk of this machine, as ``/proc/meminfo`` says; much where it says nothing."""
    with contextlib.suppress(OSError, ValueError):
        rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        return sum(1024 * int(row[1]) for row in rows if row[:1] in (["Dirty:"], ["Writeback:"]))
    return sys.maxsize
