"""The detections that wait between the user's threads, which add them, and capture's own, which takes them."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.dedup import places_of
from tracelet.core.capture.item import Item
from tracelet.core.capture.report import CaptureReport
from tracelet.core.capture.shard_names import shard_of
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import Look, same_look
from tracelet.core.system.files import Stamp, stamp

__all__ = ["CaptureQueue"]

_MINUTE = 60.0
_MODELS = (ArtifactType.MODEL, ArtifactType.WEIGHTS)


class CaptureQueue:
    """Items that wait until they are due, and the one that is being processed.

    An answer takes as long however many other things wait.
    """

    def __init__(
        self, pool: SnapshotPool, report: CaptureReport, waiting: Iterable[Item] = (), *, latest_wins: bool
    ) -> None:
        """Start with ``waiting``. With ``latest_wins`` a newer snapshot takes the place of an older one of the same thing."""
        self._pool = pool
        self._report = report
        self._latest_wins = latest_wins
        self._wake = threading.Condition()
        #: In the order in which they came, each with its real path.
        self._items: OrderedDict[Item, str] = OrderedDict()
        #: By real path.
        self._at: dict[str, list[Item]] = {}
        #: By real path: when that was seen of which there was a snapshot last.
        self._kept: dict[str, float] = {}
        #: The real paths of folders of which there was one.
        self._folders: set[str] = set()
        #: By the real path of a folder that a model was saved to: how the files looked that it had then.
        self._models: dict[str, Mapping[str, Stamp]] = {}
        self._busy: Item | None = None
        #: By how they look.
        self._looks: dict[Look, list[Item]] = {}
        #: Those that wait for a name.
        self._followed: dict[Item, None] = {}
        #: Whether no more items come; then a snapshot waits for nothing.
        self.ending = False
        self._over = False
        for item in waiting:
            self._index(item)

    def __len__(self) -> int:
        return len(self._items) + (self._busy is not None)

    def add(self, item: Item) -> None:
        """Let an item wait."""
        with self._wake:
            # Shards that wait for others are no version yet: what is put together of them is.
            if item.kept is not None and self._latest_wins and (item.folder or shard_of(Path(item.key).name) is None):
                self._supersede(item)
            self._call_the_same(item)
            self._index(item)
            self._wake.notify_all()

    def _index(self, item: Item) -> None:
        place = places_of(item.key)[0]
        self._items[item] = place
        self._at.setdefault(place, []).append(item)
        if item.look is not None:
            self._looks.setdefault(item.look, []).append(item)
        if item.following is not None:
            self._followed[item] = None
        if item.kept is not None:
            self._kept[place] = max(item.seen, self._kept.get(place, item.seen))
            if item.folder and not item.detection.beside:
                self._folders.add(place)
                # Who watches a folder says which files it found; who saves it does not.
                if item.detection.type in _MODELS and not item.detection.stamps and item.stamps:
                    self._models[place] = item.stamps

    def _take(self, item: Item) -> None:
        self._leave(self._items.pop(item), item)

    def _leave(self, place: str, item: Item) -> None:
        self._at[place].remove(item)
        if not self._at[place]:
            del self._at[place]
        if item.look is not None:
            self._looks[item.look].remove(item)
            if not self._looks[item.look]:
                del self._looks[item.look]
        self._followed.pop(item, None)

    def _call(self, item: Item, place: Path | None) -> None:
        """Give a name to an item that waits, where it is; it is found under that name from now on."""
        self._leave(self._items[item], item)
        item.call(place)
        self._index(item)

    def _like(self, item: Item) -> list[Item]:
        """Return the snapshots that wait and are of the same thing."""
        return [one for one in self._at.get(places_of(item.key)[0], ()) if one.key == item.key and one.kept is not None]

    def _supersede(self, item: Item) -> None:
        """Drop the older snapshots of the same thing. One that looks the same may be of the same save, seen by another detector."""
        for old in self._like(item):
            if item.look is None or old.look != item.look:
                self._take(old)
                old.call(None)
                self._pool.forget(old)
                self._report.drop("superseded", old.detection.path, "a newer version of it waits")

    def _call_the_same(self, item: Item) -> None:
        """Have one that waits for a name, and one that looks the same and has a name, called the same."""
        if item.look is None:
            return
        for other in list(self._looks.get(item.look, ())):
            if item.following is not None and other.following is None:
                item.call(other.detection.place or other.detection.path)
            elif item.following is None and other.following is not None:
                self._call(other, item.detection.place or item.detection.path)
                self._call_earlier(other)

    def call_earlier(self, item: Item) -> bool:
        """Give an item's name to earlier saves that waited for it; tell whether any wait: as its earlier versions they come first.

        So does the same save, as another detector saw it that may know more.
        """
        with self._wake:
            return self._call_earlier(item)

    def asks_earlier(self, item: Item) -> bool:
        """Tell whether an earlier save waits for a name."""
        with self._wake:
            return any(one.number < item.number for one in self._followed)

    def _call_earlier(self, item: Item) -> bool:
        place = item.detection.place
        earlier = [one for one in self._followed if one.number < item.number or (item.look and one.look == item.look)]
        same = [one for one in earlier if one.following is not None and one.following.name() == place]
        for one in same:
            self._call(one, place)
        return any(one.number < item.number or one in same for one in self._like(item))

    def next(self) -> Item | None:
        """Wait for an item that is due, and return it; None when all is over. The one before is done by then."""
        with self._wake:
            self._busy = None
            self._wake.notify_all()
            while True:
                now = time.monotonic()
                item = None if self._over else self._ready(now)
                if item is not None:
                    self._take(item)
                    self._busy = item
                    return item
                if self._over or (self.ending and not self._items):
                    return None
                self._wake.wait(min((item.due for item in self._items), default=now + _MINUTE) - now)

    def _ready(self, now: float) -> Item | None:
        """Return an item that is due.

        Of snapshots of the same thing, the oldest comes first, though it may have come back from being asked for its
        name. Of those that saw the same, it is the one whose detector knew most.
        """
        named = (one for one in self._items if one not in self._followed and self._is_due(one, now))
        asked = (one for one in self._followed if self._is_due(one, now))
        candidates = [next(named, None), min(asked, key=lambda one: one.number, default=None)]
        first = min((one for one in candidates if one is not None), key=lambda one: one.number, default=None)
        if first is None or first.kept is None:
            return first
        like = [one for one in self._like(first) if self._is_due(one, now)]
        oldest = min(like, key=lambda one: one.number, default=first)
        same = [one for one in like if one.look == oldest.look and one.look is not None]
        return max(same, key=lambda one: one.knowledge, default=oldest)

    def _is_due(self, item: Item, now: float) -> bool:
        return item.due <= now or (self.ending and item.kept is not None)

    def folders_around(self, item: Item) -> list[Item]:
        """Return the snapshots of folders that an item is in, or is, and that come before it."""
        with self._wake:
            found = [one for one in self._around(item) if one.folder and one.kept is not None]
            busy = self._busy
            if busy is not None and busy.folder and places_of(busy.key)[0] in places_of(item.key):
                found.append(busy)
            return found

    def kept_since(self, item: Item) -> bool:
        """Tell whether there was a snapshot of the same thing, or of a folder that it is in, after it was seen."""
        with self._wake:
            return any(self._kept.get(place, -1.0) >= item.seen for place in places_of(item.key))

    def had_folder_in(self, folder: Path) -> bool:
        """Tell whether there was a snapshot of a folder in a folder, or of the model that was saved to it and is as it was."""
        place = os.path.realpath(folder)
        with self._wake:
            if any(one.startswith(place + os.sep) for one in self._folders):
                return True
            looks = self._models.get(place)
        return looks is not None and all(_looks_like(Path(file), look) for file, look in looks.items())

    def has_snapshot_of(self, item: Item) -> bool:
        """Tell whether a snapshot of the same thing, or of a folder that it is in, waits: its detector knows more."""
        with self._wake:
            return any(one.kept is not None for one in self._around(item))

    def beside(self, item: Item) -> list[Item]:
        """Return what waits and is in the same folder."""
        folder = item.key.rpartition(os.sep)[0]
        with self._wake:
            return [one for one in self._items if one.key.rpartition(os.sep)[0] == folder]

    def take_out(self, items: Iterable[Item]) -> None:
        """Let those of these that wait do so no more."""
        with self._wake:
            for item in items:
                if item in self._items:
                    self._take(item)

    def has_folder_with(self, items: Sequence[Item]) -> bool:
        """Tell whether a snapshot of a folder, or of a group of files, waits that has all these as they are."""
        looks = {place: look for item in items for place, look in item.stamps.items()}
        if not looks:
            return False
        with self._wake:
            folders = [one for one in self._items if one.folder and one.kept is not None]
        return any(
            all(place in one.stamps and same_look(one.stamps[place], look) for place, look in looks.items())
            for one in folders
        )

    def _around(self, item: Item) -> Iterator[Item]:
        """Yield what waits and is of the same thing, or of a folder that it is in."""
        for place in places_of(item.key):
            yield from self._at.get(place, ())

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
        with self._wake:
            for item in self._items:
                item.call(None)


def _looks_like(file: Path, look: Stamp) -> bool:
    try:
        return same_look(stamp(file.stat()), look)
    except OSError:
        return False
