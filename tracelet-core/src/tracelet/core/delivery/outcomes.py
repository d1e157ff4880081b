"""What becomes of a delivery, and how long it may take."""

from __future__ import annotations

import attrs

from tracelet.core.service import Delivered
from tracelet.exceptions import (
    ArtifactError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    PluginError,
    TraceletError,
)
from tracelet.settings import TraceletSettings

__all__ = ["Outcome", "is_final", "limit_for", "run_ended", "unwritable"]

_MB = 1_000_000
#: Seconds: a month.
_LONGEST = 30 * 86_400.0


def limit_for(size_bytes: int, settings: TraceletSettings) -> float:
    """Return the seconds that a delivery of so many bytes may take: bounded, for what a backend says of sizes may be wrong."""
    return settings.deadline + min(size_bytes / (settings.min_rate * _MB), _LONGEST)


def is_final(error: TraceletError) -> bool:
    """Tell whether trying again would fail again."""
    if isinstance(error, BackendError):
        return not error.retryable
    return isinstance(error, (ArtifactError, IntegrityError, PluginError))


@attrs.frozen
class Outcome:
    """What became of one artifact at one backend: it has it, or why not, and whether it is queued."""

    delivered: Delivered | None = None
    error: TraceletError | None = None
    queued: bool = False
    #: Whether the log tells of it otherwise, once for many.
    told: bool = False


def unwritable(error: OSError) -> TraceletError:
    """Return what to say where the tracelet directory takes nothing any more."""
    return BackendError(f"the tracelet directory cannot be written: {error}. Free space, or set TRACELET_DIR.")


def run_ended(backend: str = "") -> TraceletError:
    """Return what to say of a delivery that the end of its run has left in the outbox."""
    return BackendUnavailable(
        "the run ended before it was delivered: a later run or `tracelet sync` does that.", backend=backend
    )
