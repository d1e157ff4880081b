"""The snapshots of one capture: made, noted in the journal, weighed and removed."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tracelet.core.capture.item import Item, key_of
from tracelet.core.capture.journal import Journal, Kept
from tracelet.core.capture.report import CaptureReport
from tracelet.core.capture.snapshots import Outdated, keep_file, size_of, snapshot
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import FileChanged, make_folder
from tracelet.core.system.links import check_tree, check_way
from tracelet.exceptions import IntegrityError

__all__ = ["SnapshotPool"]

_LOG = logging.getLogger("tracelet.automagic")


class SnapshotPool:
    """The snapshots of one capture, in a folder of their own, and the count of bytes that wait to be delivered."""

    def __init__(
        self,
        directory: Path,
        folder: Path,
        journal: Journal,
        disk_share: float,
        waiting_bytes: Callable[[], int],
        report: CaptureReport,
    ) -> None:
        """``folder`` is the pool's own, in the tracelet ``directory``; ``waiting_bytes`` returns how many are in the outbox."""
        self._directory = directory
        self.folder = folder
        self._journal = journal
        self._lock = threading.Lock()
        #: The share of the free disk that may wait.
        self._disk_share = disk_share
        self._waiting_bytes = waiting_bytes
        self._report = report
        self._numbers = itertools.count()
        self._ready = False
        #: Bytes of snapshots that are not submitted, and of what is submitted and not delivered.
        self._here = 0
        self._submitted = 0

    def take_up(self, waiting: Iterable[Kept], free_number: int) -> Iterator[Item]:
        """Yield the snapshots that a dead process did not submit; what is made of them has numbers from ``free_number`` on."""
        self._ready = True
        self._numbers = itertools.count(free_number)
        # Without the journal no end is noted. A later process submits them once more, which changes nothing.
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
        """Return the first path of a snapshot. Making a folder for it would take longer than copying a small file."""
        return self.folder / str(number)

    def named(self, item: Item) -> Path:
        """Return the path of a snapshot under the file's own name, which helps to tell the type."""
        assert item.detection.path is not None
        return self.folder / f"{item.number}.d" / item.detection.path.name

    def keep(self, item: Item) -> bool:
        """Make the snapshot of an item, and note it; return False where there is to be none.

        Where the file changes meanwhile, there is no snapshot yet, and the item is to be looked at again. Raises
        ``OSError`` where the file cannot be read, or the snapshot cannot be written.
        """
        assert item.detection.path is not None
        size = sum(map(size_of, (item.detection.path, *item.detection.beside)))
        if not self.has_room(size, item.detection.path):
            return False
        try:
            self._make(item, size)
        except (FileChanged, Outdated):
            if item.detection.stamp is not None or item.detection.stamps:
                why = "it is written again, and what comes of that is told anew"
                self._report.drop("outdated", item.detection.path, why)
                return False
            item.postpone()
        return True

    def _make(self, item: Item, size_bytes: int) -> None:
        assert item.detection.path is not None
        if not self._ready:
            with self._lock:
                self._prepare()
        item.number = next(self._numbers)
        kept = self._place(item.number)
        item.folder = bool(item.detection.beside) or item.detection.path.is_dir()
        item.size_bytes = size_bytes
        self._weigh(here=size_bytes)
        try:
            item.stamps = snapshot(item.detection, kept)
            self._journal.kept(Kept(item.number, item.key, item.detection))
        except BaseException:
            self._weigh(here=-size_bytes)
            self._remove(item)
            raise
        item.kept = kept

    def join(self, detection: Detection, parts: Sequence[Item]) -> Item:
        """Return one item of the snapshots of several, which stay, and of what else its detection has beside its file.

        Raises ``OSError`` where it cannot be written.
        """
        item = Item(detection, key_of(detection), time.monotonic(), number=next(self._numbers), folder=True)
        kept = self._place(item.number)
        make_folder(kept)
        snapshots = {Path(one.key): one.kept for one in parts}
        assert detection.path is not None
        try:
            for file in (detection.path, *detection.beside):
                source = snapshots.get(file)
                keep_file(source or file, kept / file.name, linked=source is not None)
            item.size_bytes = size_of(kept)
            self._journal.kept(Kept(item.number, item.key, item.detection))
        except BaseException:
            self._remove(item)
            raise
        self._weigh(here=item.size_bytes)
        item.stamps = {place: look for one in parts for place, look in one.stamps.items()}
        item.kept = kept
        return item

    def _prepare(self) -> None:
        """Make the folder and open the journal, before the first snapshot. The caller holds the lock."""
        if not self._ready:
            make_folder(self.folder)
            self._journal.open()
            self._ready = True

    def _remove(self, item: Item) -> None:
        """Delete a snapshot."""
        place = self._place(item.number)
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        shutil.rmtree(self.named(item).parent, ignore_errors=True)

    def forget(self, item: Item) -> None:
        """Delete a snapshot that is not submitted, and note that in the journal."""
        if item.kept is not None:
            item.kept = None
            self._remove(item)
            self._journal.done(item.number)
            self._weigh(here=-item.size_bytes)

    # -- bytes that wait

    def has_room(self, size_bytes: int, what: object = "what a detector wants to make") -> bool:
        """Tell whether so many bytes more may wait. Where they may not, ``what`` they are of is counted as left out."""
        allowed = self._disk_share * shutil.disk_usage(self._directory).free
        if self._here + self._submitted + size_bytes > allowed:
            # Other processes may have delivered some of it.
            self._submitted = self._waiting_bytes()
        if self._here + self._submitted + size_bytes <= allowed:
            return True
        self._report.drop("over_cap", what, "what waits to be delivered would take too much of the disk")
        self._report.warn_once(
            "cap",
            "captured bytes that wait to be delivered would take more than capture_disk_share=%g of the free disk: "
            "what follows is not captured until there is room.",
            self._disk_share,
        )
        return False

    def submitted(self, item: Item) -> None:
        """Delete a snapshot that is in the outbox by now."""
        item.kept = None
        self._remove(item)
        self._weigh(here=-item.size_bytes)

    def weigh(self, size_bytes: int) -> None:
        """Count bytes that are in the outbox. A negative number takes them off the count."""
        self._weigh(submitted=size_bytes)

    def _weigh(self, here: int = 0, submitted: int = 0) -> None:
        with self._lock:
            self._here += here
            self._submitted += submitted

    def close(self, *, finished: bool) -> None:
        """Close the journal. Where all is ``finished``, delete the folder too."""
        self._journal.close(finished=finished)
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
