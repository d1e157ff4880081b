"""What a place names: a project with its datasets and pipelines, also with what is below it, or one task, dataset or model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from tracelet.exceptions import ArtifactNotFound
from tracelet_clearml.api import PAGE, Api
from tracelet_clearml.projects import INDEX

__all__ = ["Place", "documents", "look"]

_TASK = [
    *("id", "name", "created", "project", "status", "tags", "system_tags", "comment", "runtime", "hyperparams"),
    *("last_metrics", "execution.artifacts", "models.input"),
]
_MODEL = [
    *("id", "name", "created", "project", "task", "parent", "uri", "framework", "tags", "system_tags", "comment"),
    *("labels", "design", "metadata", "ready"),
]
_FIELDS = {"tasks": _TASK, "models": _MODEL}
#: What ClearML's own pages leave out.
_SHOWN = ["__$not", "archived", "__$not", "hidden"]
#: Hidden projects in which ClearML keeps a project's datasets and pipelines. On its pages they are that project's.
_OWN = r"/\.(datasets|pipelines)/[^/]+"
_BELOW = "/*"
_ID = re.compile(r"[0-9a-f]{32}")
_NEAREST = 3


@attrs.frozen
class Place:
    """What is at a place, asked page by page, the oldest first. It can be gone through once."""

    tasks: Iterator[Mapping[str, Any]]
    models: Iterator[Mapping[str, Any]]


def look(api: Api, place: str) -> Place:
    """Say what a place names. Raises :class:`~tracelet.ArtifactNotFound` where it names nothing."""
    if _ID.fullmatch(place):
        tasks = list(documents(api, "tasks", [place]))
        if tasks:
            return Place(iter(tasks), _pages(api, "models", task=[place], system_tags=_SHOWN))
        models = list(documents(api, "models", [place]))
        if models:
            return Place(iter(()), iter(models))
    projects = _projects(api, place)
    if not projects:
        raise _missing(api, place)
    asked = {"project": projects, "system_tags": _SHOWN}
    return Place(_pages(api, "tasks", **asked), _pages(api, "models", **asked))


def documents(api: Api, service: str, keys: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the tasks, models or projects with these ids, as far as there are such ones."""
    asked = sorted(set(keys))
    for start in range(0, len(asked), PAGE):
        few = asked[start : start + PAGE]
        fields = _FIELDS.get(service, ["id", "name"])
        yield from api.call(service, "get_all", id=few, only_fields=fields, page=0, page_size=PAGE)[service]


def _pages(api: Api, service: str, **asked: Any) -> Iterator[Mapping[str, Any]]:
    # What is made meanwhile comes at the end, and moves nothing from one page to another.
    return api.pages(service, only_fields=_FIELDS[service], order_by=["created"], **asked)


def _projects(api: Api, place: str) -> list[str]:
    """Return the ids of a project and of what ClearML keeps for it, or of all that is below it, too."""
    name = place.removesuffix(_BELOW).strip("/")
    if not name:
        return []
    inside = "(/.*)?" if place.endswith(_BELOW) else f"({_OWN})?"
    pattern = f"^{re.escape(name)}{inside}$"
    found = api.pages("projects", name=pattern, only_fields=["id", "name"], order_by=["name"])
    # Some databases ignore the case in a pattern. Tracelet's own index is no place of its users'.
    fitting = [one for one in found if re.fullmatch(pattern, str(one["name"]))]
    return [str(one["id"]) for one in fitting if INDEX not in str(one["name"]).split("/")]


def _missing(api: Api, place: str) -> ArtifactNotFound:
    shown = (str(one["name"]) for one in api.pages("projects", only_fields=["id", "name"], order_by=["name"]))
    names = [name for name in shown if not any(part.startswith(".") for part in name.split("/"))]
    near = difflib.get_close_matches(place.removesuffix(_BELOW), names, _NEAREST)
    near += [name for name in names if name.rpartition("/")[2] == place and name not in near][:_NEAREST]
    hint = f" There is {', '.join(map(repr, near))}." if near else ""
    return ArtifactNotFound(
        f"there is no {place!r} in ClearML at {api.place}: give the name of a project, such as 'Team/vision', or 'Team/vision/*' "
        f"for all that is below it, too; or the id of a task, of a dataset or of a model.{hint}"
    )
