"""Requests at the same time: each waits for the network, and not for the machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["each", "together"]

#: Requests at a time.
_AT_ONCE = 16

S = TypeVar("S")
T = TypeVar("T")


def together(*calls: Callable[[], T]) -> list[T]:
    """Make calls at the same time; return what they gave, in their order, or raise what the first raises."""
    return list(each(lambda call: call(), calls))


def each(call: Callable[[S], T], items: Iterable[S], at_once: int = _AT_ONCE) -> Iterator[T]:
    """Make a call for each item, ``at_once`` at a time; yield what they gave, in the order of the items, or raise what the first raises.

    Where there is one item alone, no thread is started.
    """
    waiting = iter(items)
    first = list(islice(waiting, 2))
    if len(first) < 2:
        yield from map(call, first)
        return
    begun: deque[Future[T]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            begun.extend(pool.submit(call, item) for item in first)
            for item in waiting:
                if len(begun) >= 2 * at_once:
                    yield begun.popleft().result()
                begun.append(pool.submit(call, item))
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()
