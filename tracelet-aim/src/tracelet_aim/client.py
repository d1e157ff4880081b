"""Time limits for Aim's own client of a server, which waits without limit."""

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

#: Seconds without progress until a call is given up, and a margin.
_LIMIT, _MARGIN = 20.0, 5.0
#: Seconds between two looks at the progress.
_LOOK = 1.0


def bounded(call: Callable[[], T], shown: str, progress: Callable[[], object] = lambda: None) -> T:
    """Make a call that cannot be ended, on a thread that is abandoned when the time is over.

    The time begins again whenever ``progress`` returns another value: thousands of files take longer. Raises
    :class:`~tracelet.BackendUnavailable` when the time is over, and for the client's errors; ``shown`` is the server.
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
    """Wait until the server has received all that the client has queued for it.

    Raises :class:`~tracelet.BackendUnavailable` where it does not: the client's sending thread ends with the first error.
    """
    queue, last, until = repo._client.get_queue(), 0, 0.0
    while left := waiting(repo):
        if left != last:
            last, until = left, time.monotonic() + _LIMIT
        if not queue._thread.is_alive() or time.monotonic() > until:
            raise BackendUnavailable(f"{shown} does not accept what Aim's client sends: it is tried again.")
        time.sleep(0.002)


def waiting(repo: Any) -> int:
    """Return how many of the client's queued messages the server has not received yet."""
    return int(repo._client.get_queue()._queue.unfinished_tasks)


def forget(repo: Any) -> None:
    """Remove the finalizers of everything that uses this client: they would wait for the server."""
    client = repo._client
    for instance, (_, finalizer) in list(AutoClean._finalizers.items()):
        owner = getattr(instance, "repo", instance)
        if client in (getattr(instance, "_rpc_client", None), getattr(owner, "_client", None)):
            finalizer.detach()
    client._heartbeat_sender._shutdown = True
