"""One delivery, as data."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.core.artifacts.checks import count_field, time_field
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.versions import Labels, RunInfo

__all__ = ["Parcel"]


@attrs.frozen
class Parcel:
    """One artifact on its way to one backend."""

    backend: str
    run: RunInfo
    labels: Labels
    #: What ``BackendSpec.context`` found in the process that logged it, without secrets.
    sdk: dict[str, Any]
    manifest: Manifest
    #: Seconds since the epoch.
    queued_at: float = attrs.field(validator=time_field)
    attempts: int = attrs.field(default=0, validator=count_field)
    error: str = ""
    #: Its place in the order of submission; None where an earlier release wrote it, and the time is its place.
    order: int | None = attrs.field(default=None, validator=attrs.validators.optional(count_field))
    #: What a later release wrote and this one has no field for.
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True, repr=False, eq=False, hash=False)

    @property
    def key(self) -> str:
        """Its file's name without suffix; keys sort by age."""
        place = int(self.queued_at * 1e9) if self.order is None else self.order
        return f"{place:020d}~{self.manifest.put_id}~{self.manifest.name}"
