"""The states of a lane."""

from __future__ import annotations

import enum

__all__ = ["LaneState"]


class LaneState(enum.Enum):
    """What a lane is doing."""

    IDLE = "idle"
    OPENING = "opening"
    READY = "ready"
    BROKEN = "broken"
    CLOSED = "closed"
