"""Making a request again where a backend is away for a moment, and giving up a name, or all, where it stays away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tracelet.exceptions import BackendError, BackendUnavailable, TraceletError

__all__ = ["HeldUp", "tried"]

T = TypeVar("T")

#: Seconds before a request is made again for the first time; each time after it is twice as long.
_FIRST_PAUSE = 0.5
#: Seconds after which it is looked whether all is over.
_GLANCE = 0.1
#: Versions in a row for which a backend was away, after which the others are not tried.
_MOST_MISSES = 3


def tried(call: Callable[[], T], seconds: float, is_over: Callable[[], bool] = lambda: False) -> T:
    """Make a request, again and again for so many seconds as long as the backend is away, and return its answer.

    A backend that says for how long it is to be left alone is left alone for as long, but not once ``is_over``.
    Raises what the last one raised.
    """
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except BackendUnavailable as error:
            wait = max(error.retry_after, pause)
            if time.monotonic() + wait > until:
                raise
            pause *= 2
            again = time.monotonic() + wait
            while (left := again - time.monotonic()) > 0 and not is_over():
                time.sleep(min(left, _GLANCE))
            if is_over():
                raise


class HeldUp:
    """What is not stored because something before it was not: versions of a name keep their order."""

    def __init__(self) -> None:
        self._by_name: dict[str, TraceletError] = {}
        self._misses = 0
        self._all: TraceletError | None = None
        self._is_over = False

    def end(self) -> None:
        """Have nothing tried again: all was interrupted."""
        self._is_over = True

    def is_over(self) -> bool:
        """Tell whether all was interrupted."""
        return self._is_over

    def reason(self, name: str) -> TraceletError | None:
        """Return why versions of a name have to wait; None where they need not."""
        error = self._all or self._by_name.get(name)
        if error is None:
            return None
        return BackendUnavailable(f"it waits behind what failed before it ({error}). Do it again when that is mended.")

    def note_success(self) -> None:
        """Note that a version was stored."""
        self._misses = 0

    def note(self, name: str, error: TraceletError) -> None:
        """Note what a version of a name failed with. What is refused for good holds nothing up."""
        if not isinstance(error, BackendError) or not error.retryable:
            return
        self._by_name.setdefault(name, error)
        self._misses += 1
        if self._misses == _MOST_MISSES:
            self._all = error
