"""The names that what was logged without Tracelet gets as artifacts: valid, and the same each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.plugins.version_refs import check_label
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.exceptions import ArtifactError

__all__ = ["FROM", "aliases_of", "by_address", "names_for", "put_id_of"]

#: The key of the metadata that says where a version comes from.
FROM = "imported_from"
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 128


def put_id_of(found: ForeignArtifact) -> str:
    """Return the id of the put that imports a version: the same each time, so that it is stored once.

    What has got other files since, as the folder of a run that still goes on, is a version of its own.
    """
    files = sorted((file.path, file.size_bytes) for file in found.files)
    return hashlib.sha256(repr((found.address, files)).encode()).hexdigest()[:32]


def by_address(held: Iterable[StoredArtifact]) -> dict[str, StoredArtifact]:
    """Return what was imported before, by the address that it comes from: the newest version of each."""
    found = sorted(held, key=lambda one: one.number)
    return {address: one for one in found if isinstance(address := one.manifest.metadata.get(FROM), str)}


def names_for(found: Iterable[ForeignArtifact], held: Iterable[StoredArtifact]) -> dict[tuple[str, ArtifactType], str]:
    """Return the artifact's name for each name and type of the tracker. A name has one type, so each pair has its own.

    Args:
        found: What is to be imported.
        held: What the target holds. What was imported before keeps its name there.
    """
    held = list(held)
    before = by_address(held)
    types = {one.manifest.name: one.manifest.type for one in held}
    pairs: dict[tuple[str, ArtifactType], str | None] = {}
    for one in found:
        there, pair = before.get(one.address), (one.name, one.type)
        known = there.manifest.name if there is not None and there.manifest.type is one.type else None
        pairs[pair] = pairs.get(pair) or known
    names = {pair: name for pair, name in pairs.items() if name is not None}
    taken = set(names.values())
    for pair in (pair for pair in pairs if pair not in names):
        name = next(name for name in _candidates(*pair) if name not in taken and types.get(name, pair[1]) is pair[1])
        names[pair] = name
        taken.add(name)
    return names


def _candidates(name: str, kind: ArtifactType) -> Iterator[str]:
    plain = _NO_NAME.sub("-", name).strip("-")[:_LONGEST]
    plain = plain if plain.strip(".") else kind.value
    yield plain
    yield f"{plain[: _LONGEST - len(kind.value) - 1]}-{kind.value}"
    number = 2
    while True:
        yield f"{plain[: _LONGEST - 12]}-{number}"
        number += 1


def aliases_of(found: ForeignArtifact) -> tuple[tuple[str, ...], Sequence[str]]:
    """Return the aliases that a version keeps, and those that cannot be aliases here. ``latest`` is neither."""
    kept, lost = [], []
    for alias in found.aliases:
        try:
            kept.append(check_label(alias))
        except ArtifactError:
            lost.append(alias)
    return tuple(dict.fromkeys(kept)), [alias for alias in lost if alias != "latest"]
