"""Reading, on lanes of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.lanes.lane import Lane
from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Reader"]


class Reader:
    """Reads from one backend, on a lane of its own, so that nobody waits behind an upload."""

    def __init__(self, lane: Lane, settings: TraceletSettings) -> None:
        self.lane = lane
        self._settings = settings
        self._lock = threading.Lock()
        #: Whether what is being read now may be ended.
        self._optional = False

    @property
    def limit(self) -> float:
        """The seconds that a request may take that moves no bytes."""
        return deadline_for(0, self._settings)

    def request(
        self,
        what: str,
        size_bytes: int = 0,
        *,
        patience: float | None = None,
        unhurried: bool = False,
        **arguments: Any,
    ) -> Any:
        """Ask the backend, within the time that so many bytes may take. Raises what it raises.

        An ``unhurried`` request ends only by a stall: nobody knows how many bytes it moves.

        With ``patience`` the request may be given up: it is not made where something else is read for so many seconds, and
        whoever closes the lane ends it.
        """
        if not self._lock.acquire(timeout=-1 if patience is None else patience):
            raise BackendUnavailable("it is busy with something else: try again later.")
        try:
            self._optional = patience is not None
            self.lane.open(self._settings.open_timeout)
            limit = None if unhurried else deadline_for(size_bytes, self._settings)
            return self.lane.request(what, limit, **arguments)
        finally:
            self._optional = False
            self._lock.release()

    def close(self, until: float) -> None:
        """End the lane by then (monotonic)."""
        if self._optional:
            self.lane.kill()
        with contextlib.suppress(TraceletError):
            self.lane.close(max(0.0, until - time.monotonic()), failed=False)
