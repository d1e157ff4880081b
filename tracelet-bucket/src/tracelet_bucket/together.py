"""Requests at the same time: each waits for the network, and not for the machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import chain, islice
from threading import Thread
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

    Where there is one item alone, no thread is started. Nobody waits for calls that are under way when one has failed, nor does
    the end of the process: a request may hang.
    """
    waiting = iter(items)
    first = list(islice(waiting, 2))
    if len(first) < 2:
        yield from map(call, first)
        return
    begun: deque[Future[T]] = deque()
    for item in chain(first, waiting):
        if len(begun) >= at_once:
            yield begun.popleft().result()
        begun.append(_begun(call, item))
    while begun:
        yield begun.popleft().result()


def _begun(call: Callable[[S], T], item: S) -> Future[T]:
    answer: Future[T] = Future()

    def one() -> None:
        try:
            answer.set_result(call(item))
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer raises it
            answer.set_exception(error)

    thread = Thread(target=one, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        thread.run()  # Python 3.12 starts no thread at the interpreter's exit
    return answer
