"""Aim's own client of a server, which waits without limit: how to be done with it in time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

from aim.ext.cleanup import AutoClean

from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet_aim.errors import said

__all__ = ["bounded", "drain", "forget", "waiting"]

T = TypeVar("T")

#: Seconds in which what is done with the client has to get on, and more of them until it is given up.
_LIMIT, _MARGIN = 20.0, 5.0
#: Seconds between two looks at how far it is.
_LOOK = 1.0


def bounded(call: Callable[[], T], shown: str, progress: Callable[[], object] = lambda: None) -> T:
    """Make a call that nobody can end, on a thread that is left to itself when its time is over.

    It has the whole time anew whenever ``progress`` answers something else: thousands of files take longer.
    Raises :class:`~tracelet.BackendUnavailable` then, and for what the client raises; ``shown`` is the server.
    """
    answer: futures.Future[T] = futures.Future()

    def one() -> None:
        try:
            answer.set_result(call())
        finally:
            if (error := sys.exception()) is not None:
                answer.set_exception(error)

    threading.Thread(target=one, daemon=True).start()
    last, until = progress(), time.monotonic() + _LIMIT + _MARGIN
    while not futures.wait([answer], _LOOK).done:
        if (now := progress()) != last:
            last, until = now, time.monotonic() + _LIMIT + _MARGIN
        elif time.monotonic() > until:
            raise BackendUnavailable(f"{shown} does not answer Aim's client in time: it is tried again.")
    error = answer.exception()
    if isinstance(error, TraceletError):
        raise error
    if error is not None:
        raise BackendUnavailable(f"{shown} failed in Aim's client ({said(error)}): it is tried again.") from error
    return answer.result()


def drain(repo: Any, shown: str) -> None:
    """Wait until the server has taken all that the client has queued for it.

    Raises :class:`~tracelet.BackendUnavailable` where it does not: the thread that sends it ends with the first error.
    """
    queue, last, until = repo._client.get_queue(), 0, 0.0
    while left := waiting(repo):
        if left != last:
            last, until = left, time.monotonic() + _LIMIT
        if not queue._thread.is_alive() or time.monotonic() > until:
            raise BackendUnavailable(f"{shown} does not take what Aim's client sends: it is tried again.")
        time.sleep(0.002)


def waiting(repo: Any) -> int:
    """Return how much the client has queued that the server has not taken yet."""
    return int(repo._client.get_queue()._queue.unfinished_tasks)


def forget(repo: Any) -> None:
    """Take from everything that uses this client what Aim would do at its end: it would wait for the server."""
    client = repo._client
    for instance, (_, finalizer) in list(AutoClean._finalizers.items()):
        owner = getattr(instance, "repo", instance)
        if client in (getattr(instance, "_rpc_client", None), getattr(owner, "_client", None)):
            finalizer.detach()
    client._heartbeat_sender._shutdown = True
