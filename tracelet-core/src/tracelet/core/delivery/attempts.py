"""Attempts at one backend."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from tracelet.core.delivery.backoff import Backoff
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.lanes.backend_service import Delivered
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.lanes.lane import Lane
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.system.files import FileChanged
from tracelet.exceptions import BackendError, IntegrityError, TraceletError, UnsafePath
from tracelet.settings import TraceletSettings

__all__ = ["Attempts"]


class Attempts:
    """The lanes to one backend. A failure on its own lane starts the backoff."""

    def __init__(self, lane: Lane, settings: TraceletSettings, elsewhere: Callable[[Parcel], Lane | None]) -> None:
        """``elsewhere`` makes a lane for a delivery that was logged while the user's SDK was set to something else."""
        self.lane = lane
        self.backoff = Backoff()
        self._ended = threading.Event()
        #: The number of deliveries that succeeded.
        self.delivered = 0
        #: By failed delivery: how many had succeeded by then.
        self._failed: dict[str, int] = {}
        self._settings = settings
        self._elsewhere = elsewhere
        #: The lane for deliveries of another process, and the state of the SDK there.
        self._other: tuple[dict[str, Any], Lane] | None = None

    def lane_of(self, parcel: Parcel) -> Lane:
        """Return the lane for a delivery."""
        if self._other is not None and self._other[0] == parcel.sdk:
            return self._other[1]
        lane = self._elsewhere(parcel)
        if lane is None:
            return self.lane
        self._close_other(time.monotonic() + self._settings.deadline)
        self._other = parcel.sdk, lane
        return lane

    def open(self, lane: Lane) -> None:
        """Open a lane. Raises :class:`~tracelet.BackendError`."""
        began = time.monotonic()
        try:
            lane.open(self._settings.open_timeout)
        except TraceletError as error:
            self._note_trouble(error, began, lane)
            raise

    def ask(self, what: str, **arguments: Any) -> Any:
        """Open the backend's own lane, and make a small request on it."""
        self.open(self.lane)
        return self.lane.request(what, self._settings.deadline, **arguments)

    def deliver(
        self, sealed: SealedArtifact, parcel: Parcel, lane: Lane, *, again: bool, unhurried: bool = False
    ) -> Delivered:
        """Make a delivery on an open lane; an ``unhurried`` one ends only by a stall."""
        began, seconds = time.monotonic(), deadline_for(sealed.manifest.held_bytes, self._settings)
        limit = None if unhurried else seconds
        while True:
            try:
                answer: Delivered = lane.request(
                    "deliver", limit, sealed=sealed, labels=parcel.labels, run=parcel.run, again=again
                )
                break
            except TraceletError as raised:
                error = _of_the_line(raised, parcel.backend)
                if not self._waits_for(error, began + seconds):
                    if not self._is_its_own(parcel) or _asks_to_wait(error):
                        self._note_trouble(error, began, lane)
                    raise error from raised.__cause__
                again = True
        if lane is self.lane:
            self.backoff.note_success()
        self.delivered += 1
        self._failed.pop(parcel.key, None)
        return answer

    def _is_its_own(self, parcel: Parcel) -> bool:
        """Tell whether others were delivered since this one failed last. Then the fault is its own, and the backend is not away."""
        before = self._failed.get(parcel.key, self.delivered)
        self._failed[parcel.key] = self.delivered
        return before < self.delivered

    def _waits_for(self, error: TraceletError, until: float) -> bool:
        """Wait as long as a backend asks for, if that ends by ``until`` (monotonic); return whether it was waited for."""
        asked = _asks_to_wait(error)
        return 0.0 < asked < until - time.monotonic() and not self._ended.wait(asked)

    def kill(self) -> None:
        """Kill the processes of every lane, from any thread. The request under way fails at once."""
        self._ended.set()
        self.lane.kill()
        other = self._other
        if other is not None:
            other[1].kill()

    def close(self, until: float, *, failed: bool) -> None:
        """Close every lane by ``until`` (monotonic). Raises what the backend's own lane raises."""
        self._close_other(until)
        self.lane.close(max(0.0, until - time.monotonic()), failed=failed)

    def _close_other(self, until: float) -> None:
        other, self._other = self._other, None
        if other is not None:
            with contextlib.suppress(TraceletError):
                other[1].close(max(0.0, until - time.monotonic()), failed=False)

    def _note_trouble(self, error: TraceletError, began: float, lane: Lane) -> None:
        """Start the backoff after a failure on the backend's own lane; other lanes have other addresses."""
        if lane is self.lane:
            self.backoff.note_trouble(error, began)


def _of_the_line(error: TraceletError, backend: str) -> TraceletError:
    """Make damage in an answer an error that may pass: it may have come on the way, and the next answer may be whole."""
    if isinstance(error, (IntegrityError, UnsafePath)) and not isinstance(error, FileChanged):
        return BackendError(f"what {backend} answered cannot be read: {error}", backend=backend)
    return error


def _asks_to_wait(error: TraceletError) -> float:
    """Return for how many seconds a backend asks to be left alone."""
    return error.retry_after if isinstance(error, BackendError) else 0.0
