"""Reading, on lanes of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.lanes.lane import Lane
from tracelet.exceptions import TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Reader"]


class Reader:
    """Reads from one backend, on a lane of its own, so that nobody waits behind an upload."""

    def __init__(self, lane: Lane, settings: TraceletSettings) -> None:
        self.lane = lane
        self._settings = settings
        self._lock = threading.Lock()

    def request(self, what: str, size_bytes: int = 0, **arguments: Any) -> Any:
        """Ask the backend, within the time that so many bytes may take. Raises what it raises."""
        with self._lock:
            self.lane.open(self._settings.open_timeout)
            return self.lane.request(what, deadline_for(size_bytes, self._settings), **arguments)

    def close(self, until: float) -> None:
        """End the lane by then (monotonic)."""
        with contextlib.suppress(TraceletError):
            self.lane.close(max(0.0, until - time.monotonic()), failed=False)
