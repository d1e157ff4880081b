"""The W&B run that a Tracelet run is: one of its own, or the user's, where that takes several writers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import wandb

from tracelet.exceptions import BackendError
from tracelet.plugin import RunInfo
from tracelet_wandb.connection import Place, run_settings
from tracelet_wandb.errors import translated

__all__ = ["begin", "begin_offline", "finish"]


def begin(place: Place, info: RunInfo, sdk: dict[str, Any], folder: Path) -> wandb.Run:
    """Begin the run, go on with it where an earlier process began it, or join the user's.

    The user's own active run is joined where it is in W&B's shared mode and in the same project: only then may two
    processes write to it. Elsewhere the run has an id of its own and names the user's in its configuration. Raises what
    :func:`~tracelet_wandb.errors.translated` makes of the SDK's errors.
    """
    joins = sdk.get("mode") == "shared" and (sdk.get("entity"), sdk.get("project")) == (place.entity, place.project)
    with translated(place.server):
        if joins:
            settings = run_settings(
                folder, mode="shared", x_primary=False, x_update_finish_state=False, x_label=f"tracelet-{info.id[:8]}"
            )
            run = wandb.init(
                entity=place.entity, project=place.project, id=sdk["run"], reinit="create_new", settings=settings
            )
        else:
            run = wandb.init(
                entity=place.entity,
                project=place.project,
                id=info.id,
                resume="allow",
                reinit="create_new",
                mode="online",
                config=_config(info, sdk),
                settings=run_settings(folder),
            )
    if run.project != place.project:
        finish(run, failed=False)
        raise BackendError(
            f"W&B has a project {run.project!r} and does not tell {place.project!r} from it: name the experiment "
            "otherwise.",
            retryable=False,
        )
    return run


def begin_offline(project: str, info: RunInfo, sdk: dict[str, Any], folder: Path) -> wandb.Run:
    """Begin a run that W&B's own ``wandb sync`` can send later."""
    return wandb.init(
        project=project,
        id=info.id,
        reinit="create_new",
        mode="offline",
        config=_config(info, sdk),
        settings=run_settings(folder),
    )


def finish(run: wandb.Run, *, failed: bool) -> None:
    """End our part in a run; a run of the user's goes on. What an online run leaves on this disk is not needed then."""
    folder, offline = Path(run.settings.sync_dir), run.offline
    run.finish(exit_code=1 if failed else 0)
    if not offline:
        shutil.rmtree(folder, ignore_errors=True)


def _config(info: RunInfo, sdk: dict[str, Any]) -> dict[str, Any]:
    config = {"experiment": info.experiment, "run": info.id}
    if sdk.get("run"):
        config["user_run"] = "/".join(str(sdk.get(part) or "") for part in ("entity", "project", "run"))
    return {"tracelet": config}
