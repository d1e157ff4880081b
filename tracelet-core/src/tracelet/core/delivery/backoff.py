"""When a backend that failed is tried again."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator

from tracelet.exceptions import BackendAuthError, BackendUnavailable, TraceletError

__all__ = ["Backoff"]

#: A backend that is away may cost the user's program a tenth of its time at most: after an attempt
#: that failed, this many times its duration passes before the next one.
_BACKOFF = 10.0
_LONGEST_BACKOFF = 300.0
#: As long as a backend may ask to be left alone.
_LONGEST_ASKED = 86400.0
#: Seconds between attempts that nobody waits for.
_SHORTEST_RETRY = 1.0


class Backoff:
    """How long one backend, and each delivery that it did not take, is left alone."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._hurried_at = 0.0
        self._trouble: TraceletError | None = None
        #: By delivery: when it is tried again; and the same in the order of time, with some that are outdated.
        self._later: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []

    @property
    def reason(self) -> str:
        """What went wrong last, or empty."""
        return "" if self._trouble is None else str(self._trouble)

    @property
    def rests(self) -> bool:
        """Whether the backend is left alone now."""
        return time.monotonic() < self._retry_at

    def rests_for(self, key: str) -> bool:
        """Whether this delivery is left alone now."""
        return self._later.get(key, 0.0) > time.monotonic()

    def rested(self) -> Iterator[str]:
        """Yield, once each, the deliveries that were left alone for long enough."""
        while self._times and self._times[0][0] <= time.monotonic():
            when, key = heapq.heappop(self._times)
            if self._later.get(key) == when:
                del self._later[key]
                yield key

    def hurry(self) -> None:
        """Try all at once; what attempts from before this find out does not count."""
        self._hurried_at = time.monotonic()
        self._retry_at = 0.0
        self._later.clear()
        self._times.clear()

    def check(self, backend: str) -> None:
        """Raise where the backend failed and is left alone."""
        if not self.rests or self._trouble is None:
            return
        left = max(0.0, self._retry_at - time.monotonic())
        kind = BackendAuthError if isinstance(self._trouble, BackendAuthError) else BackendUnavailable
        said = f"{backend} is away, and is asked again in {left:.0f} s ({self._trouble})"
        raise kind(said, backend=backend) from self._trouble

    def note_trouble(self, error: TraceletError, began: float) -> None:
        """Leave the backend alone for a while, after an attempt that began then."""
        if isinstance(error, (BackendUnavailable, BackendAuthError)) and began >= self._hurried_at:
            took = time.monotonic() - began
            self._trouble = error
            pause = min(_LONGEST_BACKOFF, max(_BACKOFF * took, 0.05))
            self._retry_at = time.monotonic() + max(pause, min(error.retry_after, _LONGEST_ASKED))

    def note_success(self) -> None:
        """The backend is there."""
        self._retry_at, self._trouble = 0.0, None

    def postpone(self, key: str, attempts: int, began: float) -> None:
        """Leave a delivery alone for longer after each of its attempts, the last of which began then."""
        if began >= self._hurried_at:
            self._leave(key, min(_LONGEST_BACKOFF, 2.0 ** min(attempts, 9)))

    def postpone_shortly(self, key: str) -> None:
        """Leave a delivery alone that another process is on."""
        self._leave(key, _SHORTEST_RETRY)

    def _leave(self, key: str, seconds: float) -> None:
        self._later[key] = time.monotonic() + seconds
        heapq.heappush(self._times, (self._later[key], key))

    def forget(self, key: str) -> None:
        """A delivery is made."""
        self._later.pop(key, None)

    def pause(self, *, watching: bool) -> float | None:
        """Return the seconds until the next attempt, None where none is to come.

        ``watching`` says that something is waited for that another process may make, and tells nobody.
        """
        times = [*(when for when, _ in self._times[:1]), *([self._retry_at] if self._retry_at else [])]
        ahead = [when - time.monotonic() for when in times] + ([_SHORTEST_RETRY] if watching else [])
        return max(0.05, min((left for left in ahead if left > 0), default=0.05)) if ahead else None
