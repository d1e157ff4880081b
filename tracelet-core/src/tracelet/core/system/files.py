"""Files on this machine: hashed, copied so that what changes meanwhile is noticed, written all at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.core.system.durability import Disk, make_names_durable
from tracelet.core.system.threads import in_parallel
from tracelet.exceptions import IntegrityError

__all__ = [
    "FileChanged",
    "Stamp",
    "atomic_write",
    "atomic_writes",
    "check_room",
    "copy_blob",
    "copy_file",
    "copy_stream",
    "copy_verified",
    "create",
    "create_own",
    "discard",
    "hash_blob",
    "hash_file",
    "hash_files",
    "hash_stream",
    "is_marked",
    "is_whole",
    "limit_readers",
    "make_folder",
    "make_way",
    "mark",
    "open_regular",
    "read_small",
    "same_readers",
    "share",
    "stamp",
]

_LOG = logging.getLogger("tracelet.artifacts")
_CHUNK = 1 << 20
#: Bytes of a file that is read in one piece.
_SMALL = 1 << 18
#: Bytes: a piece of a file that is smaller than others.
_LEAST = 1 << 13
#: Bytes that the system copies at a time: within a second, so that Ctrl-C is heard.
_RANGE = 1 << 26
#: Bytes of several files, and of each on average, from which on it is faster to hash some at the same time.
_WORTH_THREADS, _WORTH_A_THREAD = 1 << 23, 1 << 16
#: What writing says where there is no room, or none for this user, whatever is written.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
#: How often a folder is made in one that others may be making or deleting.
_TRIES = 20
#: ioctl request FICLONE of linux/fs.h: share the blocks of one file with another.
_FICLONE = 0x40049409
#: A file younger than this when it was hashed may change again within one tick of its clock, and
#: look the same; git calls such an entry racy.
_RACY_NS = 2_000_000_000
#: A blob's mtime, in nanoseconds, has these last digits from when its bytes were written or hashed until somebody else
#: writes to it: the clock of a filesystem gives them once in a million times.
_TICK, _MARK = 1_000_000, 746_100


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


def hash_stream(stream: BinaryIO, size_bytes: int = _CHUNK) -> str:
    """Return the sha256, in hexadecimal, of what is left in a stream, read in pieces; ``size_bytes`` is how much that may be."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(max(_LEAST, min(_CHUNK, size_bytes + 1))))
    while count := stream.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])
    return digest.hexdigest()


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file to read; where it is a FIFO or a device by now, that is an ``OSError`` and no endless wait."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(file, "rb", _LEAST)
    os.close(file)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_small(path: str) -> bytes | None:
    """Read a small regular file, in as few calls of the system as there can be.

    Returns None where it is none, or is longer, is behind a link, or cannot be read: whoever opens it then learns why.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _SMALL:
            return None
        # A byte more is asked for, so that its end is seen.
        text = os.read(file, found.st_size + 1)
        return text if len(text) == found.st_size else None
    except OSError:
        return None
    finally:
        os.close(file)


def hash_file(path: Path) -> tuple[str, Stamp]:
    """Return a file's sha256 and the stamp that goes with it.

    Raises :class:`FileChanged` where the file changes meanwhile, ``OSError`` with its name where there is no regular file.
    """
    try:
        with open_regular(path) as stream:
            before = stamp(os.fstat(stream.fileno()))
            digest = hash_stream(stream, before.size_bytes)
            # Some files, such as those of /proc, never have the size that they say.
            if stream.tell() != before.size_bytes or not before.matches(os.fstat(stream.fileno())):
                raise FileChanged(f"{str(path)!r} changed while it was read.")
    except OSError as error:
        error.filename = str(path)
        raise
    return digest, before


def hash_files(paths: Sequence[Path], size_bytes: int) -> list[tuple[str, Stamp]]:
    """Hash many files, several at the same time where that is faster; ``size_bytes`` is about how much they are. Raises as :func:`hash_file` does."""
    if len(paths) < 2 or size_bytes < max(_WORTH_THREADS, len(paths) * _WORTH_A_THREAD):
        return [hash_file(path) for path in paths]
    return in_parallel(hash_file, paths, min(8, os.cpu_count() or 1))


def hash_blob(path: Path) -> str:
    """Return the sha256 of a file, whether it changes meanwhile or not: of a blob, for instance, which may be marked as young.

    Raises ``OSError`` where there is no regular file.
    """
    with open_regular(path) as stream:
        return hash_stream(stream)


def check_room(folder: Path, cause: BaseException | None) -> None:
    """Raise an ``OSError`` where a folder takes no more bytes, after somebody failed to write there for that cause.

    Some libraries keep the system's error to themselves, so that only trying tells.
    """
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        raise cause
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        with create(probe) as writer:
            writer.write(bytes(_CHUNK))
    finally:
        probe.unlink(missing_ok=True)


def copy_stream(source: BinaryIO, target: BinaryIO) -> None:
    """Copy what is left in a stream into a new file. The bytes of a file need not pass through this process."""
    if type(source) is io.BufferedReader and isinstance(source.raw, io.FileIO) and not source.tell():
        _copy_within_the_system(source, target)
    shutil.copyfileobj(source, target, _CHUNK)


def _copy(source: _Named, target: BinaryIO) -> None:
    """Copy the bytes of a file into a new one: by sharing its blocks, or within the system, and the rest through this process."""
    if _clone(source.stream, target):  # pragma: no cover - only btrfs, xfs and their like
        return
    _copy_within_the_system(source.stream, target)
    # Files such as those of /proc say that they are empty, and some filesystems copy nothing between each other.
    shutil.copyfileobj(source, target, _CHUNK)
    target.flush()


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


def _copy_within_the_system(source: BinaryIO, target: BinaryIO) -> None:
    """Copy what copy_file_range(2) copies, without reading it into this process; each file is then at where that ended."""
    if not hasattr(os, "copy_file_range"):  # pragma: no cover - other systems have none
        return
    reader, writer = source.fileno(), target.fileno()
    with contextlib.suppress(OSError):  # whoever copies the rest learns of it, and of whose fault it is
        while os.copy_file_range(reader, writer, _behind_hole(reader, writer)):
            pass


def _behind_hole(reader: int, writer: int) -> int:
    """Go behind the hole that a sparse file may have here, so that the copy has it, too; return how many bytes to copy then."""
    status, place = os.fstat(reader), os.lseek(reader, 0, os.SEEK_CUR)
    if status.st_blocks * 512 >= status.st_size or place >= status.st_size:
        return _RANGE
    begin, end = status.st_size, status.st_size + _RANGE
    try:
        begin = os.lseek(reader, place, os.SEEK_DATA)
        end = os.lseek(reader, begin, os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a filesystem that does not tell
            os.lseek(reader, place, os.SEEK_SET)
            return _RANGE
        os.ftruncate(writer, begin)  # it ends in a hole
    os.lseek(reader, begin, os.SEEK_SET)
    os.lseek(writer, begin, os.SEEK_SET)
    return min(end - begin, _RANGE)


def copy_file(source: Path, target: Path, *, durable: bool = True) -> Stamp:
    """Copy a file's bytes (by reflink where possible) to a new one, for the same readers; return the source's stamp.

    Raises :class:`FileChanged` where the source changes meanwhile, ``OSError`` where it is no regular file. What goes
    wrong with the source bears its name as the error's ``filename``; what goes wrong with writing does not.
    """
    with open_regular(source) as reader, create_own(target) as writer:
        status = os.fstat(reader.fileno())
        before = stamp(status)
        _copy(_Named(reader, source), writer)
        if durable:
            os.fsync(writer.fileno())
        if not before.matches(os.fstat(reader.fileno())):
            raise FileChanged(f"{str(source)!r} changed while it was copied.")
    _set_readers(target, status.st_mode)
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


def make_folder(folder: Path | str, *, shared: bool = True) -> list[Path]:
    """Make a folder and those above it; return each folder that got a new name by that.

    They are this user's alone, or whose the folder is that they are made in, where a group shares that. Where ``shared``
    is False, the last one is this user's alone wherever it is.
    """
    if os.path.isdir(folder):  # noqa: PTH112 - most are there, and are asked for often
        return []
    folder = Path(folder)
    grown: list[Path] = []
    for _ in range(_TRIES):
        try:
            mode = _mode_if_shared(folder.parent) if shared else 0
            if mode:
                _make_for_group(folder, mode)
            else:
                folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise
            return grown
        except FileNotFoundError:
            grown += make_folder(folder.parent)
        else:
            break
    else:
        raise FileNotFoundError(errno.ENOENT, "its folder is there, and takes none", str(folder))
    return [*grown, folder.parent]


def _make_for_group(folder: Path, mode: int) -> None:
    """Make a folder that others can use as soon as they see it, whatever the umask. Raises ``FileExistsError`` where one is."""
    partial = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    partial.mkdir(mode=0o700)
    try:
        with contextlib.suppress(PermissionError):  # a filesystem without modes
            partial.chmod(mode)
        if os.path.lexists(folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        try:
            # One that others have made meanwhile, and that is empty still, is replaced by an equal one.
            partial.rename(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.ENOTDIR}:
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error
    except BaseException:
        partial.rmdir()
        raise


def _mode_if_shared(folder: Path | str) -> int:
    """The mode of a folder that a group writes in; 0 of one user's own, and of one where everybody keeps to their own."""
    mode = stat.S_IMODE(os.stat(folder).st_mode)  # noqa: PTH116 - it is asked for each new file
    everybodys = mode & stat.S_ISVTX and mode & stat.S_IWOTH
    return mode & 0o2775 if mode & stat.S_IWGRP and not everybodys else 0


