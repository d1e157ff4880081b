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

__all__ = ["aliases_of", "names_for", "put_id_of"]

_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 128


def put_id_of(address: str) -> str:
    """Return the id of the put that imports what has an address: the same each time, so that it is stored once."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def names_for(found: Iterable[ForeignArtifact], held: Iterable[StoredArtifact]) -> dict[tuple[str, ArtifactType], str]:
    """Return the artifact's name for each name and type of the tracker. A name has one type, so each pair has its own.

    Args:
        found: What is to be imported.
        held: What the target holds. What was imported before keeps its name there.
    """
    by_put = {one.manifest.put_id: one.manifest.name for one in held}
    types = {one.manifest.name: one.manifest.type for one in held}
    pairs: dict[tuple[str, ArtifactType], str | None] = {}
    for one in found:
        pair = one.name, one.type
        pairs[pair] = pairs.get(pair) or by_put.get(put_id_of(one.address))
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
