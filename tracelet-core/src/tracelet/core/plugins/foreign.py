"""What a tracker holds that was logged without Tracelet, as data."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.core.artifacts.checks import path_field, size_field, time_field, whole_number
from tracelet.core.artifacts.entries import ArtifactReference, ArtifactType

__all__ = ["ForeignArtifact", "ForeignFile", "ForeignRun"]


@attrs.frozen
class ForeignFile:
    """A file that a tracker holds: its path in the artifact, and its size in bytes where the tracker says it."""

    path: str = attrs.field(validator=path_field)
    size_bytes: int | None = attrs.field(default=None, converter=whole_number, validator=size_field)


@attrs.frozen(kw_only=True)
class ForeignRun:
    """The run that made it, as its tracker has it."""

    id: str
    name: str = ""
    parameters: dict[str, Any] = attrs.field(factory=dict)
    #: The last value of each metric.
    metrics: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ForeignArtifact:
    """One version of what a tracker holds that was logged without Tracelet."""

    #: Where it is, without credentials: an address that is the same each time, and that no other version has.
    address: str
    #: What its tracker calls it. Core makes the name of an artifact of it.
    name: str
    type: ArtifactType
    #: The tracker's own word for what it is, such as ``"registered model"``.
    kind: str
    #: What its tracker calls the version, or empty where it has no versions.
    version: str = ""
    #: What groups it in the tracker: an MLflow experiment, a W&B or ClearML project.
    experiment: str = ""
    description: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    aliases: tuple[str, ...] = ()
    #: Seconds since the epoch.
    created_at: float = attrs.field(validator=time_field)
    run: ForeignRun | None = None
    files: tuple[ForeignFile, ...] = ()
    #: Whether ``files`` are the files that a fetch writes. False for what it unpacks, such as an archive: what it writes is then
    #: the artifact, and ``files`` are what the tracker holds, with its sizes.
    files_known: bool = True
    #: What it points at and does not hold.
    references: tuple[ArtifactReference, ...] = ()
    #: Addresses of the versions that it was made from.
    inputs: tuple[str, ...] = ()
    #: The backend's own note, plain JSON data; only the backend reads it.
    locator: Any = None

    @property
    def size_bytes(self) -> int:
        """Bytes of its files, as far as the tracker says their sizes."""
        return sum(file.size_bytes or 0 for file in self.files)
