"""What a source on disk names and nobody can import as it is: it is found with its reason, and the fetch tells that."""

from __future__ import annotations

import os
import time
from typing import Any

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.foreign import ForeignArtifact, ForeignFile
from tracelet.exceptions import ArtifactError

__all__ = ["check_fit", "moment", "readable_name", "unfit"]

_REASON = "unfit"


def unfit(
    *, address: str, name: str, kind: str, experiment: str, reason: str, size_bytes: int | None = None
) -> ForeignArtifact:
    """Return what stands for something that cannot be imported, so that one of many does not stop the others."""
    return ForeignArtifact(
        address=address,
        name=name,
        type=ArtifactType.CUSTOM,
        kind=f"{kind} that cannot be imported",
        experiment=experiment,
        created_at=time.time(),
        files=(ForeignFile("unknown", size_bytes),),
        files_known=False,
        locator={_REASON: reason},
    )


def check_fit(locator: dict[str, Any]) -> None:
    """Raise :class:`~tracelet.ArtifactError` with the reason of what cannot be imported."""
    if _REASON in locator:
        raise ArtifactError(locator[_REASON])


def readable_name(name: str) -> str:
    """Return a name of the filesystem as text that can be shown: it need not be UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def moment(seconds: float) -> float:
    """Return a time of the filesystem as one that an artifact can be made at: neither before 1970 nor in the future."""
    return min(max(seconds, 0.0), time.time())
