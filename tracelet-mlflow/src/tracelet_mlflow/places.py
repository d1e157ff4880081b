"""What users of MLflow call a place: an experiment, ``runs:/…`` and ``models:/…``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import attrs

from tracelet.exceptions import ArtifactNotFound

__all__ = ["ExperimentPlace", "LoggedModelPlace", "ModelPlace", "RunPlace", "no_such_place", "parse_place"]

_RUNS, _MODELS = "runs:/", "models:/"
#: What the id of a logged model begins with.
_LOGGED = "m-"
_KINDS = (
    "A place is an experiment's name or id, `runs:/RUN_ID`, `runs:/RUN_ID/path`, `models:/NAME`, `models:/NAME/VERSION`, "
    "`models:/NAME@ALIAS`, or a logged model, `models:/m-…`."
)


@attrs.frozen
class ExperimentPlace:
    """An experiment, by its name or id."""

    text: str


@attrs.frozen
class RunPlace:
    """A run, or a file or folder among its artifacts."""

    run_id: str
    path: str = ""


@attrs.frozen
class ModelPlace:
    """A registered model: all versions, or the one that a number, ``latest`` or an alias says."""

    name: str
    version: str = ""
    alias: str = ""


@attrs.frozen
class LoggedModelPlace:
    """A logged model of MLflow 3; or a registered model, where its name looks like such an id."""

    model_id: str


def parse_place(text: str) -> ExperimentPlace | RunPlace | ModelPlace | LoggedModelPlace:
    """Read a place; raises :class:`~tracelet.ArtifactNotFound` for what cannot be one."""
    if text.startswith(_RUNS):
        run_id, _, path = text.removeprefix(_RUNS).strip("/").partition("/")
        if run_id:
            return RunPlace(run_id, path)
    elif text.startswith(_MODELS):
        name = text.removeprefix(_MODELS).strip("/")
        if "@" in name:
            name, _, alias = name.rpartition("@")
            if name and alias:
                return ModelPlace(name, alias=alias)
        elif "/" in name:
            name, _, version = name.rpartition("/")
            return ModelPlace(name, version)
        elif name:
            return LoggedModelPlace(name) if name.startswith(_LOGGED) else ModelPlace(name)
    elif text:
        return ExperimentPlace(text)
    raise no_such_place(f"{text!r} is no place in MLflow")


def no_such_place(what: str, name: str = "", others: Iterable[str] = ()) -> ArtifactNotFound:
    """Return the error for a place that is not there, with the names among ``others`` that are like ``name``."""
    near = difflib.get_close_matches(name, list(others), n=3, cutoff=0.5)
    hint = f" Near it: {', '.join(map(repr, near))}." if near else ""
    return ArtifactNotFound(f"{what}.{hint} {_KINDS}")
