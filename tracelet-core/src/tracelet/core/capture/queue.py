"""The detections that wait between the user's threads, which add them, and capture's own, which takes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from tracelet.core.capture.dedup import covers
from tracelet.core.capture.item import Item
from tracelet.core.capture.report import CaptureReport
from tracelet.core.capture.snapshot_pool import SnapshotPool

__all__ = ["CaptureQueue"]

_MINUTE = 60.0


class CaptureQueue:
    """Items that wait until they are due, and the one that is being processed."""

    def __init__(
        self, pool: SnapshotPool, report: CaptureReport, waiting: Iterable[Item] = (), *, latest_wins: bool
    ) -> None:
        """Start with ``waiting``. With ``latest_wins`` a newer snapshot takes the place of an older one of the same thing."""
        self._pool = pool
        self._report = report
        self._latest_wins = latest_wins
        self._wake = threading.Condition()
        self._items = list(waiting)
        self._busy: Item | None = None
        #: Whether no more items come; then a snapshot waits for nothing.
        self.ending = False
        self._over = False

    def __len__(self) -> int:
        return len(self._items) + (self._busy is not None)

    def add(self, item: Item) -> None:
        """Let an item wait."""
        with self._wake:
            if item.kept is not None and self._latest_wins:
                self._supersede(item)
            self._items.append(item)
            self._wake.notify_all()

    def _supersede(self, item: Item) -> None:
        """Drop the older snapshots of the same thing. One that looks the same may be of the same save, seen by another detector."""
        for old in [one for one in self._items if one.key == item.key and one.kept is not None]:
            if item.look is None or old.look != item.look:
                self._items.remove(old)
                self._pool.forget(old)
                self._report.drop("superseded", old.detection.path, "a newer version of it waits")

    def next(self) -> Item | None:
        """Wait for an item that is due, and return it; None when all is over. The one before is done by then."""
        with self._wake:
            self._busy = None
            self._wake.notify_all()
            while True:
                now = time.monotonic()
                item = None if self._over else self._ready(now)
                if item is not None:
                    self._items.remove(item)
                    self._busy = item
                    return item
                if self._over or (self.ending and not self._items):
                    return None
                self._wake.wait(min((item.due for item in self._items), default=now + _MINUTE) - now)

    def _ready(self, now: float) -> Item | None:
        """Return an item that is due. Of those that saw the same, the one whose detector knew most comes first."""
        ready = [one for one in self._items if one.due <= now or (self.ending and one.kept is not None)]
        if not ready:
            return None
        same = [one for one in ready if one.key == ready[0].key and one.look == ready[0].look and one.kept is not None]
        return max(same, key=lambda one: one.knowledge) if ready[0].look is not None and same else ready[0]

    def folder_waits(self, item: Item) -> bool:
        """Tell whether a folder that an item is in was emitted before it, and comes first."""
        folders = [one.key for one in [*self._items, *([self._busy] if self._busy else ())] if one.folder]
        return bool(folders) and covers(folders, item.key)

    def has_snapshot_of(self, item: Item) -> bool:
        """Tell whether a snapshot of the same thing, or of a folder that it is in, waits: its detector knows more."""
        with self._wake:
            keys = [one.key for one in self._items if one.kept is not None]
        return covers(keys, item.key)

    def settle(self, until: float) -> bool:
        """Wait until nothing waits, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(
                lambda: not self._items and self._busy is None, max(0.0, until - time.monotonic())
            )

    def end(self) -> None:
        """Say that no more items come."""
        with self._wake:
            self.ending = True
            self._wake.notify_all()

    def close(self) -> None:
        """Give out no more items."""
        self._over = True
