"""The thread that finishes drafts in the background."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from tracelet.core.delivery.layout import drafted_name
from tracelet.exceptions import TraceletError

__all__ = ["Sealer"]

_LOG = logging.getLogger("tracelet.delivery")

#: By folder of drafts: a sealer that is closed, and still has a draft in hand.
_CLOSED: weakref.WeakValueDictionary[Path, Sealer] = weakref.WeakValueDictionary()


class Sealer:
    """Finishes drafts, in order, on a thread of its own."""

    def __init__(self, finish: Callable[[Path], None]) -> None:
        self._finish = finish
        self._wake = threading.Condition()
        self._drafts: deque[Path] = deque()
        #: By name of artifact: how many drafts are to be finished, with the one in hand.
        self._names: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._in_hand: Path | None = None
        self._closing = False

    def add(self, draft: Path) -> None:
        """Finish this draft, when its turn comes."""
        with self._wake:
            self._drafts.append(draft)
            self._names[drafted_name(draft)] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracelet-sealer", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def close(self) -> None:
        """Start no more drafts. The one in hand is finished."""
        with self._wake:
            self._closing = True
            self._drafts.clear()
            if self._in_hand is not None:
                _CLOSED[self._in_hand.parent] = self
            self._names = Counter() if self._in_hand is None else Counter([drafted_name(self._in_hand)])
            self._wake.notify_all()

    def settle(self, until: float, name: str | None = None) -> bool:
        """Wait until no draft, or none of a name, is left; return False where ``until`` (monotonic) comes first."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting(name), max(0.0, until - time.monotonic()))

    def _waiting(self, name: str | None) -> int:
        return len(self._drafts) + (self._in_hand is not None) if name is None else self._names[name]

    def _follow(self, before: Sealer | None) -> None:
        """Wait for the draft that a closed sealer still has in hand: it is older."""
        if before is not None and before is not self and before._thread is not None:
            before._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                if self._in_hand is not None:
                    self._names[drafted_name(self._in_hand)] -= 1
                    self._in_hand = None
                self._wake.notify_all()
                while not self._drafts and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                self._in_hand = draft = self._drafts.popleft()
            self._follow(_CLOSED.get(draft.parent))
            try:
                self._finish(draft)
            except (TraceletError, OSError) as error:
                _LOG.warning("%s stays in the outbox unfinished: %s", draft.name, error)
