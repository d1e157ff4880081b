"""Fetching ahead: what comes next is fetched while the one at hand is stored, as far as the disk is not filled by it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["LANES", "fetched_ahead"]

J = TypeVar("J")
T = TypeVar("T")

#: How many are fetched at the same time, each on a lane of its own.
LANES = 2
#: How many wait to be stored at most: as many as have so many bytes, or a larger one alone.
_MOST, _MOST_BYTES = 8, 256_000_000


def fetched_ahead(
    jobs: Iterable[J], size_of: Callable[[J], int], fetch: Callable[[int, J], T], stop: Callable[[], None]
) -> Iterator[tuple[J, Future[T]]]:
    """Yield each job with what was fetched for it, in their order.

    ``fetch`` is called on several threads, with the number of its lane; ``size_of`` says how many bytes it brings. Whoever stops
    early has nothing fetched any more that was not begun; ``stop`` is called then, and is to end what was.
    """
    with ThreadPoolExecutor(LANES) as pool:
        waiting: deque[tuple[J, Future[T], int]] = deque()
        try:
            for number, job in enumerate(jobs):
                size_bytes = size_of(job)
                while waiting and (len(waiting) == _MOST or sum(one[2] for one in waiting) + size_bytes > _MOST_BYTES):
                    yield waiting.popleft()[:2]
                waiting.append((job, pool.submit(fetch, number % LANES, job), size_bytes))
            while waiting:
                yield waiting.popleft()[:2]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
