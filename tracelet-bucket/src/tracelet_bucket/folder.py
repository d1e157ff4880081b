"""A folder as a bucket: one machine's own, or one that many machines mount."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from tracelet.exceptions import BackendAuthError, BackendUnavailable, ConfigError, IntegrityError
from tracelet.plugin import atomic_write, copy_blob, discard, make_durable, make_folder
from tracelet_bucket.bucket import Found, Listed

__all__ = ["FolderBucket"]

#: What a filesystem without hard links, or without locks, says.
_LACKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOLCK}
_TEMPORARY = ".tmp"
_LOCK = ".lock"
#: What is written to learn the time of the machine that has the disk.
_CLOCK = "clock"
_BLOCK = 1 << 20


class FolderBucket:
    """See :class:`~tracelet_bucket.bucket.Bucket`. What is written is on the disk when a call returns."""

    def __init__(self, root: Path, url: str) -> None:
        """``root`` is the folder, which is made when something is written."""
        self._root = root
        self.url = url.rstrip("/")

    def get(self, key: str) -> Found | None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._check_root()
            data = (self._root / key).read_bytes()
            return Found(data, hashlib.sha256(data).hexdigest())
        return None

    def create(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        target = self._root / key
        with self._translated():
            make_folder(target.parent)
            partial = target.with_name(f".{uuid.uuid4().hex}{_TEMPORARY}")
            try:
                atomic_write(partial, data)
                # A hard link appears whole, or not at all.
                os.link(partial, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _LACKS:
                    raise
                raise ConfigError(
                    f"{self.url}: its filesystem has no hard links, without which two writers overwrite each other: give a folder "
                    "of another one."
                ) from error
            finally:
                partial.unlink(missing_ok=True)
            make_durable(target)
            return True

    def swap(self, key: str, data: bytes, etag: str) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._alone():
            found = self.get(key)
            if found is None or found.etag != etag:
                return False
            self.put(key, data)
            return True

    def check_conditions(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`: a filesystem says itself what it lacks."""

    def put(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            atomic_write(self._root / key, data)

    def upload(self, key: str, source: Path, sha256: str, size_bytes: int, *, replace: bool) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        target = self._root / key
        with self._translated(source):
            if not replace and target.exists():
                return False
            copy_blob(source, target, sha256)
            make_durable(target)
            return True

    def download(self, key: str, target: Path, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated(target):
            try:
                shutil.copyfile(self._root / key, target)
            except FileNotFoundError:
                return False
            return True

    def size_of(self, key: str) -> int | None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self._root / key).stat().st_size
        return None

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        found = hashlib.sha256()
        with self._translated(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with (self._root / key).open("rb") as stream:
                if os.fstat(stream.fileno()).st_size != size_bytes:
                    return False
                while block := stream.read(_BLOCK):
                    found.update(block)
            return found.hexdigest() == sha256
        return False

    def below(self, folder: str, after: str = "") -> Iterator[Listed]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            self._check_root()
            for key, status in sorted(self._every(folder)):
                if key > after:
                    yield Listed(key, status.st_size, status.st_mtime)

    def _every(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        for above, _, names in os.walk(self._root / folder, onerror=_unless_gone):
            for name in names:
                path = Path(above, name)
                if not name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        yield path.relative_to(self._root).as_posix(), path.stat()

    def folders(self, folder: str) -> list[str]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._check_root()
            return sorted(entry.name for entry in os.scandir(self._root / folder) if entry.is_dir())
        return []

    def move(self, key: str, target: str, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated(), contextlib.suppress(FileNotFoundError):
            make_folder((self._root / target).parent)
            (self._root / key).replace(self._root / target)
            return True
        return False

    def remove(self, key: str) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            (self._root / key).unlink(missing_ok=True)

    def now(self) -> float:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        clock = self._root / _CLOCK
        with self._translated():
            atomic_write(clock, b"")
            return clock.stat().st_mtime

    def sweep(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            for above, _, names in os.walk(self._root, onerror=_unless_gone):
                for name in names:
                    if name.startswith(".") and name.endswith(_TEMPORARY):
                        freed = discard(Path(above, name), older_than)
                        if freed is not None:
                            yield freed

    def _check_root(self) -> None:
        """An empty folder where a disk is mounted otherwise is not an empty bucket, but nobody can tell; a missing one is away."""
        if not self._root.parent.is_dir():
            raise BackendUnavailable(f"{self.url} is away: there is no {self._root.parent}. Is its disk mounted?")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep everybody else from swapping: on this machine, and on all that mount the folder with its locks."""
        with self._translated():
            make_folder(self._root)
            with (self._root / _LOCK).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                except OSError as error:
                    if error.errno not in _LACKS:
                        raise
                    raise ConfigError(
                        f"{self.url}: its filesystem has no locks, without which two writers overwrite each other: mount it "
                        "with locks, or give a folder of another one."
                    ) from error
                yield

    @contextlib.contextmanager
    def _translated(self, ours: Path | None = None) -> Iterator[None]:
        """Tell what the system says of the folder; what it says of a file of this machine is let through."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            raise
        except PermissionError as error:
            if ours is not None and str(error.filename) == str(ours):
                raise
            raise BackendAuthError(
                f"{self.url}: {error.filename}: {error.strerror}: let this user read and write it."
            ) from error
        except IsADirectoryError as error:
            raise IntegrityError(f"{error.filename} is a folder in the place of a file: move it away.") from error
        except OSError as error:
            if ours is not None and str(error.filename) == str(ours):
                raise
            raise BackendUnavailable(f"{self.url} cannot be used: {error}.") from error


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
