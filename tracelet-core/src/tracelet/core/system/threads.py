"""Calls at the same time, and calls that nobody can end."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tracelet.exceptions import TraceletError

__all__ = ["Promise", "all_at_once", "beside", "in_parallel", "lock_free_in_children", "when_all"]

#: How many calls wait for each thread of a pool.
_AHEAD = 8

S = TypeVar("S")
T = TypeVar("T")


class Promise(Future[T]):
    """A future whose callbacks are the user's own: each runs on a thread of its own, and nothing waits for it.

    On the thread that keeps the promise a callback that logs would wait for itself, and one that hangs hold up everything.
    """

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """See :meth:`concurrent.futures.Future.add_done_callback`."""
        super().add_done_callback(lambda done: _apart(lambda: fn(done)))


def _apart(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, name="tracelet-callback", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        thread.run()  # Python 3.12 starts no thread at the interpreter's exit


def all_at_once(calls: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, TraceletError]]:
    """Make calls to several backends at the same time; return what they gave and what they raised, by name."""
    given: dict[str, T] = {}
    raised: dict[str, TraceletError] = {}

    def one(name: str, call: Callable[[], T]) -> None:
        try:
            given[name] = call()
        except TraceletError as error:
            raised[name] = error

    if len(calls) == 1:
        one(*next(iter(calls.items())))
        return given, raised
    threads = [threading.Thread(target=one, args=item, daemon=True) for item in calls.items()]
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:
            thread.run()  # Python 3.12 starts no thread at the interpreter's exit
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    return {name: given[name] for name in calls if name in given}, {
        name: raised[name] for name in calls if name in raised
    }


def in_parallel(call: Callable[[S], T], items: Iterable[S], count: int) -> list[T]:
    """Make a call for each item, ``count`` at a time; return what they gave, in the order of the items, or raise what the first raises."""
    given: list[T] = []
    # A future is a kilobyte: of a hundred thousand items only some have theirs at a time.
    begun: deque[Future[T]] = deque()
    with ThreadPoolExecutor(count) as pool:
        for item in items:
            if len(begun) == _AHEAD * count:
                given.append(begun.popleft().result())
            try:
                begun.append(pool.submit(call, item))
            except RuntimeError:  # the interpreter is ending, and gives out no more threads
                done: Future[T] = Future()
                done.set_result(call(item))
                begun.append(done)
        given.extend(one.result() for one in begun)
    return given


def beside(call: Callable[[], T]) -> Future[T]:
    """Make a call that nobody can end on a thread of its own; a caller who is tired of waiting leaves it to itself."""
    answer: Future[T] = Future()

    def one() -> None:
        try:
            answer.set_result(call())
        except (TraceletError, OSError) as error:
            answer.set_exception(error)

    threading.Thread(target=one, daemon=True).start()
    return answer


def lock_free_in_children() -> threading.RLock:
    """Return a lock that nobody holds in a child that is forked: the thread that held it is not there to let go of it."""
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):  # Windows has none; it is refused, in words
        # As Python's own modules do with their locks.
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock


def when_all(futures: Mapping[str, Future[Any]], then: Callable[[], None]) -> None:
    """Call ``then`` once when every future is done."""
    left = set(futures)

    def done(name: str) -> None:
        left.discard(name)
        if not left:
            then()

    if not futures:
        then()
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: done(name))  # type: ignore[misc]
