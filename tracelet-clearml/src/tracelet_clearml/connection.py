"""How this process gets to ClearML: the user's configuration, online or offline, the log in."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from clearml import Task
from clearml.backend_api import Session
from clearml.backend_api.session.defs import ENV_IGNORE_MISSING_CONFIG, ENV_OFFLINE_MODE
from clearml.backend_interface.base import InterfaceBase
from clearml.config import config_obj

from tracelet.exceptions import BackendError, ConfigError
from tracelet_clearml.api import Api, ApiSession
from tracelet_clearml.transport import check_reachable, limit_requests

__all__ = ["connect", "go_offline", "is_offline"]

#: ClearML waits without end while a server is under maintenance, and takes ten seconds to end its reporting process.
_OVERRIDES = (
    ("api", "http.wait_on_maintenance_forever", False),
    ("sdk", "development.report_use_subprocess", False),
)
#: These loggers report every few megabytes. An error message quotes the end of the log.
_TALKATIVE = ("clearml", "clearml.storage")


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
    limit_requests(limit)
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
