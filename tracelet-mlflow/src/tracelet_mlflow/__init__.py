"""MLflow for Tracelet: what the user's process loads of it. MLflow itself is imported by the lane alone."""

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
    """MLflow's own variables that the lane cannot read for itself, for the user's code may have changed them since."""

    tracking_uri: str = ""
    run_id: str = ""


def _context(since: float) -> dict[str, Any]:
    """What the user's own MLflow says, if it is loaded: its tracking URI, and the run that is active in this thread.

    ``since`` is in seconds since the epoch: this process's runs begin later, those of earlier ones began before.
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


#: For the lane's process, where the user has not set them: fail soon (core tries again by itself), be silent.
_ENVIRON = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    # How long a server asks to be left alone for, core hears, and waits where that fits.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    # A server that stores to a bucket answers when it has passed on the whole file; the lane has a limit of its own.
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
            capabilities=frozenset({Capability.ALIASES, Capability.DELETE, Capability.INPUTS}),
            environ=_ENVIRON,
            summary="Artifacts in MLflow runs, models in its Model Registry.",
        )
    ]
