"""Content-addressed blobs: hashing, copies that are verified, and the store for large files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import sys
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, unquote

import attrs

from tracelet.core.remote import filesystem, reaching, redact
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
    "discard",
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
_SCHEME_ALONE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


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

    Raises :class:`FileChanged` where the source changes meanwhile, ``OSError`` where it is no regular file.
    """
    with _open_regular(source) as reader, target.open("xb") as writer:
        before = stamp(os.fstat(reader.fileno()))
        if not _clone(reader, writer):  # pragma: no branch - reflinks are for btrfs, xfs and their like
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
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
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
    partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("xb") as writer:
            writer.write(data)
            writer.flush()
            if durable:
                os.fsync(writer.fileno())
        partial.replace(target)
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

    def probe(self) -> None:
        """Write a small file and delete it; raises whatever stands in the way."""
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
        with contextlib.suppress(FileNotFoundError):
            if target.stat().st_size == source.stat().st_size:
                # In a store that several people share, it may be another's; its reference keeps it, too.
                with contextlib.suppress(PermissionError):
                    os.utime(target)
                return
        copy_blob(source, target, sha256, known)

    def adopt(self, source: Path, sha256: str) -> Path:
        """Take in a file of Tracelet's own that never changes: by a hard link where possible.

        The blob is marked as young, also one that is there, so that gc leaves it alone.
        """
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A snapshot may be as old as the run that made it, and its link would look as old.
        os.utime(source)
        try:
            os.link(source, target)
        except OSError:
            self.put(source, sha256)
        return target

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`Store`."""
        try:
            copy_file(self.path(sha256), dest, durable=False)
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"the store at {self.root} has no blob {sha256}.") from error

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`Store`."""
        atomic_write(self.root / "refs" / sha256 / put_id, b"")

    def probe(self) -> None:
        """See :class:`Store`."""
        target = self.root / f".{uuid.uuid4().hex}.tmp"
        atomic_write(target, b"probe")
        target.unlink()

    def recorded(self) -> set[str]:
        """Return the sha256 of every blob that a reference points at."""
        return {entry.name for entry in _entries(self.root / "refs")}

    def collect(self, keep: Collection[str], older_than: float) -> Iterator[tuple[Path, int]]:
        """Delete blobs that are not in ``keep`` and were last needed before ``older_than``.

        Yields path and bytes of each. Times are seconds since the epoch.
        """
        for folder in _entries(self.root / "objects" / "sha256"):
            for blob in _entries(folder):
                freed = None if blob.name in keep else discard(blob, older_than)
                if freed is not None:
                    yield blob, freed


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


class RemoteStore:
    """Blobs under an fsspec URL; what a scheme needs is for its own package and environment to say.

    Whatever its client raises comes out as a :class:`~tracelet.BackendError`.
    """

    portable = True

    def __init__(self, url: str) -> None:
        with reaching(url):
            self._fs, root = filesystem(url)
        if set(root) & set("*?["):
            raise ConfigError(f"store={redact(url)!r}: a store's path may not hold * ? or [, which fsspec would expand.")
        self._root = root.rstrip("/")
        scheme, _, rest = redact(url).partition("://")
        self._url = f"{scheme}://{rest.rstrip('/')}"

    def _key(self, sha256: str) -> str:
        return f"{self._root}/objects/{blob_key(sha256)}"

    def uri(self, sha256: str) -> str:
        """See :class:`Store`."""
        return f"{self._url}/objects/{blob_key(sha256)}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """See :class:`Store`."""
        try:
            with reaching(self._url):
                return bool(self._fs.info(self._key(sha256))["size"] == size_bytes)
        except ArtifactNotFound:
            return False

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`Store`. The source is compared with its stamp after the upload, or hashed again."""
        if self.has(sha256, source.stat().st_size):
            return
        key = self._key(sha256)
        partial = f"{key}.{uuid.uuid4().hex}.tmp"
        with reaching(self._url):
            self._fs.makedirs(key.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(source), partial)
        try:
            same = known is not None and not known.racy and known.matches(source.stat())
            if not same and hash_file(source)[0] != sha256:
                raise FileChanged(f"{str(source)!r} changed while it was uploaded.")
        except (OSError, FileChanged):
            with reaching(self._url):
                self._fs.rm_file(partial)
            raise
        with reaching(self._url):
            self._fs.mv(partial, key)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`Store`."""
        try:
            with reaching(self._url):
                self._fs.get_file(self._key(sha256), str(dest))
        except ArtifactNotFound as error:
            raise ArtifactNotFound(f"the store at {self._url} has no blob {sha256}.") from error

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`Store`."""
        folder = f"{self._root}/refs/{sha256}"
        with reaching(self._url):
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.pipe_file(f"{folder}/{put_id}", b"")

    def probe(self) -> None:
        """See :class:`Store`."""
        target = f"{self._root}/probe-{uuid.uuid4().hex}.tmp"
        with reaching(self._url):
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(target, b"probe")
            self._fs.rm_file(target)


def open_store(place: str, directory: Path) -> LocalStore | RemoteStore:
    """Return the store of a setting: a directory, an fsspec URL, or (empty) inside ``directory``.

    Raises :class:`ConfigError` for a URL that cannot be spoken here.
    """
    if not place:
        return LocalStore(directory)
    scheme, mark, rest = place.partition("://")
    if not mark and _SCHEME_ALONE.match(place):
        raise ConfigError(f"store={redact(place)!r}: a URL has two slashes after its scheme, as s3://bucket/prefix.")
    if not mark:
        return LocalStore(Path(os.path.abspath(place)))
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"store={place!r}: a file URL here has three slashes, as file:///data/store.")
        return LocalStore(Path(os.path.abspath(unquote(rest))))
    return RemoteStore(place)
