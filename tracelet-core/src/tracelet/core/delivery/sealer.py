"""Finishing drafts behind the caller's back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tracelet.core.outbox import drafted_name
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
        self._in_hand: Path | None = None
        self._closing = False

    def add(self, draft: Path) -> None:
        """Finish this draft, when its turn comes."""
        with self._wake:
            self._drafts.append(draft)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracelet-sealer", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def waiting(self, name: str | None = None) -> list[Path]:
        """Return the drafts that it is still to finish, of one artifact's name if given; the one in hand is the first."""
        in_hand = self._in_hand
        drafts = [*([in_hand] if in_hand is not None else []), *list(self._drafts)]
        return [path for path in drafts if name is None or drafted_name(path) == name]

    def close(self) -> list[Path]:
        """Begin nothing more; return the drafts that were not begun. The one in hand is finished all the same."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            drafts = list(self._drafts)
            self._drafts.clear()
            return drafts

    def settle(self, until: float, name: str | None = None) -> bool:
        """Wait until no draft, or none of a name, is under way, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(lambda: not self.waiting(name), max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._wake:
                self._in_hand = None
                self._wake.notify_all()
                while not self._drafts and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                self._in_hand = draft = self._drafts.popleft()
            try:
                self._finish(draft)
            except (TraceletError, OSError) as error:
                _LOG.warning("%s stays in the outbox unfinished: %s", draft.name, error)
