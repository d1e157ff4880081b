"""Files on this machine: hashed, copied so that what changes meanwhile is noticed, written all at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.exceptions import IntegrityError

__all__ = [
    "FileChanged",
    "Stamp",
    "atomic_write",
    "check_room",
    "copy_blob",
    "copy_file",
    "discard",
    "hash_blob",
    "hash_file",
    "hash_stream",
    "make_durable",
    "make_folder",
    "make_names_durable",
    "stamp",
]

_CHUNK = 1 << 20
#: What writing says where there is no room, or none for this user, whatever is written.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
#: ioctl request FICLONE of linux/fs.h: share the blocks of one file with another.
_FICLONE = 0x40049409
#: A file younger than this when it was hashed may change again within one tick of its clock, and
#: look the same; git calls such an entry racy.
_RACY_NS = 2_000_000_000


class FileChanged(IntegrityError):
    """A file is not the one that was hashed any more."""


@attrs.frozen
class Stamp:
    """How a file looked when it was hashed: bytes, mtime and inode; and when that was."""

    size_bytes: int
    mtime_ns: int
    inode: int
    taken_ns: int

    @property
    def racy(self) -> bool:
        """Whether the file was so young that a later change could look the same."""
        return self.mtime_ns + _RACY_NS > self.taken_ns

    def matches(self, status: os.stat_result) -> bool:
        """Tell whether the file still looks the same."""
        return (self.size_bytes, self.mtime_ns, self.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)


def stamp(status: os.stat_result) -> Stamp:
    """Return what :func:`os.stat` says that matters, and the time."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, time.time_ns())


def hash_stream(stream: BinaryIO) -> str:
    """Return the sha256, in hexadecimal, of what is left in a stream, read in pieces."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    while count := stream.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])
    return digest.hexdigest()


def _open_regular(path: Path) -> BinaryIO:
    """Open a file to read; where it is a FIFO or a device by now, that is an ``OSError`` and no endless wait."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    stream = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return stream


def hash_file(path: Path) -> tuple[str, Stamp]:
    """Return a file's sha256 and the stamp that goes with it.

    Raises :class:`FileChanged` where the file changes meanwhile, ``OSError`` where there is no regular file.
    """
    with _open_regular(path) as stream:
        before = stamp(os.fstat(stream.fileno()))
        digest = hash_stream(stream)
        # Some files, such as those of /proc, never have the size that they say.
        if stream.tell() != before.size_bytes or not before.matches(os.fstat(stream.fileno())):
            raise FileChanged(f"{str(path)!r} changed while it was read.")
    return digest, before


def hash_blob(path: Path) -> str:
    """Return the sha256 of a file, whether it changes meanwhile or not: of a blob, for instance, which may be marked as young.

    Raises ``OSError`` where there is no regular file.
    """
    with _open_regular(path) as stream:
        return hash_stream(stream)


def check_room(folder: Path, cause: BaseException | None) -> None:
    """Raise an ``OSError`` where a folder takes no more bytes, after somebody failed to write there for that cause.

    Some libraries keep the system's error to themselves, so that only trying tells.
    """
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        raise cause
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        probe.write_bytes(bytes(_CHUNK))
    finally:
        probe.unlink(missing_ok=True)


def _clone(source: BinaryIO, target: BinaryIO) -> bool:
    """Share the source's blocks with the target; False where the filesystem cannot, and nothing was done."""
    if sys.platform != "linux":  # pragma: no cover - other systems copy
        return False
    import fcntl

    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True  # pragma: no cover - only btrfs, xfs and their like


def copy_file(source: Path, target: Path, *, durable: bool = True) -> Stamp:
    """Copy a file's bytes (by reflink where possible) to a new one; return the source's stamp.

    Raises :class:`FileChanged` where the source changes meanwhile, ``OSError`` where it is no regular file. What goes
    wrong with the source bears its name as the error's ``filename``; what goes wrong with writing does not.
    """
    with _open_regular(source) as reader, target.open("xb") as writer:
        before = stamp(os.fstat(reader.fileno()))
        if not _clone(reader, writer):  # pragma: no branch - reflinks are for btrfs, xfs and their like
            shutil.copyfileobj(_Named(reader, source), writer, _CHUNK)
            writer.flush()
        if durable:
            os.fsync(writer.fileno())
        if not before.matches(os.fstat(reader.fileno())):
            raise FileChanged(f"{str(source)!r} changed while it was copied.")
    return before


@attrs.frozen
class _Named:
    """A file to read from; its errors bear its name, unlike those of the file that is written meanwhile."""

    stream: BinaryIO
    path: Path

    def read(self, size: int = -1) -> bytes:
        try:
            return self.stream.read(size)
        except OSError as error:
            error.filename = str(self.path)
            raise


def make_durable(path: Path) -> None:
    """Have the file's bytes on the disk before this returns; its name is for :func:`make_names_durable`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def make_names_durable(folder: Path) -> None:
    """Have the names of what is in a folder on the disk before this returns; so a new file outlives a power cut."""
    if os.name == "nt":  # pragma: no cover - there a folder cannot be opened, and its names need no help
        return
    folder_fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network filesystems have no such thing
            raise
    finally:
        os.close(folder_fd)


def make_folder(folder: Path) -> Iterator[Path]:
    """Make a folder and those above it; yield each folder that got a new name by that, for :func:`make_names_durable`."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        yield from make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    yield folder.parent


def copy_blob(source: Path, target: Path, sha256: str, known: Stamp | None = None) -> None:
    """Copy the bytes whose sha256 is given to ``target``, at once or not at all.

    ``known`` is the stamp of when they were hashed: where the file still looks the same and was
    not racy, the bytes are not hashed again. Raises :class:`FileChanged` where they are others. The bytes
    are on the disk then; the name is for :func:`make_names_durable`, once for many.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        same = False
        with contextlib.suppress(FileChanged):  # or another process has marked it as young: its bytes tell
            copied = copy_file(source, partial)
            same = known is not None and not known.racy and attrs.evolve(known, taken_ns=copied.taken_ns) == copied
        if not same and hash_blob(partial) != sha256:
            raise FileChanged(f"{str(source)!r} is not the file that was hashed any more.")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file at once or not at all; a ``durable`` one is on the disk, under its name, when this returns."""
    grown = list(make_folder(target.parent))
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("xb") as writer:
            writer.write(data)
            writer.flush()
            if durable:
                os.fsync(writer.fileno())
        partial.replace(target)
        if durable:
            for folder in (target.parent, *grown):
                make_names_durable(folder)
    finally:
        partial.unlink(missing_ok=True)


def discard(path: Path, older_than: float) -> int | None:
    """Delete a file that was last marked as needed before then; return the bytes that this frees, or None if it stays.

    Times are mtimes, in seconds since the epoch. A process that finds the file and marks it as young
    meanwhile keeps it. A file with another hard link frees nothing.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        if path.stat().st_mtime >= older_than:
            return None
        path.rename(aside)
        status = aside.stat()
        young = status.st_mtime >= older_than
        if young:
            # It was marked between the two looks: whoever did that finds it under its name again.
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
    except FileNotFoundError:
        return None  # somebody else was faster
    if young:
        return None
    return status.st_size if status.st_nlink == 1 else 0
