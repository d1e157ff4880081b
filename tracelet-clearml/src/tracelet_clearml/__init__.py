"""ClearML for Tracelet: what the user's process loads of it. ClearML itself is imported by the lane alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracelet.exceptions import ConfigError
from tracelet.plugin import Backend, BackendContext, BackendSpec, Capability, hookimpl
from tracelet_clearml.settings import ClearmlSettings, leave_users_task

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ClearmlSettings", "tracelet_backends"]

#: Seconds since the epoch: every run of this process begins later, every run of an earlier one began before.
_LOADED_AT = time.time()


def _main_task(clearml: ModuleType) -> Any:
    # Task.current_task() would begin a task in a child of the user's process; the class attribute only tells.
    return vars(clearml.Task).get("_Task__main_task")


def _context() -> dict[str, Any]:
    """What the user's own ClearML says, if it is loaded: whether it is offline, and the task of this process."""
    found: dict[str, Any] = {"task_id": "", "since": _LOADED_AT, "offline": None, "pid": os.getpid()}
    clearml = sys.modules.get("clearml")
    if clearml is None or not hasattr(clearml, "Task"):
        return found
    found["offline"] = bool(clearml.Task.is_offline())
    task = _main_task(clearml)
    if task is not None:
        found["task_id"] = str(task.id)
    return found


def _open(experiment: str, settings: ClearmlSettings, context: BackendContext) -> Backend:
    """Log in to ClearML's server, or open the catalogue of an offline mode. Runs in the lane's process."""
    leave_users_task()
    try:
        import clearml  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the ClearML SDK cannot be imported ({error}): install it with pip install 'tracelet-core[clearml]'."
        ) from error
    from tracelet_clearml.connection import connect, go_offline, is_offline

    if is_offline(context.sdk):
        from tracelet_clearml.offline import OfflineBackend

        go_offline()
        return OfflineBackend(experiment, context.directory, str(context.sdk.get("task_id") or ""))
    from tracelet_clearml.backend import ClearmlBackend
    from tracelet_clearml.errors import translated

    with translated():
        api = connect(settings.request_timeout)
    return ClearmlBackend(api, experiment, settings, context)


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``clearml``."""
    return [
        BackendSpec(
            name="clearml",
            open=_open,
            settings=ClearmlSettings,
            context=_context,
            atomic_versions=False,
            capabilities=frozenset({Capability.ALIASES, Capability.DELETE, Capability.INPUTS, Capability.COLLECT}),
            environ={"CLEARML_SUPPRESS_UPDATE_MESSAGE": "1", "CLEARML_LOG_LEVEL": "ERROR"},
            summary="Task artifacts, output models and datasets of a ClearML server.",
        )
    ]
