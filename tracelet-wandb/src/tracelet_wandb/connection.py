"""Set up the SDK in the lane's process, apart from the user's own SDK, and log in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import wandb
from wandb.apis.public import Projects
from wandb.sdk.lib.service import service_token

from tracelet.exceptions import BackendError
from tracelet.plugin import redact
from tracelet_wandb.errors import translated
from tracelet_wandb.memory import make_fit_for_threads

__all__ = ["Place", "connect", "is_offline", "run_settings", "set_up"]

#: Seconds that one query may take. Core limits the whole request.
_QUERY = 60
#: Projects in a query.
_PAGE = 200


@attrs.frozen
class Place:
    """A project on a server, and the logged-in client for it."""

    api: wandb.Api
    entity: str
    project: str
    #: The server's address, without credentials.
    server: str

    def path(self, name: str, version: str | None = None) -> str:
        """Return what W&B's own API takes for an artifact: ``entity/project/name:v3``."""
        return f"{self.entity}/{self.project}/{name}" + (f":{version}" if version else "")

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Send a query or a change that the client has no method for, and return its answer."""
        with translated(self.server):
            answer: dict[str, Any] = self.api._service_api.execute_graphql(query, variables)
            return answer

    def projects(self) -> list[str]:
        """Return the names of all projects of the entity."""
        with translated(self.server):
            # Not Api.projects(), which remembers its first answer.
            return [one.name for one in Projects(self.api._service_api, self.entity, per_page=_PAGE)]


def set_up(sdk: dict[str, Any]) -> wandb.Settings:
    """Prepare the SDK and return its settings, from the environment and W&B's own files. This connects to nothing.

    ``sdk`` is what ``context()`` found in the user's process. Raises :class:`~tracelet.exceptions.BackendError` where W&B is
    disabled.
    """
    # The user's own SDK leaves the address of its service in the environment. That service would wait for our run when the
    # user's program ends, and would keep it when this lane is killed.
    service_token.clear_service_in_env()
    make_fit_for_threads()
    own: dict[str, Any] = {"silent": True}
    if sdk.get("base_url"):
        own["base_url"] = sdk["base_url"]
    settings = wandb.setup(wandb.Settings(**own)).settings
    # Settings of the user's own run are not for ours. In a sweep the SDK would even put ours into another project.
    settings.sweep_id = settings.sweep_param_path = settings.run_id = settings.resume = None
    settings.resume_from = settings.fork_from = None
    settings.launch = False
    if settings.mode == "disabled":
        raise BackendError(
            "W&B is disabled (WANDB_MODE=disabled), and keeps nothing: unset WANDB_MODE, set it to offline, or take "
            "'wandb' out of the backends.",
            retryable=False,
        )
    return settings


def is_offline(settings: wandb.Settings, sdk: dict[str, Any]) -> bool:
    """Tell whether nothing may be sent: W&B's settings say so, or the user's own active run does."""
    return "offline" in {settings.mode, sdk.get("mode")} or "dryrun" in {settings.mode, sdk.get("mode")}


def connect(settings: wandb.Settings, entity: str, project: str) -> Place:
    """Log in without a prompt, and return the project, which need not exist.

    Raises :class:`~tracelet.BackendAuthError` for credentials that are missing or wrong and
    :class:`~tracelet.BackendUnavailable` where the server does not answer.
    """
    server = redact(str(settings.base_url))
    with translated(server):
        api = wandb.Api(overrides={"base_url": str(settings.base_url)}, timeout=_QUERY)
        wanted = entity or settings.entity
        owner = _as_written(wanted, api) if wanted else api.default_entity
    if not owner:
        raise BackendError(f"the account on W&B at {server} has no entity: set WANDB_ENTITY.", retryable=False)
    return Place(api, owner, project, server)


def _as_written(entity: str, api: wandb.Api) -> str:
    """Return an entity as the server spells it.

    The server ignores case. The client drops aliases whose entity is spelt otherwise than it was asked for.
    """
    viewer = api.viewer
    known = [viewer.entity, viewer.username, *viewer.teams]
    return next((one for one in known if one and one.casefold() == entity.casefold()), entity)


def run_settings(folder: Path, **more: Any) -> wandb.Settings:
    """Return the settings of every run of Tracelet's. It records only what is put into it.

    Its files are in ``folder``, whose name is ``wandb``.
    """
    return wandb.Settings(
        silent=True,
        console="off",
        # The SDK makes the folder `wandb` in it.
        root_dir=str(folder.parent),
        symlink=False,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        sagemaker_disable=True,
        **more,
    )
