"""Bounds for ClearML's HTTP: every request ends in time, and none of the SDK's endless loops is ever entered.

The SDK tries again without end when a connection fails, when a certificate is wrong, when an answer is cut off, and
when the server says 500 or more; with up to 240 retries of two minutes below that. All of it passes through the HTTP
sessions that one function of the SDK makes, so that is the one place to end it: here, an answer that is none raises
:class:`~tracelet_clearml.errors.ServerUnavailable`, through everything. This is for a process of ours alone.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any
from urllib.parse import urlsplit

import clearml.backend_api.session.session as api_session
import clearml.backend_interface.metrics.interface as metrics
import clearml.storage.helper as storage_helper
import requests
from clearml.backend_api.utils import get_http_session_with_retry
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import Retry

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import redact, seconds_asked
from tracelet_clearml.errors import AccessDenied, ServerUnavailable

__all__ = ["check_reachable", "limit_requests", "thread_errors"]

#: Seconds for a server to accept a connection.
_CONNECT = 5.0
#: Bytes a second that an upload must reach on top of the time for an answer.
_SLOWEST = 100_000
_PORTS = {"http": 80, "https": 443}
#: Characters of what a server says that are told on.
_LONGEST = 600


def check_reachable(url: str, what: str) -> None:
    """Raise :class:`~tracelet.BackendUnavailable` where nothing listens at an address within a few seconds.

    What is behind a proxy is the proxy's to reach.
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


class _Bounded(requests.Session):
    """An HTTP session whose requests end in time; what is no answer raises :class:`ServerUnavailable`."""

    limit = 20.0
    #: Whether an answer that says who is let in is for the SDK, which then logs in again.
    logs_in = True

    def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        """Send a request.

        Raises :class:`ServerUnavailable` for a failed connection and for a server that is not well; and :class:`AccessDenied`, which the
        SDK would take for a file that is gone.
        """
        size = int(request.headers.get("Content-Length") or 0)
        named["timeout"] = (_CONNECT, self.limit + size / _SLOWEST)
        place = redact(f"{request.url}".partition("?")[0])
        try:
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
            raise AccessDenied(f"{place} is not for us to use: HTTP status {answer.status_code}.")
        return answer


#: What ended the work of threads of the SDK's.
_THREAD_ERRORS: list[ServerUnavailable] = []


def _living(work: Callable[..., object], *given: Any) -> object:
    try:
        return work(*given)
    except ServerUnavailable as away:
        _THREAD_ERRORS.append(away)
        raise ConnectionError(str(away)) from away


class _Pool(ThreadPool):
    """Threads that live on: work whose thread was ended by :class:`ServerUnavailable` is never over, and the SDK waits for it."""

    def map_async(self, func: Callable[..., object], *named: Any, **more: Any) -> Any:
        """Begin work in threads."""
        return super().map_async(functools.partial(_living, func), *named, **more)


@contextlib.contextmanager
def thread_errors() -> Iterator[None]:
    """Raise, after the block, what ended the work of the SDK's threads in it: they tell nobody."""
    _THREAD_ERRORS.clear()
    yield
    if _THREAD_ERRORS:
        raise _THREAD_ERRORS[0]


def _said(answer: requests.Response) -> str:
    """What the API server says went wrong in it, where it does."""
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        return ""
    try:
        return f", {redact(str(answer.json()['meta']['result_msg']))[:_LONGEST]}"
    except (ValueError, LookupError, TypeError):
        return ""


def _verbatim(answer: requests.Response, **_: Any) -> None:
    """Let the bytes of an answer be the ones that were sent."""
    answer.raw.headers.pop("Content-Encoding", None)


def limit_requests(limit: float) -> None:
    """Give every HTTP session that the SDK makes from now on these bounds; ``limit`` is in seconds an answer."""

    def make(logs_in: bool) -> Callable[..., requests.Session]:
        def bounded(**named: Any) -> requests.Session:
            plain = get_http_session_with_retry(total=0, config=named.get("config"))
            session = _Bounded()
            session.verify = plain.verify
            session.limit = limit
            session.logs_in = logs_in
            if not logs_in:
                # ClearML's file server says of a `.gz` that it is an encoding, and `requests` would unpack it.
                session.headers["Accept-Encoding"] = "identity"
                session.hooks["response"].append(_verbatim)
            for scheme in ("http://", "https://"):
                adapter = plain.get_adapter(scheme)
                assert isinstance(adapter, requests.adapters.HTTPAdapter)
                # Only where no connection came about: nothing is done twice.
                adapter.max_retries = Retry(
                    total=1, connect=1, read=0, status=0, redirect=0, other=0, respect_retry_after_header=False
                )
                session.mount(scheme, adapter)
            return session

        return bounded

    vars(metrics)["ThreadPool"] = _Pool
    vars(api_session)["get_http_session_with_retry"] = make(logs_in=True)
    vars(storage_helper)["get_http_session_with_retry"] = make(logs_in=False)
