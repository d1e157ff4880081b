"""Which projects, names and versions of W&B a place means, as W&B's users write it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from tracelet.exceptions import ArtifactNotFound, BackendError
from tracelet_wandb.connection import Place
from tracelet_wandb.foreign_types import is_made_by_wandb

__all__ = ["Wanted", "names_at", "no_version", "wanted_at"]

_KINDS = (
    "Give PROJECT, ENTITY/PROJECT or ENTITY/PROJECT/NAME, or one version as ENTITY/PROJECT/NAME:ALIAS or "
    "ENTITY/PROJECT/NAME:v3."
)
_TYPES = """
query TraceletForeignTypes($entity: String!, $project: String!, $cursor: String) {
  project(entityName: $entity, name: $project) {
    artifactTypes(after: $cursor, first: 100) { pageInfo { endCursor hasNextPage } edges { node { name } } }
  }
}
"""
_NAMES = """
query TraceletForeignNames($entity: String!, $project: String!, $type: String!, $cursor: String) {
  project(entityName: $entity, name: $project) {
    artifactType(name: $type) {
      artifactCollections(after: $cursor, first: 100) { pageInfo { endCursor hasNextPage } edges { node { name } } }
    }
  }
}
"""
#: The most names that a message proposes.
_NEAREST = 3


@attrs.frozen
class Wanted:
    """What a place means: a project, or one name in it, or one version of that."""

    #: The project, and the client for its server.
    there: Place
    name: str | None
    #: An alias, or ``v`` and a number.
    ref: str | None


def wanted_at(text: str, place: Place) -> Wanted:
    """Read a place. An entity that is not named is the one that the backend was opened for."""
    path, _, ref = text.partition(":")
    parts = path.split("/")
    if len(parts) == 2 and ref:
        parts = [place.entity, *parts]
    if len(parts) == 1:
        parts = [place.entity, *parts]
    if not all(parts) or len(parts) > 3 or (":" in text and (len(parts) < 3 or not ref)):
        raise ArtifactNotFound(f"{text!r} is no place on W&B. {_KINDS}")
    entity, project, *name = parts
    return Wanted(attrs.evolve(place, entity=entity, project=project), name[0] if name else None, ref or None)


def names_at(wanted: Wanted) -> list[tuple[str, str]]:
    """Return the type and the name of each collection that the place means, but for those that W&B makes by itself."""
    there = wanted.there
    types = [kind for kind in _listed(there, _TYPES, {}, ["artifactTypes"]) if not is_made_by_wandb(kind)]
    names = [
        (kind, name)
        for kind in types
        for name in _listed(there, _NAMES, {"type": kind}, ["artifactType", "artifactCollections"])
    ]
    found = [(kind, name) for kind, name in names if wanted.name in {None, name}]
    if wanted.name is not None and not found:
        raise ArtifactNotFound(
            f"{there.entity}/{there.project} on W&B at {there.server} has no artifact {wanted.name!r} that a user logged. "
            f"{_near(wanted.name, (name for _, name in names))}{_KINDS}"
        )
    return found


def no_version(wanted: Wanted, known: Iterable[str]) -> ArtifactNotFound:
    """Return the error for a version that a name does not have; ``known`` are its versions and aliases."""
    path = wanted.there.path(str(wanted.name), wanted.ref)
    return ArtifactNotFound(
        f"W&B at {wanted.there.server} has no version {path}. {_near(str(wanted.ref), known)}{_KINDS}"
    )


def _listed(there: Place, query: str, more: dict[str, Any], way: list[str]) -> Iterator[str]:
    """Yield the names in all pages of a query."""
    variables = {"entity": there.entity, "project": there.project, **more}
    unfinished = True
    while unfinished:
        page = there.ask(query, variables)["project"]
        if page is None:
            raise ArtifactNotFound(
                f"W&B at {there.server} has no project {there.entity}/{there.project}, or does not show it to this account. "
                f"{_near(there.project, _projects(there))}{_KINDS}"
            )
        for step in way:
            page = page[step]
        yield from (edge["node"]["name"] for edge in page["edges"])
        unfinished, variables["cursor"] = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]


def _projects(there: Place) -> list[str]:
    try:
        return there.projects()
    except BackendError:
        # What is not there is the message; that nothing can be proposed is not.
        return []


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, dict.fromkeys(known), _NEAREST, 0.0)
    return f"There is {', '.join(map(repr, near))}. " if near else ""
