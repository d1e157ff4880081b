"""Versions of several backends that are one: the same content of a name, wherever it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tracelet.core.artifacts.logged import LoggedArtifact

__all__ = ["Homes", "by_content"]

#: One version in every backend that holds it. They differ in where they are and what they are called there.
Homes = tuple[LoggedArtifact, ...]


def by_content(artifacts: Iterable[LoggedArtifact]) -> list[Homes]:
    """Return versions of several backends with each content of a name once, newest first.

    A backend may hold one content twice, with another between: its first is the first of the others, and its second their
    second.

    Args:
        artifacts: Versions, newest first, as listing gives them.
    """
    artifacts = list(artifacts)
    counts: Counter[tuple[str, str, str]] = Counter()
    places: dict[tuple[str, str, int], list[LoggedArtifact]] = {}
    for one in reversed(artifacts):
        counts[one.backend, one.name, one.digest] += 1
        places.setdefault((one.name, one.digest, counts[one.backend, one.name, one.digest]), []).append(one)
    return [tuple(homes) for homes in reversed(places.values())]