def share(path: Path | str) -> None:
    """Let those read a file of Tracelet's own notes who share the folder that it is in; there may be nobody."""
    mode = _mode_if_shared(os.path.dirname(path))  # noqa: PTH120 - it is asked for each new file
    if mode:
        with contextlib.suppress(PermissionError):  # a filesystem without modes
            Path(path).chmod(mode & 0o664)


def create(path: Path | str) -> BinaryIO:
    """Open a new file for notes of Tracelet's own; only this user can read it, and who shares the folder."""
    stream = create_own(path)
    share(path)
    return stream


def create_own(path: Path | str) -> BinaryIO:
    """Open a new file to write, that nobody else can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), "wb", _LEAST)


def same_readers(copy: Path, source: Path) -> None:
    """Let those read a copy who can read the source, by its mode; it is nothing to run, and only this user's to write."""
    _set_readers(copy, source.stat().st_mode)


def _set_readers(copy: Path, mode: int) -> None:
    if mode & 0o044:
        with contextlib.suppress(PermissionError):  # a filesystem without modes
            copy.chmod(mode & 0o644 | 0o600)


def limit_readers(copy: Path, source: Path) -> None:
    """Take a copy from those who cannot read the source, by its mode: of two files with the same bytes the narrower one counts."""
    limit = source.stat().st_mode | 0o700
    # One that is another user's is theirs to show; one that is not there was cleared, or is looked at by gc, in this moment.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        has = stat.S_IMODE(copy.stat().st_mode)
        if has & limit != has:
            copy.chmod(has & limit)


