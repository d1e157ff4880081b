"""HTTP of this process: every request has a deadline, and none of the SDK's endless loops is entered.

The SDK tries again without end when a connection fails, when a certificate is wrong, when an answer is cut off, and when the
server says 500 or more. Below that it tries up to 240 times, two minutes apart. All of it passes through HTTP sessions that one
function of the SDK makes. So this is the one place to end it: what is no answer raises
:class:`~tracelet_clearml.errors.ServerUnavailable`, through everything.

A request may wait for the server so many seconds in all, and a second more for every ten kilobytes that it moves. A limit for each
read alone would be none: a server that sends a byte a second keeps within it.

This is for a process of Tracelet's alone. Buckets are read and written by clients of their own.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import http.client
import io
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any
from urllib.parse import urlsplit

import clearml.backend_api.session.session as api_session
import clearml.backend_interface.metrics.interface as metrics
import clearml.storage.helper as storage_helper
import requests
from clearml.backend_api.utils import TLSv1HTTPAdapter, get_http_session_with_retry
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Retry

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import redact, seconds_asked
from tracelet_clearml.errors import AccessDenied, ServerUnavailable

__all__ = ["check_reachable", "limit_requests", "thread_errors"]

#: Seconds for a server to accept a connection.
_CONNECT = 5.0
#: Bytes a second that a request must move, beside the time for an answer.
_SLOWEST = 10_000
#: Bytes a second of an upload that a server must take in before it answers.
_TAKEN_IN = 100_000
#: Bytes that are sent at a time.
_PIECE = 1 << 14
_PORTS = {"http": 80, "https": 443}
#: Characters of what a server says that are told on.
_LONGEST = 600


def check_reachable(url: str, what: str) -> None:
    """Raise :class:`~tracelet.BackendUnavailable` if nothing accepts a connection at an address within a few seconds.

    An address behind a proxy is not checked.
    """
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if parts.hostname is None or port is None or select_proxy(url, get_environ_proxies(url)):
        return
    try:
        socket.create_connection((parts.hostname, port), _CONNECT).close()
    except OSError as error:
        raise BackendUnavailable(
            f"ClearML's {what} at {redact(url)} does not answer ({error}): start it, or correct its address."
        ) from error


class _Budget:
    """The seconds that one request may still wait for the server, with all its redirects and retries."""

    def __init__(self, limit: float, size: int) -> None:
        """``size`` is how many bytes it uploads."""
        self._left = limit
        self._longest = limit + size / _TAKEN_IN

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
def _budget(limit: float, size: int) -> Iterator[None]:
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
            self.timeout = min(_CONNECT, seconds)
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


class _Adapter(TLSv1HTTPAdapter):
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


class _Session(requests.Session):
    """An HTTP session whose requests have a deadline. What is no answer raises :class:`ServerUnavailable`."""

    limit = 20.0
    #: Whether the SDK gets answers that refuse access, and logs in again.
    logs_in = True

    def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        """Send a request.

        Raises :class:`ServerUnavailable` for a failed connection and for a server that fails, and :class:`AccessDenied`
        where the SDK would take a refusal for a missing file.
        """
        size = int(request.headers.get("Content-Length") or 0)
        named["timeout"] = (_CONNECT, self.limit + size / _TAKEN_IN)
        place = redact(f"{request.url}".partition("?")[0])
        try:
            with _budget(self.limit, size):
                answer = super().send(request, **named)
        except requests.RequestException as error:
            raise ServerUnavailable(f"ClearML at {place} does not answer ({type(error).__name__}: {error}).") from error
        if answer.status_code >= 500 or answer.status_code in {408, 429}:
            wait = seconds_asked(answer.headers.get("Retry-After"))
            raise ServerUnavailable(
                f"ClearML at {place} asks to wait {wait:.0f} s (HTTP status {answer.status_code})."
                if wait
                else f"ClearML at {place} is not well: HTTP status {answer.status_code}{_said(answer)}.",
                wait,
            )
        if answer.status_code in {401, 403} and not self.logs_in:
            raise AccessDenied(f"{place} refuses the credentials (HTTP status {answer.status_code})")
        return answer


#: What ended work in threads of the SDK's.
_THREAD_ERRORS: list[ServerUnavailable] = []


def _living(work: Callable[..., object], *given: Any) -> object:
    try:
        return work(*given)
    except ServerUnavailable as away:
        _THREAD_ERRORS.append(away)
        raise ConnectionError(str(away)) from away


class _Pool(ThreadPool):
    """Threads that survive :class:`ServerUnavailable`: work whose thread has ended is never done, and the SDK waits for it."""

    def map_async(self, func: Callable[..., object], *named: Any, **more: Any) -> Any:
        """Start work in threads."""
        return super().map_async(functools.partial(_living, func), *named, **more)


@contextlib.contextmanager
def thread_errors() -> Iterator[None]:
    """Raise, after the block, what ended work in the SDK's threads. The SDK does not report it."""
    _THREAD_ERRORS.clear()
    yield
    if _THREAD_ERRORS:
        raise _THREAD_ERRORS[0]


def _said(answer: requests.Response) -> str:
    """Return what the API server says about its failure, or an empty text."""
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        return ""
    try:
        return f", {redact(str(answer.json()['meta']['result_msg']))[:_LONGEST]}"
    except (ValueError, LookupError, TypeError):
        return ""


def _verbatim(answer: requests.Response, **_: Any) -> None:
    """Keep `requests` from unpacking an answer."""
    answer.raw.headers.pop("Content-Encoding", None)


def limit_requests(limit: float) -> None:
    """Give every request of the sessions that the SDK makes from now on a deadline: ``limit`` seconds, and the time for its bytes."""

    def make(logs_in: bool) -> Callable[..., requests.Session]:
        def limited(**named: Any) -> requests.Session:
            plain = get_http_session_with_retry(total=0, config=named.get("config"))
            pools = vars(plain.get_adapter("https://"))
            session = _Session()
            session.verify = plain.verify
            session.limit = limit
            session.logs_in = logs_in
            if not logs_in:
                # ClearML's file server says of a `.gz` that it is an encoding, and `requests` would unpack it.
                session.headers["Accept-Encoding"] = "identity"
                session.hooks["response"].append(_verbatim)
            # Only where no connection came about: nothing is done twice.
            retries = Retry(total=1, connect=1, read=0, status=0, redirect=0, other=0, respect_retry_after_header=False)
            for scheme in ("http://", "https://"):
                adapter = _Adapter(
                    max_retries=retries,
                    pool_connections=pools["_pool_connections"],
                    pool_maxsize=pools["_pool_maxsize"],
                )
                session.mount(scheme, adapter)
            return session

        return limited

    vars(metrics)["ThreadPool"] = _Pool
    vars(api_session)["get_http_session_with_retry"] = make(logs_in=True)
    vars(storage_helper)["get_http_session_with_retry"] = make(logs_in=False)
