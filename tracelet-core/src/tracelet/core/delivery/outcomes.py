"""What becomes of a delivery."""

from __future__ import annotations

import attrs

from tracelet.core.lanes.backend_service import Delivered
from tracelet.exceptions import (
    ArtifactError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    PluginError,
    TraceletError,
)

__all__ = ["Outcome", "is_final", "run_ended", "unwritable"]


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
