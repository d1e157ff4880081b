"""A folder as a bucket: one machine's own, or one that many machines mount."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from tracelet.exceptions import BackendAuthError, BackendUnavailable, ConfigError, IntegrityError
from tracelet.plugin import atomic_write, copy_blob, discard, make_durable, make_folder
from tracelet_bucket.bucket import Etag, Found, Listed

__all__ = ["FolderBucket"]

#: What a filesystem without hard links says.
_LACKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
#: What is written before it gets its name.
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
_LOCK = ".lock"
#: Seconds that who waits for the lock leaves it to one and the same holder: a swap takes a hundredth of them.
_LONGEST = 10.0
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
            if not self._linked(target, data, durable=True):
                if target.is_symlink() and not target.exists():
                    raise IntegrityError(f"{target} is a link that leads nowhere: delete it.")
                return False
            make_durable(target)
            return True

    def swap(self, key: str, data: bytes, etag: Etag) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._alone() as is_alone:
            found = self.get(key)
            if found is None or found.etag != etag:
                return False
            if not is_alone():
                raise BackendUnavailable(f"{self.url} was too slow: another process has taken its turn.")
            atomic_write(self._root / key, data)
            return True

    def check_conditions(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`: a filesystem says itself what it lacks."""

    def put(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        target = self._root / key
        # Who swaps what is there reads it first: nothing is written between that and their writing.
        with self._alone() if os.path.lexists(target) else self._translated():
            atomic_write(target, data)

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
                if not _TEMPORARY.fullmatch(name):
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
        with self._alone():
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
                    if _TEMPORARY.fullmatch(name):
                        freed = discard(Path(above, name), older_than)
                        if freed is not None:
                            yield freed

    def _check_root(self) -> None:
        """An empty folder where a disk is mounted otherwise is not an empty bucket, but nobody can tell; a missing one is away."""
        # One look, for another writer may make it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(self._root.stat().st_mode):
                raise ConfigError(f"{self.url}: {self._root} is no folder: correct TRACELET_BUCKET_URL.")
            return
        if not self._root.parent.is_dir():
            raise BackendUnavailable(f"{self.url} is away: there is no {self._root.parent}. Is its disk mounted?")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[Callable[[], bool]]:
        """Keep everybody else from swapping, and give what tells that they still are.

        It is a hard link, which is there for all machines at once. Locks of files are not: where a disk is mounted so that each
        machine has its own, they say nothing. A holder that was killed is waited for, for some seconds.
        """
        lock, mine = self._root / _LOCK, uuid.uuid4().hex.encode()
        with self._translated():
            self._take(lock, mine)
            try:
                yield lambda: _content(lock) == mine
            finally:
                if _content(lock) == mine:
                    lock.unlink(missing_ok=True)

    def _take(self, lock: Path, mine: bytes) -> None:
        seen, since = b"", time.monotonic()
        while not self._linked(lock, mine):
            holder = _content(lock)
            if holder == mine:  # a server that was asked twice says that it is taken
                return
            if holder != seen:
                seen, since = holder, time.monotonic()
            elif holder and time.monotonic() - since > _LONGEST:
                self._break(lock, holder)
            time.sleep(random.uniform(0.002, 0.01))

    def _break(self, lock: Path, holder: bytes) -> None:
        """Take the lock away from a holder that is not heard of. Of several that wait, one does."""
        aside = lock.with_name(f".{uuid.uuid4().hex}.tmp")
        with contextlib.suppress(FileNotFoundError):
            lock.rename(aside)
            if _content(aside) != holder:  # it has another one by now
                with contextlib.suppress(FileExistsError):
                    os.link(aside, lock)
            aside.unlink()

    def _linked(self, target: Path, data: bytes, *, durable: bool = False) -> bool:
        """Make a file whole, or not at all; return False where it is there."""
        make_folder(target.parent)
        partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            atomic_write(partial, data, durable=durable)
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
        return True

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


def _content(path: Path) -> bytes:
    """What is in a file; nothing where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
