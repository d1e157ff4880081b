"""When a backend that failed is tried again."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator

from tracelet.exceptions import BackendAuthError, BackendUnavailable, TraceletError

__all__ = ["Backoff"]

#: After a failed attempt, this many times its duration passes before the next one: a backend that is away costs the
#: user's program a tenth of its time at most.
_BACKOFF = 10.0
_LONGEST_BACKOFF = 300.0
#: The longest time in seconds that a backend may ask to be left alone.
_LONGEST_ASKED = 86400.0
#: Seconds until a delivery is tried again that another process was on, and between two looks for what it may deliver.
_SHORTEST_RETRY = 1.0


class Backoff:
    """How long one backend, and each delivery that it did not take, is left alone."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._hurried_at = 0.0
        self._trouble: TraceletError | None = None
        #: By delivery: when it is tried again. The heap has the same in order of time, with some entries that are outdated.
        self._later: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []

    @property
    def reason(self) -> str:
        """The last failure, or an empty string."""
        return "" if self._trouble is None else str(self._trouble)

    @property
    def rests(self) -> bool:
        """Whether the backend is left alone now."""
        return time.monotonic() < self._retry_at

    def rests_for(self, key: str) -> bool:
        """Whether this delivery is left alone now."""
        return self._later.get(key, 0.0) > time.monotonic()

    def rested(self) -> Iterator[str]:
        """Yield, once each, the deliveries whose time has come."""
        while self._times and self._times[0][0] <= time.monotonic():
            when, key = heapq.heappop(self._times)
            if self._later.get(key) == when:
                del self._later[key]
                yield key

    def hurry(self) -> None:
        """End every backoff. A failure of an attempt that began before this starts none."""
        self._hurried_at = time.monotonic()
        self._retry_at = 0.0
        self._later.clear()
        self._times.clear()

    def check(self, backend: str) -> None:
        """Raise while the backend is left alone."""
        if not self.rests or self._trouble is None:
            return
        left = max(0.0, self._retry_at - time.monotonic())
        kind = BackendAuthError if isinstance(self._trouble, BackendAuthError) else BackendUnavailable
        said = f"{backend} is away, and is asked again in {left:.0f} s ({self._trouble})"
        raise kind(said, backend=backend) from self._trouble

    def note_trouble(self, error: TraceletError, began: float) -> None:
        """Leave the backend alone for a while, after a failed attempt that began at ``began`` (monotonic)."""
        if isinstance(error, (BackendUnavailable, BackendAuthError)) and began >= self._hurried_at:
            took = time.monotonic() - began
            self._trouble = error
            pause = min(_LONGEST_BACKOFF, max(_BACKOFF * took, 0.05))
            self._retry_at = time.monotonic() + max(pause, min(error.retry_after, _LONGEST_ASKED))

    def note_success(self) -> None:
        """End the backoff of the backend."""
        self._retry_at, self._trouble = 0.0, None

    def postpone(self, key: str, attempts: int, began: float) -> None:
        """Leave a delivery alone, for longer after each failed attempt; the last one began at ``began`` (monotonic)."""
        if began >= self._hurried_at:
            self._leave(key, min(_LONGEST_BACKOFF, 2.0 ** min(attempts, 9)))

    def postpone_shortly(self, key: str) -> None:
        """Leave a delivery alone for a moment, because another process is on it."""
        self._leave(key, _SHORTEST_RETRY)

    def _leave(self, key: str, seconds: float) -> None:
        self._later[key] = time.monotonic() + seconds
        heapq.heappush(self._times, (self._later[key], key))

    def forget(self, key: str) -> None:
        """End the backoff of a delivery."""
        self._later.pop(key, None)

    def pause(self, *, watching: bool) -> float | None:
        """Return the seconds until the next attempt, or None where nothing waits for a time.

        While ``watching`` for what another process may deliver the pause is short, because that process tells nobody.
        """
        times = [*(when for when, _ in self._times[:1]), *([self._retry_at] if self._retry_at else [])]
        ahead = [when - time.monotonic() for when in times] + ([_SHORTEST_RETRY] if watching else [])
        return max(0.05, min((left for left in ahead if left > 0), default=0.05)) if ahead else None
