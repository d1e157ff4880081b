"""The snapshots of one capture: made, noted, weighed and removed."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from tracelet.core.capture.journal import Journal, Kept
from tracelet.core.capture.snapshots import Look, snapshot
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import make_folder
from tracelet.core.system.links import check_tree, check_way
from tracelet.exceptions import IntegrityError

__all__ = ["Item", "SnapshotPool"]

_LOG = logging.getLogger("tracelet.automagic")


@attrs.define(eq=False)
class Item:
    """A detection on its way."""

    detection: Detection
    #: Two detections of the same key are of the same thing.
    key: str
    #: Monotonic time before which it waits.
    due: float
    #: How the file looked when it was seen.
    look: Look | None = None
    #: Whether the rates were asked; otherwise they are if it turns out to be news.
    counted: bool = True
    number: int = -1
    #: The snapshot; there is none yet where the file was being written.
    kept: Path | None = None
    size_bytes: int = 0
    folder: bool = False

    @property
    def knowledge(self) -> int:
        """How much its detector knew of it."""
        seen = self.detection
        return (seen.name is not None) + (seen.type is not None) + bool(seen.aliases)


class SnapshotPool:
    """The snapshots, in a folder of their own, and how many bytes are on their way."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        lock: AbstractContextManager[object],
        room: Callable[[], float],
        waiting_bytes: Callable[[], int],
    ) -> None:
        """``room`` says how many bytes may be on their way at most, ``waiting_bytes`` what is in the outbox."""
        self.folder = folder
        self._journal = journal
        self._lock = lock
        self._room = room
        self._waiting_bytes = waiting_bytes
        self._numbers = itertools.count()
        self._ready = False
        #: Bytes of snapshots that are not submitted, and of what is submitted and not delivered.
        self._here = 0
        self._submitted = 0

    def take_up(self, waiting: Iterable[Kept]) -> Iterator[Item]:
        """Give what a dead process kept and did not submit."""
        self._ready = True
        # Without it no end is noted, and a later process does once more what changes nothing.
        with contextlib.suppress(OSError):
            self._journal.open()
        for one in waiting:
            item = Item(one.detection, one.key, 0.0, number=one.number)
            places = (self._place(one.number), self.named(item))
            item.kept = next((place for place in places if os.path.lexists(place)), None)
            if item.kept is not None and self._is_own(item.kept):
                yield item

    def _is_own(self, kept: Path) -> bool:
        try:
            check_tree(check_way(self.folder.parent, kept))
        except IntegrityError as error:
            _LOG.warning("what was captured is not delivered: %s", error)
            return False
        return True

    def _place(self, number: int) -> Path:
        """Where a snapshot is at first: making a folder for it would take longer than copying a small file."""
        return self.folder / str(number)

    def named(self, item: Item) -> Path:
        """Where it is under its own name, which helps to tell what it is."""
        assert item.detection.path is not None
        return self.folder / f"{item.number}.d" / item.detection.path.name

    def keep(self, item: Item, size_bytes: int) -> None:
        """Make a snapshot of what an item is of, and note it.

        Raises ``OSError`` where that cannot be done, :class:`~tracelet.core.system.files.FileChanged` where the file changes
        meanwhile, and :class:`~tracelet.core.capture.snapshots.Outdated` where it has changed since it was found complete.
        """
        assert item.detection.path is not None
        if not self._ready:
            with self._lock:
                self._prepare()
        item.number = next(self._numbers)
        kept = self._place(item.number)
        item.folder, item.size_bytes = item.detection.path.is_dir(), size_bytes
        self._weigh(here=size_bytes)
        try:
            snapshot(item.detection, kept)
            self._journal.kept(Kept(item.number, item.key, item.detection))
        except BaseException:
            self._weigh(here=-size_bytes)
            self.remove(item)
            raise
        item.kept = kept

    def _prepare(self) -> None:
        """Before the first snapshot: of two threads that come at once, one does it, and the other one waits."""
        if not self._ready:
            make_folder(self.folder)
            self._journal.open()
            self._ready = True

    def remove(self, item: Item) -> None:
        """Delete a snapshot."""
        place = self._place(item.number)
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        shutil.rmtree(self.named(item).parent, ignore_errors=True)

    def forget(self, item: Item) -> None:
        """Delete a snapshot that is not to be submitted."""
        if item.kept is not None:
            item.kept = None
            self.remove(item)
            self._journal.done(item.number)
            self._weigh(here=-item.size_bytes)

    # -- how much there is

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether so many bytes more may be on their way."""
        allowed = self._room()
        if self._here + self._submitted + size_bytes <= allowed:
            return True
        self._submitted = self._waiting_bytes()
        return self._here + self._submitted + size_bytes <= allowed

    def submitted(self, item: Item) -> None:
        """Say that a snapshot is in the outbox now."""
        item.kept = None
        self.remove(item)
        self._weigh(here=-item.size_bytes)

    def weigh(self, size_bytes: int) -> None:
        """Count bytes that are in the outbox; or, where negative, are no more."""
        self._weigh(submitted=size_bytes)

    def _weigh(self, here: int = 0, submitted: int = 0) -> None:
        with self._lock:
            self._here += here
            self._submitted += submitted

    def close(self, *, finished: bool) -> None:
        """Take no more; where all is ``finished``, nothing is left."""
        self._journal.close(finished=finished)
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
