"""The experiments of an entity: its projects that have a version of Tracelet's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import wandb

from tracelet_wandb.connection import Place
from tracelet_wandb.errors import translated
from tracelet_wandb.names import experiment_name, project_name
from tracelet_wandb.notes import experiment_in
from tracelet_wandb.versions import Versions

__all__ = ["experiments"]

#: Projects that are looked at at once.
_WIDTH = 8


def experiments(place: Place) -> Iterator[str]:
    """Yield the names of the experiments, as users gave them.

    W&B cannot be asked for projects by what is in them. So each project of the entity is looked at, until a version of
    Tracelet's turns up in it: that takes three requests where there is one.
    """
    with ThreadPoolExecutor(_WIDTH) as pool:
        found = pool.map(lambda project: _experiment(attrs.evolve(place, project=project)), place.projects())
        yield from (one for one in found if one is not None)


def _experiment(place: Place) -> str | None:
    """Return the experiment of a project; None where the project has no version of Tracelet's."""
    version = Versions(place).any_own()
    if version is None:
        return None
    name = experiment_in(version.metadata) or experiment_name(place.project) or _told_by_run(version, place)
    # Somebody may have copied a version into a project that no experiment has.
    return name if name is not None and project_name(name) == place.project else None


def _told_by_run(version: wandb.Artifact, place: Place) -> str | None:
    """Return the experiment that is in the configuration of a version's run, as every release notes it."""
    with translated(place.server):
        run = version.logged_by()
        told = run.config.get("tracelet") if run is not None else None
    name = told.get("experiment") if isinstance(told, dict) else None
    return name if isinstance(name, str) else None
