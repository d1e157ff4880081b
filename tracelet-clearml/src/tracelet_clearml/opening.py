"""Which of the two backends it is: ClearML's server, or, offline, the catalogue of what it is still to get."""

from __future__ import annotations

import os
from typing import Any

from tracelet.exceptions import ConfigError
from tracelet.plugin import Backend, BackendContext
from tracelet_clearml.settings import ClearmlSettings, leave_users_task

__all__ = ["open_backend"]


def open_backend(experiment: str, settings: ClearmlSettings, context: BackendContext) -> Backend:
    """Log in to ClearML, or open the catalogue. Raises :class:`~tracelet.ConfigError` where there is no SDK."""
    leave_users_task()
    try:
        import clearml
        from clearml.backend_api.session.defs import ENV_IGNORE_MISSING_CONFIG
    except ImportError as error:
        raise ConfigError(
            f"the ClearML SDK cannot be imported ({error}): install it with pip install 'tracelet-core[clearml]'."
        ) from error
    # With it ClearML makes tasks that are none where there are no credentials.
    ENV_IGNORE_MISSING_CONFIG.pop()
    from tracelet_clearml.connection import configure

    if _is_offline(context.sdk):
        from tracelet_clearml.offline import OfflineBackend

        clearml.Task.set_offline(True)
        configure()
        return OfflineBackend(experiment, context.directory, str(context.sdk.get("task_id") or ""))
    if clearml.Task.is_offline():
        clearml.Task.set_offline(False)
    from tracelet_clearml.api import connect
    from tracelet_clearml.backend import ClearmlBackend
    from tracelet_clearml.errors import translated

    with translated():
        api = connect(settings.request_timeout)
    return ClearmlBackend(api, experiment, settings, context)


def _is_offline(sdk: dict[str, Any]) -> bool:
    """What the user's process says now; a note of what an earlier one said is no reason not to deliver today."""
    from clearml.backend_api.session.defs import ENV_OFFLINE_MODE

    if sdk.get("offline") is not None and sdk.get("pid") in {os.getpid(), os.getppid()}:
        return bool(sdk["offline"])
    return bool(ENV_OFFLINE_MODE.get())
