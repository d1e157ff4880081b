"""Finishing drafts behind the caller's back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tracelet.exceptions import TraceletError

__all__ = ["Sealer"]

_LOG = logging.getLogger("tracelet.delivery")


class Sealer:
    """Finishes drafts, in order, on a thread of its own."""

    def __init__(self, finish: Callable[[Path], None]) -> None:
        self._finish = finish
        self._wake = threading.Condition()
        self._drafts: deque[Path] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closing = False

    def add(self, draft: Path) -> None:
        """Finish this draft, when its turn comes."""
        with self._wake:
            self._drafts.append(draft)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracelet-sealer", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def close(self) -> list[Path]:
        """Begin nothing more; return the drafts that were not begun."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            return list(self._drafts)

    def settle(self, until: float) -> bool:
        """Wait until no draft is under way, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._drafts and not self._busy, max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not self._drafts and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                draft = self._drafts.popleft()
                self._busy = True
            try:
                self._finish(draft)
            except (TraceletError, OSError) as error:
                _LOG.warning("%s stays in the outbox unfinished: %s", draft.name, error)
