"""The plugin for Weights & Biases. Only this module is loaded in the user's process; the SDK is imported in the lane."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracelet.exceptions import ConfigError
from tracelet.plugin import Backend, BackendContext, BackendSpec, Capability, hookimpl
from tracelet_wandb.settings import WandbSettings

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["WandbSettings", "tracelet_backends"]


def _context() -> dict[str, Any]:
    """Return the run that is active in the user's own SDK, if that is loaded, and the run's mode and server."""
    wandb: ModuleType | None = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    settings = getattr(run, "settings", None)
    if run is None or settings is None or getattr(settings, "mode", "disabled") == "disabled":
        return {}
    return {
        "run": str(run.id or ""),
        "project": str(run.project or ""),
        "entity": str(run.entity or ""),
        "mode": str(settings.mode),
        "base_url": str(settings.base_url),
    }


def _open(experiment: str, settings: WandbSettings, context: BackendContext) -> Backend:
    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the W&B SDK cannot be imported ({error}): install it with pip install 'tracelet-core[wandb]'."
        ) from error
    from tracelet_wandb.backend import open_backend

    return open_backend(experiment, settings, context)


#: Set in the lane's process where the user has not set them. The SDK fails soon, for core tries again, prints nothing, sends
#: no reports, and leaves out what belongs to the user's own runs. The two underscores are W&B's own.
_ENVIRON = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_INIT_TIMEOUT": "60",
    "WANDB__DISABLE_STATS": "true",
    "WANDB__DISABLE_META": "true",
    "WANDB__DISABLE_MACHINE_INFO": "true",
    "WANDB__SAVE_REQUIREMENTS": "false",
    "WANDB__GRAPHQL_RETRY_MAX": "2",
    "WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS": "0.2",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "1",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "2",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MIN_SECONDS": "0.2",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "1",
    "WANDB__FILE_STREAM_RETRY_MAX": "2",
    "WANDB__FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "0.2",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "1",
    # Seconds until an offline run's log is on disk. W&B's own default is fifteen.
    "WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "0.5",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``wandb``."""
    return [
        BackendSpec(
            name="wandb",
            open=_open,
            settings=WandbSettings,
            context=_context,
            # The SDK has not sent yet all that it shows of a run, and W&B calls a run crashed that nobody writes to again.
            resumes_runs=False,
            capabilities=frozenset(Capability),
            environ=_ENVIRON,
            summary="Artifacts in W&B, with media on the run; works offline, too.",
        )
    ]
