"""Content-addressed blobs: hashing, copies that are verified, and the store for large files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

import attrs

from tracelet.core.remote import filesystem, redact
from tracelet.exceptions import ArtifactNotFound, ConfigError, IntegrityError

__all__ = [
    "FileChanged",
    "LocalStore",
    "RemoteStore",
    "Stamp",
    "Store",
    "atomic_write",
    "blob_key",
    "copy_blob",
    "hash_file",
    "hash_stream",
    "open_store",
    "stamp",
]

_CHUNK = 1 << 20
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


def hash_file(path: Path) -> tuple[str, Stamp]:
    """Return a file's sha256 and the stamp that goes with it.

    Raises :class:`FileChanged` where the file changes meanwhile, ``OSError`` where it is not there.
    """
    with path.open("rb") as stream:
        before = stamp(os.fstat(stream.fileno()))
        digest = hash_stream(stream)
        if not before.matches(os.fstat(stream.fileno())):
            raise FileChanged(f"{str(path)!r} changed while it was read.")
    return digest, before


def _clone(source: BinaryIO, target: BinaryIO) -> bool:
    """Share the source's blocks with the target where the filesystem can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}:
            return False
        raise
    return True


def copy_file(source: Path, target: Path, *, durable: bool = True) -> Stamp:
    """Copy a file's bytes (by reflink where possible); return the source's stamp.

    Raises :class:`FileChanged` where the source changes meanwhile.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        before = stamp(os.fstat(reader.fileno()))
        if not _clone(reader, writer):
            shutil.copyfileobj(reader, writer, _CHUNK)
        writer.flush()
        if durable:
            os.fsync(writer.fileno())
        if not before.matches(os.fstat(reader.fileno())):
            raise FileChanged(f"{str(source)!r} changed while it was copied.")
    return before


def copy_blob(source: Path, target: Path, sha256: str, known: Stamp | None = None) -> None:
    """Copy the bytes whose sha256 is given to ``target``, at once or not at all.

    ``known`` is the stamp of when they were hashed: where the file still looks the same and was
    not racy, the bytes are not hashed again. Raises :class:`FileChanged` where they are others.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        copied = copy_file(source, partial)
        same = known is not None and not known.racy and attrs.evolve(known, taken_ns=copied.taken_ns) == copied
        if not same and hash_file(partial)[0] != sha256:
            raise FileChanged(f"{str(source)!r} is not the file that was hashed any more.")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file at once or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("xb") as writer:
            writer.write(data)
            writer.flush()
            if durable:
                os.fsync(writer.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def blob_key(sha256: str) -> str:
    """Return the key of a blob: ``sha256/ab/abcdef…``."""
    return f"sha256/{sha256[:2]}/{sha256}"


class Store(Protocol):
    """Where large files' bytes go once, whatever the number of backends."""

    @property
    def portable(self) -> bool:
        """Whether another machine can read it."""
        ...

    def uri(self, sha256: str) -> str:
        """Where the blob is, or would be; without credentials."""
        ...

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether the blob is there, whole."""
        ...

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """Store a file's bytes; where they are there already, nothing is copied."""
        ...

    def fetch(self, sha256: str, dest: Path) -> None:
        """Copy a blob to ``dest``. Raises :class:`ArtifactNotFound` where it is not there."""
        ...

    def record(self, sha256: str, put_id: str) -> None:
        """Note that a reference to the blob is about to leave, so that gc keeps it."""
        ...


class LocalStore:
    """Blobs in a directory. What is written there never changes."""

    portable = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        return self.root / "objects" / blob_key(sha256)

    def uri(self, sha256: str) -> str:
        """``file://<host>/<path>``, so that a reader elsewhere learns where the bytes are."""
        return f"file://{socket.gethostname()}{quote(self.path(sha256).as_posix())}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """See :class:`Store`."""
        try:
            return self.path(sha256).stat().st_size == size_bytes
        except OSError:
            return False

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`Store`. A blob that is there is marked as young, so that gc leaves it alone."""
        target = self.path(sha256)
        if self.has(sha256, source.stat().st_size):
            os.utime(target)
            return
        copy_blob(source, target, sha256, known)

    def adopt(self, source: Path, sha256: str) -> Path:
        """Take in a file of Tracelet's own that never changes: by a hard link where possible."""
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            try:
                os.link(source, target)
            except FileExistsError:
                raise
            except OSError:
                self.put(source, sha256)
        return target

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`Store`."""
        if not self.path(sha256).is_file():
            raise ArtifactNotFound(f"the store at {self.root} has no blob {sha256}.")
        copy_file(self.path(sha256), dest, durable=False)

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`Store`."""
        atomic_write(self.root / "refs" / sha256 / put_id, b"")

    def recorded(self) -> set[str]:
        """Return the sha256 of every blob that a reference points at."""
        return {entry.name for entry in _entries(self.root / "refs")}

    def collect(self, keep: Collection[str], older_than: float) -> Iterator[tuple[Path, int]]:
        """Delete blobs that are not in ``keep`` and were last needed before ``older_than``.

        Yields path and bytes of each. Times are seconds since the epoch.
        """
        for folder in _entries(self.root / "objects" / "sha256"):
            for blob in _entries(folder):
                status = blob.stat()
                if blob.name not in keep and status.st_mtime < older_than:
                    blob.unlink(missing_ok=True)
                    yield blob, status.st_size


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


class RemoteStore:
    """Blobs under an fsspec URL; what a scheme needs is for its own package and environment to say."""

    portable = True

    def __init__(self, url: str) -> None:
        self._fs, self._root = filesystem(url.rstrip("/"))
        self._url = redact(url.rstrip("/"))

    def _key(self, sha256: str) -> str:
        return f"{self._root}/objects/{blob_key(sha256)}"

    def uri(self, sha256: str) -> str:
        """See :class:`Store`."""
        return f"{self._url}/objects/{blob_key(sha256)}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """See :class:`Store`."""
        try:
            return bool(self._fs.info(self._key(sha256))["size"] == size_bytes)
        except FileNotFoundError:
            return False

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`Store`. The source is compared with its stamp after the upload, or hashed again."""
        size = source.stat().st_size
        if self.has(sha256, size):
            return
        key = self._key(sha256)
        partial = f"{key}.{uuid.uuid4().hex}.tmp"
        self._fs.makedirs(key.rpartition("/")[0], exist_ok=True)
        self._fs.put_file(str(source), partial)
        same = known is not None and not known.racy and known.matches(source.stat())
        if not same and hash_file(source)[0] != sha256:
            self._fs.rm_file(partial)
            raise FileChanged(f"{str(source)!r} changed while it was uploaded.")
        self._fs.mv(partial, key)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`Store`."""
        try:
            self._fs.get_file(self._key(sha256), str(dest))
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"the store at {self._url} has no blob {sha256}.") from error

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`Store`."""
        folder = f"{self._root}/refs/{sha256}"
        self._fs.makedirs(folder, exist_ok=True)
        self._fs.pipe_file(f"{folder}/{put_id}", b"")


def open_store(place: str, directory: Path) -> LocalStore | RemoteStore:
    """Return the store of a setting: a directory, an fsspec URL, or (empty) inside ``directory``.

    Raises :class:`ConfigError` for a URL that cannot be spoken here.
    """
    if not place:
        return LocalStore(directory)
    scheme, mark, rest = place.partition("://")
    if not mark:
        return LocalStore(Path(os.path.abspath(place)))
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"store={place!r}: a file URL here has three slashes, as file:///data/store.")
        return LocalStore(Path(rest))
    return RemoteStore(place)
