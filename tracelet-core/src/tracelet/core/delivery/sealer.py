"""Finishing drafts behind the caller's back."""

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

#: By their folder: who still has a draft in hand that is closed already.
_CLOSED: weakref.WeakValueDictionary[Path, Sealer] = weakref.WeakValueDictionary()


class Sealer:
    """Finishes drafts, in order, on a thread of its own."""

    def __init__(self, finish: Callable[[Path], None]) -> None:
        self._finish = finish
        self._wake = threading.Condition()
        self._drafts: deque[Path] = deque()
        #: By artifact's name: how many it is still to finish, the one in hand included.
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
        """Begin nothing more. The one in hand is finished all the same."""
        with self._wake:
            self._closing = True
            self._drafts.clear()
            if self._in_hand is not None:
                _CLOSED[self._in_hand.parent] = self
            self._names = Counter() if self._in_hand is None else Counter([drafted_name(self._in_hand)])
            self._wake.notify_all()

    def settle(self, until: float, name: str | None = None) -> bool:
        """Wait until no draft, or none of a name, is under way, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting(name), max(0.0, until - time.monotonic()))

    def _waiting(self, name: str | None) -> int:
        return len(self._drafts) + (self._in_hand is not None) if name is None else self._names[name]

    def _follow(self, before: Sealer | None) -> None:
        """Wait for what another one, which is closed, still has in hand: that is older."""
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
