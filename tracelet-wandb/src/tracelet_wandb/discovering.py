"""List what users logged in W&B without Tracelet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
from wandb.sdk.artifacts._internal_artifact import sanitize_artifact_name

from tracelet.plugin import ArtifactType, ForeignArtifact, ForeignFile
from tracelet_wandb.connection import Place
from tracelet_wandb.foreign_manifests import MANIFESTS_AT_ONCE, Manifests
from tracelet_wandb.foreign_places import names_at, no_version, wanted_at
from tracelet_wandb.foreign_runs import ToldRun, told_runs
from tracelet_wandb.foreign_types import becomes
from tracelet_wandb.foreign_versions import Listed, Listing, Node, address_of
from tracelet_wandb.names import table_name

__all__ = ["discover"]

#: Names at once.
_WIDTH = 8
#: W&B's type for tables that are logged on a run.
_RUN_TABLE = "run_table"


def discover(place: Place, text: str) -> Iterator[ForeignArtifact]:
    """Yield the versions at a place that Tracelet did not store; of each name the oldest first.

    A link to a version of the same project is left out, unless the place names what holds it: the version is listed under its
    own name. Raises :class:`~tracelet.ArtifactNotFound` where there is no such place.
    """
    wanted = wanted_at(text, place)
    there = wanted.there

    def is_wanted(node: Node) -> bool:
        if wanted.name is None:
            return not node.is_linked_here
        return wanted.ref is None or wanted.ref in node.refs

    with (
        Manifests(there.server) as manifests,
        ThreadPoolExecutor(MANIFESTS_AT_ONCE) as reading,
        ThreadPoolExecutor(_WIDTH) as pool,
    ):
        listing = Listing(there, manifests, reading, is_wanted)
        names = names_at(wanted)
        listed = [one for many in pool.map(lambda pair: listing.versions(*pair), names) for one in many]
    if wanted.ref is not None and wanted.ref not in listing.known:
        raise no_version(wanted, listing.known)
    runs = _runs(there, listed)
    types = _types(listed)
    own_tables = {name for version in listing.own for name in _table_names(*version)}
    for one in listed:
        run = None if one.run is None else runs.get(one.run)
        # A table that Tracelet has shown on a run of its own, or on the user's.
        if one.kind != _RUN_TABLE or not (one.name in own_tables or (run is not None and run.is_own)):
            yield _artifact(there, one, types[one.kind, one.name], run)


def _types(listed: list[Listed]) -> dict[tuple[str, str], ArtifactType]:
    """Return the type of each name: all versions of a name have one."""
    paths: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in listed:
        paths[one.kind, one.name].update(file.path for file in one.files)
    return {(kind, name): becomes(kind, some) for (kind, name), some in paths.items()}


def _runs(place: Place, listed: list[Listed]) -> dict[tuple[str, str, str], ToldRun]:
    """Return the runs that logged versions; links may be to versions of other projects."""
    by_project: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in listed:
        if one.run is not None:
            by_project[one.run[:2]].add(one.run[2])
    found: dict[tuple[str, str, str], ToldRun] = {}
    for (entity, project), names in by_project.items():
        told = told_runs(attrs.evolve(place, entity=entity, project=project), names)
        found |= {(entity, project, name): run for name, run in told.items()}
    return found


def _table_names(run: str, name: str, paths: tuple[str, ...]) -> Iterator[str]:
    """Yield the names that W&B gives to the tables that Tracelet shows of a version."""
    for key in (name, *(f"{name}/{path}" for path in paths)):
        yield sanitize_artifact_name(f"run-{run}-{table_name(key, run)}")


def _artifact(place: Place, one: Listed, kind: ArtifactType, told: ToldRun | None) -> ForeignArtifact:
    made = ForeignArtifact(
        address=address_of(place.server, one.node.id),
        name=one.name,
        type=kind,
        kind=one.kind,
        version=one.node.version,
        experiment=place.project,
        created_at=one.node.created_at,
        locator={"id": one.node.id, "lost": one.lost},
    )
    if one.lost is not None:
        # The fetch tells the reason, so that the import counts it as one that failed.
        return attrs.evolve(
            made, kind=f"{one.kind} that cannot be read", files=(ForeignFile("unknown"),), files_known=False
        )
    inputs = () if told is None else told.inputs
    return attrs.evolve(
        made,
        description=one.node.told["description"] or None,
        metadata=one.metadata,
        aliases=one.node.own_aliases,
        run=None if told is None else told.run,
        files=one.files,
        references=one.references,
        inputs=tuple(
            address_of(place.server, used) for used in dict.fromkeys((*inputs, *one.holders)) if used != one.node.id
        ),
    )
