"""What the settings leave out of capture: by patterns, and by rates."""

from __future__ import annotations

import fnmatch
import os
import time
from collections import deque
from pathlib import Path

from tracelet.settings import TraceletSettings

__all__ = ["CaptureFilters"]

_MINUTE = 60.0


class CaptureFilters:
    """The patterns and the rates of the settings. Without them everything is captured at once."""

    def __init__(self, settings: TraceletSettings) -> None:
        self._settings = settings
        self._times: dict[str, float] = {}
        self._recent: deque[float] = deque()
        #: By key: when the version that waits is captured.
        self._slots: dict[str, float] = {}

    def wanted(self, path: Path) -> bool:
        """Tell whether the patterns let a path be captured. They match the relative path or the name."""
        include, exclude = self._settings.capture_include, self._settings.capture_exclude
        if not include and not exclude:
            return True
        shown = Path(os.path.relpath(path)).as_posix()

        def fits(patterns: list[str]) -> bool:
            return any(fnmatch.fnmatch(text, pattern) for text in (shown, path.name) for pattern in patterns)

        return (not include or fits(include)) and not fits(exclude)

    @property
    def rates(self) -> bool:
        """Whether there are any rates."""
        return bool(self._settings.capture_min_interval or self._settings.capture_max_per_minute)

    def due(self, key: str, *, waits: bool = True) -> float | None:
        """Return when (monotonic) the rates let this path be captured, and count it as captured; None means never.

        With ``capture_latest_wins`` the time may be in the future, if it ``waits``. Until then each newer version of the path
        takes the place of the one before, and is not counted again.
        """
        now = due = time.monotonic()
        if self._slots.get(key, now) > now:
            return self._slots[key] if waits else None
        if (interval := self._settings.capture_min_interval) and key in self._times:
            due = max(due, self._times[key] + interval)
        if limit := self._settings.capture_max_per_minute:
            while self._recent and self._recent[0] < now - _MINUTE:
                self._recent.popleft()
            if len(self._recent) >= limit:
                due = max(due, self._recent[-limit] + _MINUTE)
        if due > now and not (waits and self._settings.capture_latest_wins):
            return None
        if interval:
            self._times[key] = due
        if limit:
            self._recent.append(due)
        if due > now:
            self._slots[key] = due
        return due
