"""How this process gets to ClearML: its configuration, online or offline, HTTP sessions that give up, the log in.

The SDK tries again without end when a connection fails, when a certificate is wrong, when an answer is cut off, and when the
server says 500 or more. Below that it tries up to 240 times, two minutes apart. All of it passes through HTTP sessions that one
function of the SDK makes. So this is the one place to end it: what is no answer raises
:class:`~tracelet_clearml.errors.ServerUnavailable`, through everything. Every request has a deadline, see
:mod:`~tracelet_clearml.deadlines`.

This is for a process of Tracelet's alone. Buckets are read and written by clients of their own.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any
from urllib.parse import urlsplit

import clearml.backend_api.session.session as api_session
import clearml.backend_interface.metrics.interface as metrics
import clearml.storage.helper as storage_helper
import requests
from clearml import Task
from clearml.backend_api import Session
from clearml.backend_api.session.defs import ENV_IGNORE_MISSING_CONFIG, ENV_OFFLINE_MODE
from clearml.backend_api.utils import get_http_session_with_retry
from clearml.backend_interface.base import InterfaceBase
from clearml.config import config_obj
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import Retry

from tracelet.exceptions import BackendError, BackendUnavailable, ConfigError
from tracelet.plugin import redact, seconds_asked
from tracelet_clearml.api import Api, ApiSession
from tracelet_clearml.deadlines import CONNECT_SECONDS, DeadlineAdapter, longest_wait, request_budget
from tracelet_clearml.errors import AccessDenied, ServerUnavailable

__all__ = ["check_reachable", "connect", "go_offline", "is_offline", "thread_errors"]

#: ClearML waits without end while a server is under maintenance, and takes ten seconds to end its reporting process.
_OVERRIDES = (
    ("api", "http.wait_on_maintenance_forever", False),
    ("sdk", "development.report_use_subprocess", False),
)
#: These loggers report every few megabytes. An error message quotes the end of the log.
_TALKATIVE = ("clearml", "clearml.storage")
_PORTS = {"http": 80, "https": 443}
#: Characters of what a server says that are told on.
_LONGEST = 600


def is_offline(sdk: dict[str, Any]) -> bool:
    """Say whether ClearML is offline: what the user's process says now, or else the environment.

    Args:
        sdk: What the plugin's context found in the user's process. What an earlier process said does not count.

    """
    if sdk.get("offline") is not None and sdk.get("pid") in {os.getpid(), os.getppid()}:
        return bool(sdk["offline"])
    return bool(ENV_OFFLINE_MODE.get())


def go_offline() -> None:
    """Let the SDK send nothing from now on."""
    Task.set_offline(True)
    _configure()


def connect(limit: float) -> Api:
    """Log in to ClearML's API server.

    Args:
        limit: Seconds that a request may take, beside the time for its bytes.

    Raises:
        BackendUnavailable: No server listens there.
        ConfigError: The configuration cannot be used.
        Exception: What :func:`~tracelet_clearml.errors.translated` translates.

    """
    # Without credentials, ClearML would make tasks that exist nowhere.
    ENV_IGNORE_MISSING_CONFIG.pop()
    if Task.is_offline():
        Task.set_offline(False)
    _limit_requests(limit)
    _configure()
    host = str(Session.get_api_server_host())
    # ClearML's own hosted server needs no check: without credentials the session fails before it calls anybody.
    if Session.default_host != host or config_obj.get("api.api_server", None):
        check_reachable(host, "API server")
    try:
        session = ApiSession(worker=f"tracelet-{socket.gethostname()}")
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ConfigError(
            f"ClearML's configuration is not usable: {error} Correct clearml.conf or CLEARML_*."
        ) from error
    InterfaceBase._set_default_session(session)
    if Session._offline_mode:
        raise BackendError("ClearML is offline in this process.", retryable=False)
    return Api(session)


def _configure() -> None:
    """Read the user's configuration and put ours over it."""
    for section, key, value in _OVERRIDES:
        # In place: ClearML's own way to override reads all its files a second time.
        config_obj.get(section).put(key, value)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)


def check_reachable(url: str, what: str) -> None:
    """Raise :class:`~tracelet.BackendUnavailable` if nothing accepts a connection at an address within a few seconds.

    An address behind a proxy is not checked.
    """
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if parts.hostname is None or port is None or select_proxy(url, get_environ_proxies(url)):
        return
    try:
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise BackendUnavailable(
            f"ClearML's {what} at {redact(url)} does not answer ({error}): start it, or correct its address."
        ) from error


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
        named["timeout"] = (CONNECT_SECONDS, longest_wait(self.limit, size))
        place = redact(f"{request.url}".partition("?")[0])
        try:
            with request_budget(self.limit, size):
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


def _limit_requests(limit: float) -> None:
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
                adapter = DeadlineAdapter(
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
