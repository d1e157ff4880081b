"""Reading, on a lane of its own or on one that is lent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.lanes.lane import Lane
from tracelet.core.lanes.shared_lane import SharedLane
from tracelet.core.lanes.state import LaneState
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Reader"]

#: The most bytes for which a lane is borrowed: who writes meanwhile waits for them. A line of 20 MB/s brings so many in the time
#: that a delivery has.
_MOST_BORROWED = 1 << 29


@attrs.frozen
class _Own:
    """What a reader has in one process: a fork's copy of the lane is the parent's, and of the lock, whoever holds it there."""

    lane: Lane
    lock: threading.Lock = attrs.field(factory=threading.Lock)


class Reader:
    """Reads from one backend: on the lane of who writes, while that is idle, or else on a lane of its own.

    So nobody waits behind an upload, and there is a second process only for who needs it.
    """

    def __init__(self, make: Callable[[], Lane], settings: TraceletSettings, shared: SharedLane | None = None) -> None:
        """``make`` makes a lane of its own; ``shared`` is that of who writes, where somebody does."""
        self._make = make
        self._by_process: dict[ProcessId, _Own] = {}
        self._shared = shared
        #: The one of the last request.
        self._last: Lane = self.lane
        self._settings = settings
        #: Whether what is being read now may be ended.
        self._optional = False

    @property
    def _own(self) -> _Own:
        # Of two threads that make it at once the first wins. Nothing is open yet in what the second one made.
        return self._by_process.get(current()) or self._by_process.setdefault(current(), _Own(self._make()))

    @property
    def lane(self) -> Lane:
        """Its own lane in this process."""
        return self._own.lane

    @property
    def broke(self) -> bool:
        """Whether the last request broke its lane."""
        return self._last.state is LaneState.BROKEN

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
        lock = self._own.lock
        if not lock.acquire(timeout=-1 if patience is None else patience):
            raise BackendUnavailable("it is busy with something else: try again later.")
        try:
            self._optional = patience is not None
            limit = None if unhurried else deadline_for(size_bytes, self._settings)
            borrows = not unhurried and not self._optional and size_bytes <= _MOST_BORROWED
            with self._lane_for(borrows=borrows) as lane:
                lane.open(self._settings.open_timeout)
                return lane.request(what, limit, **arguments)
        finally:
            self._optional = False
            lock.release()

    @contextlib.contextmanager
    def _lane_for(self, *, borrows: bool) -> Iterator[Lane]:
        if self._shared is None or not borrows or self.lane.state is LaneState.READY:
            self._last = self.lane
            yield self.lane
            return
        self._last = self._shared
        with self._shared.lent() as lent:
            self._last = self.lane if lent is None else lent
            yield self._last

    def close(self, until: float) -> None:
        """End its own lane by then (monotonic)."""
        if self._optional:
            self.lane.kill()
        with contextlib.suppress(TraceletError):
            self.lane.close(max(0.0, until - time.monotonic()), failed=False)
