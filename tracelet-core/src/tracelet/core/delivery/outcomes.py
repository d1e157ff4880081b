"""The outcome of a delivery, and which errors are final."""

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
    """What an attempt came to: the stored version, or the error, and whether the delivery is queued."""

    delivered: Delivered | None = None
    error: TraceletError | None = None
    queued: bool = False
    #: Whether one warning for many tells of it.
    told: bool = False


def unwritable(error: OSError) -> TraceletError:
    """Return the error for a tracelet directory that cannot be written."""
    return BackendError(f"the tracelet directory cannot be written: {error}. Free space, or set TRACELET_DIR.")


def run_ended(backend: str = "") -> TraceletError:
    """Return the error for a delivery that is in the outbox when its run ends."""
    return BackendUnavailable(
        "the run ended before it was delivered: a later run or `tracelet sync` does that.", backend=backend
    )