def mark(path: Path) -> None:
    """Say that a blob is young, and whole at this moment; whoever writes to it takes the mark away."""
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now - now % _TICK + _MARK))
    except PermissionError:  # it is another user's: only they can set its time
        with contextlib.suppress(PermissionError):
            os.utime(path)


def is_whole(path: Path, sha256: str, size_bytes: int) -> bool:
    """Tell whether a blob is there and has its bytes; they are read only where it was touched since they were written.

    One that is whole is marked as young, so that nobody clears it. A link is no blob.
    """
    try:
        status = path.lstat()
        whole = (
            stat.S_ISREG(status.st_mode)
            and status.st_size == size_bytes
            and (_has_mark(status) or hash_blob(path) == sha256)
        )
        if whole:
            mark(path)
    except OSError:
        return False
    return whole


def is_marked(path: Path) -> bool:
    """Tell whether a blob's bytes are on the disk: its mark says so, and that nobody wrote to it since."""
    return _has_mark(path.lstat())


def _has_mark(status: os.stat_result) -> bool:
    return status.st_mtime_ns % _TICK == _MARK


def make_way(target: Path, sha256: str, size_bytes: int) -> None:
    """Before a blob is written where it was not whole: say what is there, and put a folder aside."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return
    if is_whole(target, sha256, size_bytes):  # somebody else has written it meanwhile
        return
    _LOG.warning(
        "%s is damaged: it does not hold the bytes of its name any more. It is replaced by the right ones.", target
    )
    if stat.S_ISDIR(status.st_mode):
        target.rename(target.with_name(f"{target.name}~{uuid.uuid4().hex}"))


def copy_verified(source: Path, target: Path, sha256: str, known: Stamp | None = None, *, durable: bool = True) -> None:
    """Copy the bytes whose sha256 is given to a new file.

    ``known`` is the stamp of when they were hashed: where the file still looks the same and was not racy, the bytes are not
    hashed again. Raises :class:`FileChanged` where they are others.
    """
    same = False
    with contextlib.suppress(FileChanged):  # or another process has marked it as young: its bytes tell
        copied = copy_file(source, target, durable=durable)
        same = known is not None and not known.racy and attrs.evolve(known, taken_ns=copied.taken_ns) == copied
    if not same and hash_blob(target) != sha256:
        raise FileChanged(f"{str(source)!r} is not the file that was hashed any more.")


def copy_blob(source: Path, target: Path, sha256: str, known: Stamp | None = None) -> None:
    """Copy the bytes whose sha256 is given to ``target``, at once or not at all.

    The bytes are on the disk then; the name need not be.

    Raises :class:`FileChanged` if the source has other bytes.
    """
    make_folder(target.parent)
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        copy_verified(source, partial, sha256, known)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def atomic_write(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file at once or not at all; a ``durable`` one is on the disk, under its name, when this returns."""
    grown = make_folder(target.parent)
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with create(partial) as writer:
            writer.write(data)
            writer.flush()
            if durable:
                os.fsync(writer.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        for folder in (target.parent, *grown):
            make_names_durable(folder)


def atomic_writes(contents: Mapping[Path, bytes]) -> None:
    """Write small files as :func:`atomic_write` does, each at once or not at all, and have them on the disk together."""
    if not contents:
        return
    settled = {target.parent for target in contents}
    for folder in list(settled):
        settled.update(make_folder(folder))
    partials = {target: target.with_name(f".{uuid.uuid4().hex}.tmp") for target in contents}
    try:
        with Disk(next(iter(contents)).parent, len(contents)) as disk:
            for target, data in contents.items():
                with create(partials[target]) as writer:
                    writer.write(data)
            disk.settle_files(list(partials.values()), sum(map(len, contents.values())))
            for target, partial in partials.items():
                partial.replace(target)
            disk.settle_names(settled)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


def discard(path: Path, older_than: float) -> int | None:
    """Delete a file that was last marked as needed before then; return the bytes that this frees, or None if it stays.

    Times are mtimes, in seconds since the epoch. A process that finds the file and marks it as young
    meanwhile keeps it. A file with another hard link frees nothing, and a folder is no file.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        seen = path.lstat()
        if seen.st_mtime >= older_than or stat.S_ISDIR(seen.st_mode):
            return None
        path.rename(aside)
        status = aside.lstat()
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
