"""Which versions of a source a target has already, and in which order the others are brought."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import attrs

from tracelet.core.plugins.versions import StoredArtifact

__all__ = ["Step", "matched"]


@attrs.frozen
class Step:
    """A version of the source, and the same one in the target, if that has it."""

    stored: StoredArtifact
    there: StoredArtifact | None
    #: Whether the target has a later version of this name already.
    is_late: bool = False


def matched(source: Iterable[StoredArtifact], target: Iterable[StoredArtifact]) -> list[Step]:
    """Return a step for each version of a source, in the order given.

    A version is there already where the target has one of the same put, or one with the same digest in that place of the
    order: after what is there of the versions before it, and before what is there of those after it.
    """
    steps: dict[int, Step] = {}
    by_name: dict[str, list[tuple[int, StoredArtifact]]] = {}
    for place, stored in enumerate(source):
        by_name.setdefault(stored.manifest.name, []).append((place, stored))
    held: dict[str, list[StoredArtifact]] = {}
    for stored in sorted(target, key=lambda one: one.number):
        held.setdefault(stored.manifest.name, []).append(stored)
    for name, placed in by_name.items():
        versions = sorted(placed, key=lambda one: one[1].number)
        found = _matched([stored for _, stored in versions], held.get(name, []))
        last = max((number for number, there in enumerate(found) if there is not None), default=-1)
        for number, ((place, stored), there) in enumerate(zip(versions, found, strict=True)):
            steps[place] = Step(stored, there, is_late=there is None and number < last)
    return [steps[place] for place in sorted(steps)]


def _matched(source: Sequence[StoredArtifact], target: Sequence[StoredArtifact]) -> list[StoredArtifact | None]:
    """Return for each version of one name, in their order, the same one in the target; None where there is none."""
    by_put = {_identity(one): place for place, one in enumerate(target)}
    puts = {one.manifest.put_id for one in source}
    by_digest: dict[str, list[int]] = {}
    for place, one in enumerate(target):
        # What another version of the source has become is that one.
        if one.manifest.put_id not in puts:
            by_digest.setdefault(one.manifest.digest, []).append(place)
    put = [by_put.get(_identity(stored)) for stored in source]
    # Before what is there of the versions after it.
    ends = [len(target)]
    for known in put[:0:-1]:
        ends.append(min(ends[-1], len(target) if known is None else known))
    found: list[StoredArtifact | None] = []
    begin = 0
    # What is missing goes to the end: what only looks like a version after it is before it then.
    complete = True
    for stored, known, end in zip(source, put, reversed(ends), strict=True):
        if known is None and complete:
            same = by_digest.get(stored.manifest.digest, [])
            nearest = bisect_left(same, begin)
            known = same[nearest] if nearest < len(same) and same[nearest] < end else None
        found.append(None if known is None else target[known])
        begin = begin if known is None else max(begin, known + 1)
        complete = complete and known is not None
    return found


def _identity(stored: StoredArtifact) -> tuple[str, str]:
    """A put has one content: a source that says otherwise is not believed."""
    return stored.manifest.put_id, stored.manifest.digest
