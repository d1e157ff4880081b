"""The plugin: what the user's process loads. Only the lane's process imports ClearML.

====================  ===================================================================
``connection``        configuration, online or offline, HTTP sessions, the log in
``deadlines``         a deadline for each whole HTTP request
``api``               requests to the API server
``errors``            ClearML's errors as Tracelet's
``backend``           what core calls
``index``             which versions there are: claims, commits, labels, aliases, look-ups
``record_names``      the names of the index's hidden tasks, and the queries for them
``records``           the other stored forms: a record's text, places, marks
``projects``          the ClearML projects of an experiment
``experiments``       which experiments a server has
``runs``              which task a run has, and writing to it
``statuses``          opening an ended task for a moment
``blobs``             uploads and downloads
``artifacts``         artifacts of a task
``models``            output models
``datasets``          ClearML datasets
``dataset_lines``     which datasets come from which, and their deletion
``discovering``       what was logged without Tracelet
``foreign_places``    which documents a place names
``foreign_runs``      what ClearML knows of the task that made something
``foreign_files``     the files of artifacts and models, and their checksums
``foreign_datasets``  the files of datasets
``foreign_types``     which type of artifact becomes of what
``addresses``         addresses by the server and by ids
``display``           what ClearML's users see of a version, debug samples
``names``             names that ClearML takes
``offline``           the offline mode
====================  ===================================================================
"""

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

#: Seconds since the epoch. Every run of this process begins later. Every run of an earlier process began before.
_LOADED_AT = time.time()


def _main_task(clearml: ModuleType) -> Any:
    # Task.current_task() would begin a task in a child of the user's process. Reading the class attribute does not.
    return vars(clearml.Task).get("_Task__main_task")


def _context() -> dict[str, Any]:
    """Ask the user's own ClearML, if it is loaded, whether it is offline and which task this process has."""
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
            # Offline, a run is a task that the SDK has open: the next process makes another one, and this one is never closed.
            resumes_runs=False,
            atomic_versions=False,
            capabilities=frozenset(Capability),
            environ={"CLEARML_SUPPRESS_UPDATE_MESSAGE": "1", "CLEARML_LOG_LEVEL": "ERROR"},
            summary="Task artifacts, output models and datasets of a ClearML server.",
        )
    ]
