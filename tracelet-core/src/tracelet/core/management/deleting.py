"""Deleting versions of several backends at once, many with each request."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.finder import Finder
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import ArtifactNotFound, BackendAuthError, BackendUnavailable, TraceletError

__all__ = ["Deleted", "delete_stored"]

#: The name and the number of a version.
_Version = tuple[str, int]
#: How many go with one request at most: what became of them is not known where it ends without an answer.
_MOST = 64
#: As long as this part of its limit was enough for a request, the next one is for twice as many.
_SOON = 1 / 8


@attrs.frozen
class Deleted:
    """What became of versions that were to be deleted from one backend."""

    #: The bytes that became free with each that is gone; None where the backend does not know.
    freed: dict[_Version, int | None] = attrs.field(factory=dict)
    errors: dict[_Version, TraceletError] = attrs.field(factory=dict)


def delete_stored(finder: Finder, stored: Mapping[str, Sequence[StoredArtifact]]) -> dict[str, Deleted]:
    """Delete versions of each backend, the newest first: what was made of others goes before those."""
    calls = {
        one: partial(_delete, finder, one, sorted(versions, key=_made_at, reverse=True))
        for one, versions in stored.items()
        if versions
    }
    return all_at_once(calls)[0]


def _delete(finder: Finder, backend: str, stored: Sequence[StoredArtifact]) -> Deleted:
    """Delete what can be deleted; where the backend is away, the rest is not tried."""
    result = Deleted()
    limit = finder.limit(backend)
    at_once = len(stored) if limit is None else 1
    left = list(stored)
    while left:
        began = time.monotonic()
        try:
            freed = finder.request(backend, "delete_many", stored=tuple(left[:at_once]))
        except (BackendUnavailable, BackendAuthError) as error:
            result.errors.update(dict.fromkeys(map(_version, left), error))
            break
        except ArtifactNotFound:
            freed = (0,)  # somebody was faster
        except TraceletError as error:
            result.errors[_version(left.pop(0))] = error
            continue
        result.freed.update(zip(map(_version, left), freed, strict=False))
        del left[: len(freed)]
        if limit is not None and time.monotonic() - began < limit * _SOON:
            at_once = min(2 * at_once, _MOST)
    return result


def _version(stored: StoredArtifact) -> _Version:
    return stored.manifest.name, stored.number


def _made_at(stored: StoredArtifact) -> float:
    return stored.manifest.created_at
