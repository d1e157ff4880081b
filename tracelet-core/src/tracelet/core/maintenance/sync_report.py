"""What `sync` reports: a delivery and how far it is, and all that a pass did."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

__all__ = ["Delivery", "DeliveryState", "SyncReport"]


class DeliveryState(enum.Enum):
    """How far a delivery is."""

    PLANNED = "planned"
    BEGUN = "begun"
    DELIVERED = "delivered"
    LEFT = "left"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class Delivery:
    """One artifact on its way to one backend, and how far it is."""

    state: DeliveryState
    experiment: str
    backend: str
    name: str
    put_id: str
    size_bytes: int
    #: Seconds since the epoch when it was logged.
    queued_at: float
    #: The version that it is, once it is delivered.
    version: str = ""
    uri: str = ""
    #: Why it is left or refused.
    reason: str = ""
    #: Where a refused one is kept; deleting the file forgets it.
    file: Path | None = None


@attrs.frozen
class SyncReport:
    """What a pass over the outbox did, and what the outbox holds after it."""

    delivered: tuple[Delivery, ...]
    left: tuple[Delivery, ...]
    refused: tuple[Delivery, ...]

    @property
    def complete(self) -> bool:
        """Whether every delivery was made."""
        return not self.left and not self.refused
