"""ClearML for Tracelet: what the user's process loads of it. ClearML itself is imported by the lane alone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracelet.plugin import Backend, BackendContext, BackendSpec, Capability, hookimpl
from tracelet_clearml.settings import ClearmlSettings

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
    from tracelet_clearml.opening import open_backend

    return open_backend(experiment, settings, context)


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
