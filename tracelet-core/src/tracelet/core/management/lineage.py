"""What stored versions were made from, and what was made from them, across the backends of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from tracelet.core.artifacts.artifact_list import ArtifactList
from tracelet.core.artifacts.lineage import Lineage, LineageNode, LineageVersion
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.finder import Finder
from tracelet.exceptions import ConfigError

__all__ = ["lineage", "used_by"]

_DEEPEST = 100


def used_by(finder: Finder, artifact: LoggedArtifact) -> ArtifactList:
    """Return the versions that were made from a version, newest first: one for each name and content, whatever backends hold it.

    Raises where a backend fails; what was found all the same is in the error's ``answers``.
    """
    return finder.found_by("used_by", {one: {"digest": artifact.digest} for one in finder.backends}, _one_each)


def _one_each(found: list[LoggedArtifact]) -> list[LoggedArtifact]:
    first = {(one.name, one.digest): one for one in reversed(found)}
    return [one for one in found if first[one.name, one.digest] is one]


def lineage(finder: Finder, artifact: LoggedArtifact, depth: int) -> Lineage:
    """Return the tree of a version, ``depth`` steps up and down. Each backend is asked once, for a list of all that it holds."""
    if type(depth) is not int or not 1 <= depth <= _DEEPEST:
        raise ConfigError(f"depth={depth!r}: give how many steps to go, from 1 to {_DEEPEST}.")
    found, failed = finder.ask("list", {one: {"name": None, "type": None} for one in finder.backends})
    held = found | {one: error.answers for one, error in failed.items()}
    versions: dict[str, list[LineageVersion]] = {artifact.digest: []}
    inputs: dict[str, tuple[str, ...]] = {artifact.digest: artifact.inputs}
    for backend in finder.backends:
        for stored in held[backend]:
            versions.setdefault(stored.manifest.digest, []).append(_version(backend, stored))
            inputs[stored.manifest.digest] = stored.manifest.inputs
    own = versions[artifact.digest]
    if not own:  # its backend did not say it this time
        own.append(
            LineageVersion(artifact.name, artifact.version, artifact.type.value, artifact.backend, artifact.created_at)
        )
    known = {digest: tuple(sorted(many, key=attrgetter("created_at"))) for digest, many in versions.items()}

    def place(digest: str) -> tuple[bool, str, str]:
        """By name; what nobody knows comes last."""
        return (True, "", digest) if digest not in known else (False, known[digest][0].name, known[digest][0].version)

    users: dict[str, list[str]] = {}
    for digest in sorted(inputs, key=lambda one: known[one][0].created_at):
        for used in dict.fromkeys(inputs[digest]):
            users.setdefault(used, []).append(digest)
    return Lineage(
        LineageNode(artifact.digest, _own_first(known[artifact.digest], artifact)),
        tree(artifact.digest, lambda digest: sorted(inputs.get(digest, ()), key=place), known, depth),
        tree(artifact.digest, lambda digest: users.get(digest, ()), known, depth),
        failed,
    )


def _version(backend: str, stored: StoredArtifact) -> LineageVersion:
    manifest = stored.manifest
    return LineageVersion(manifest.name, stored.version, manifest.type.value, backend, manifest.created_at)


def _own_first(versions: tuple[LineageVersion, ...], artifact: LoggedArtifact) -> tuple[LineageVersion, ...]:
    """Return versions with the same content; the one that was asked about comes first."""
    own = (artifact.name, artifact.version, artifact.backend)
    return tuple(sorted(versions, key=lambda one: (one.name, one.version, one.backend) != own))


def tree(
    start: str,
    following: Callable[[str], Sequence[str]],
    known: Mapping[str, tuple[LineageVersion, ...]],
    depth: int,
) -> tuple[LineageNode, ...]:
    """Return what follows a digest, and what follows that, so many steps far.

    Each digest is followed once, where it is nearest, so that the tree is never larger than what is stored, also where
    somebody has forged a circle.
    """
    branches: dict[str, list[str]] = {}
    #: Below which digest each one is followed.
    place: dict[str, str] = {start: ""}
    level = [start]
    for _ in range(depth):
        for digest in level:
            branches[digest] = list(dict.fromkeys(following(digest)))
            for one in branches[digest]:
                place.setdefault(one, digest)
        level = [one for digest in level for one in branches[digest] if place[one] == digest]
    made: dict[str, LineageNode] = {}

    def node(digest: str, above: str) -> LineageNode:
        here = place[digest] == above
        if here and digest in made:
            return made[digest]
        cut = "" if not following(digest) else "deeper" if here else "again"
        return LineageNode(digest, known.get(digest, ()), cut=cut)

    # The farthest first: nothing here recurses.
    for digest in reversed(branches):
        made[digest] = LineageNode(digest, known.get(digest, ()), tuple(node(one, digest) for one in branches[digest]))
    return made[start].nodes
