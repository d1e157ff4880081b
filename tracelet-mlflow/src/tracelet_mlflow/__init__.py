"""The plugin for MLflow. Only this module is loaded in the user's process; MLflow itself is imported in the lane."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.plugin import BackendContext, BackendSpec, Capability, ModelInfo, hookimpl
from tracelet.settings import load
from tracelet_mlflow.settings import MlflowSettings

if TYPE_CHECKING:
    from tracelet_mlflow.backend import MlflowBackend

__all__ = ["MlflowSettings", "tracelet_backends"]


@attrs.frozen(kw_only=True)
class _Variables:
    """MLflow's own variables. They are read in the user's process, whose code may have changed them."""

    tracking_uri: str = ""
    run_id: str = ""


def _context(since: float) -> dict[str, Any]:
    """Return the tracking URI of the user's own MLflow, and the run that is active in this thread, if it is loaded.

    ``since`` is in seconds since the epoch. Runs of this process begin after it.
    """
    import os
    import socket

    own = load(_Variables, "MLFLOW_")
    process = f"{socket.gethostname()} {os.getpid()} {since}"
    found = {"tracking_uri": own.tracking_uri, "run_id": own.run_id, "since": since, "process": process}
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or not all(hasattr(mlflow, name) for name in ("is_tracking_uri_set", "active_run")):
        return found
    if mlflow.is_tracking_uri_set():
        found["tracking_uri"] = str(mlflow.get_tracking_uri())
    active = mlflow.active_run()
    if active is not None:
        found["run_id"] = active.info.run_id
    return found


def _open(experiment: str, settings: MlflowSettings, context: BackendContext) -> MlflowBackend:
    from tracelet_mlflow.backend import open_backend

    return open_backend(experiment, settings, context)


def _render(model: Any, info: ModelInfo, dest: Path) -> None:
    from tracelet_mlflow.rendering import render

    render(model, info, dest)


#: Set in the lane's process where the user has not set them. MLflow fails soon, for core tries again, and prints nothing.
_ENVIRON = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    # Core reads Retry-After, and waits that long if the deadline allows it.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    # A server that stores in a bucket answers when the bucket has the whole file. The lane has a limit of its own.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "600",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "AWS_MAX_ATTEMPTS": "2",
}


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``mlflow``."""
    import time

    loaded_at = time.time()
    return [
        BackendSpec(
            name="mlflow",
            open=_open,
            settings=MlflowSettings,
            context=lambda: _context(loaded_at),
            render=_render,
            # All but what MLflow's pages show of a put in the last half second: see notes.py.
            resumes_runs=True,
            capabilities=frozenset(Capability),
            environ=_ENVIRON,
            summary="Artifacts in MLflow runs, models in its Model Registry.",
        )
    ]
