"""How long a call to a backend may take."""

from __future__ import annotations

from tracelet.settings import TraceletSettings

__all__ = ["deadline_for"]

_MB = 1_000_000
#: Seconds: a month.
_LONGEST = 30 * 86_400.0


def deadline_for(size_bytes: int, settings: TraceletSettings) -> float:
    """Return the seconds that a delivery of ``size_bytes`` may take, a month at most: a backend may tell a wrong size."""
    return settings.deadline + min(size_bytes / (settings.min_rate * _MB), _LONGEST)
