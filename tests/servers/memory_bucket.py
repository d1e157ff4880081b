"""A bucket in memory, and users of it who take turns: each waits before each request until it is told to go on."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from tracelet.plugin import FileChanged
from tracelet_bucket.bucket import Etag, Found, Listed

#: More requests than any of these operations makes: whoever makes them never ends.
_MOST = 400


@attrs.frozen
class _Held:
    data: bytes
    etag: int
    written_at: float
    sha256: str = ""


class MemoryBucket:
    """See :class:`~tracelet_bucket.bucket.Bucket`. As in S3, to move is to copy and then to delete."""

    url = "memory://bucket"

    def __init__(self) -> None:
        self.held: dict[str, _Held] = {}
        #: Its clock, which stands still unless a test moves it.
        self.clock = 1_000_000.0
        #: Called before each request.
        self.step: Callable[[], None] = lambda: None
        self._etags = itertools.count()

    def _write(self, key: str, data: bytes, sha256: str = "") -> bool:
        self.held[key] = _Held(data, next(self._etags), self.clock, sha256)
        return True

    def get(self, key: str) -> Found | None:
        self.step()
        found = self.held.get(key)
        return None if found is None else Found(found.data, found.etag)

    def create(self, key: str, data: bytes) -> bool:
        self.step()
        return key not in self.held and self._write(key, data)

    def swap(self, key: str, data: bytes, etag: Etag) -> bool:
        self.step()
        return key in self.held and self.held[key].etag == etag and self._write(key, data)

    def check_conditions(self, key: str, data: bytes) -> None:
        """It has them."""

    def put(self, key: str, data: bytes) -> None:
        self.step()
        self._write(key, data)

    def upload(self, key: str, source: Path, sha256: str, size_bytes: int, *, replace: bool) -> bool:
        data = source.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileChanged(f"{source} changed.")
        self.step()
        return (replace or key not in self.held) and self._write(key, data, sha256)

    def download(self, key: str, target: Path, size_bytes: int) -> bool:
        self.step()
        if key not in self.held:
            return False
        target.write_bytes(self.held[key].data)
        return True

    def size_of(self, key: str) -> int | None:
        self.step()
        return len(self.held[key].data) if key in self.held else None

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        self.step()
        return key in self.held and (self.held[key].sha256, len(self.held[key].data)) == (sha256, size_bytes)

    def below(self, folder: str, after: str = "") -> Iterator[Listed]:
        self.step()
        page = sorted(key for key in self.held if key.startswith(f"{folder}/") and key > after)
        yield from [Listed(key, len(self.held[key].data), self.held[key].written_at) for key in page]

    def folders(self, folder: str) -> list[str]:
        self.step()
        return sorted({key.removeprefix(f"{folder}/").split("/")[0] for key in self.held if key.startswith(folder)})

    def move(self, key: str, target: str, size_bytes: int) -> bool:
        self.step()
        found = self.held.get(key)
        if found is None:
            return False
        self._write(target, found.data, found.sha256)
        self.remove(key)
        return True

    def remove(self, key: str) -> None:
        self.step()
        self.held.pop(key, None)

    def now(self) -> float:
        self.step()
        return self.clock

    def sweep(self, older_than: float) -> Iterator[int]:
        return iter(())


def take_turns(
    bucket: MemoryBucket, operations: Sequence[Callable[[], object]], plan: Iterable[int]
) -> tuple[list[object], list[int]]:
    """Make operations, each on a thread, of which one runs at a time.

    Args:
        bucket: which all of them use.
        operations: what to do.
        plan: the number of the operation that makes the next request. After its end each operation runs to its own.

    Returns:
        What each returned or raised, and how many requests each made.
    """
    count = len(operations)
    may_go = [threading.Semaphore(0) for _ in operations]
    came_back = threading.Semaphore(0)
    given: list[object] = [None] * count
    requests, is_done, numbers = [0] * count, [False] * count, {}

    def wait() -> None:
        number = numbers[threading.get_ident()]
        came_back.release()
        may_go[number].acquire()
        requests[number] += 1

    def run(number: int) -> None:
        numbers[threading.get_ident()] = number
        wait()
        try:
            given[number] = operations[number]()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            given[number] = error
        is_done[number] = True
        came_back.release()

    bucket.step = wait
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
        came_back.acquire()
    rest = (number for number in range(count) for _ in range(_MOST))
    for number in itertools.chain(plan, rest):
        if not is_done[number]:
            may_go[number].release()
            came_back.acquire()
    bucket.step = lambda: None
    assert all(is_done), f"an operation never ends: {requests} requests"
    for thread in threads:
        thread.join()
    return given, requests
