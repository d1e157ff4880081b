"""A deadline for a whole HTTP request, from the connection to the last byte of the answer.

A limit for each read alone would be none: a server that sends a byte a second keeps within it. So a request has a budget: it may
wait for the server so many seconds in all, and a second more for every ten kilobytes that it moves.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import socket
import time
from collections.abc import Iterator
from typing import Any

from clearml.backend_api.utils import TLSv1HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["CONNECT_SECONDS", "DeadlineAdapter", "longest_wait", "request_budget"]

#: Seconds for a server to accept a connection.
CONNECT_SECONDS = 5.0
#: Bytes a second that a request must move, beside the time for an answer.
_SLOWEST = 10_000
#: Bytes a second of an upload that a server must take in before it answers.
_TAKEN_IN = 100_000
#: Bytes that are sent at a time.
_PIECE = 1 << 14


def longest_wait(limit: float, size: int) -> float:
    """Return the seconds that a request may wait at a time: ``limit``, and the time to take in ``size`` uploaded bytes."""
    return limit + size / _TAKEN_IN


class _Budget:
    """The seconds that one request may still wait for the server, with all its redirects and retries."""

    def __init__(self, limit: float, size: int) -> None:
        """``size`` is how many bytes it uploads."""
        self._left = limit
        self._longest = longest_wait(limit, size)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[float]:
        """Give the seconds that the wait in the block may take. Raises TimeoutError where none are left."""
        if self._left <= 0:
            raise TimeoutError("the request has taken too long")
        began = time.monotonic()
        try:
            yield min(self._left, self._longest)
        finally:
            self._left -= time.monotonic() - began

    def earn(self, count: int) -> None:
        """Give more time for bytes that were moved."""
        self._left += count / _SLOWEST


#: The budget of the request that this thread sends. What reads an answer later has taken it from here.
_BUDGET: contextvars.ContextVar[_Budget | None] = contextvars.ContextVar("budget", default=None)


@contextlib.contextmanager
def request_budget(limit: float, size: int) -> Iterator[None]:
    """Give the request that is sent in the block a budget. A redirect has that of the request that led to it."""
    token = _BUDGET.set(_BUDGET.get() or _Budget(limit, size))
    try:
        yield
    finally:
        _BUDGET.reset(token)


class _Answer(io.RawIOBase):
    """The bytes of an answer as they come, within the budget of its request."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, budget: _Budget) -> None:
        self._raw = raw
        self._sock = sock
        self._budget = budget

    def readable(self) -> bool:
        """Say that it is one to be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Wait for bytes."""
        with self._budget.waiting() as seconds:
            self._sock.settimeout(seconds)
            count = self._raw.readinto(buffer)
        self._budget.earn(count or 0)
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read within the budget of its request, from its first line on."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        if (budget := _BUDGET.get()) is not None:
            self.fp = io.BufferedReader(_Answer(self.fp.detach(), sock, budget))


class _Connection(HTTPConnection):
    """A connection that is made, and written to, within the budget of each request."""

    response_class = _Response

    def connect(self) -> None:
        """Connect."""
        if (budget := _BUDGET.get()) is None:
            super().connect()
            return
        with budget.waiting() as seconds:
            self.timeout = min(CONNECT_SECONDS, seconds)
            super().connect()

    def send(self, data: Any) -> None:
        """Send bytes, a piece at a time: only so is a wait for all of them bounded."""
        budget = _BUDGET.get()
        if budget is None or not isinstance(data, (bytes, bytearray)):
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            with budget.waiting() as seconds:
                self.sock.settimeout(seconds)
                super().send(piece)
            budget.earn(len(piece))


class _SecureConnection(_Connection, HTTPSConnection):
    """The same, with TLS."""


class _Connections(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecureConnections(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Connections, "https": _SecureConnections}


class DeadlineAdapter(TLSv1HTTPAdapter):
    """The SDK's adapter, with connections that keep within budgets."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        """Make what has the connections."""
        super().init_poolmanager(*given, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *given: Any, **named: Any) -> Any:
        """Return what has the connections through a proxy; those of a SOCKS proxy are its own."""
        manager = super().proxy_manager_for(*given, **named)
        if type(manager) is ProxyManager:
            manager.pool_classes_by_scheme = _POOLS
        return manager
