"""From a snapshot in the queue to its submission, on capture's own thread: what it is, and whether it is news."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.dedup import CaptureDedup
from tracelet.core.capture.filters import CaptureFilters
from tracelet.core.capture.item import Item
from tracelet.core.capture.journal import Journal
from tracelet.core.capture.packed_names import stem_of
from tracelet.core.capture.queue import CaptureQueue
from tracelet.core.capture.renames import may_be_renamed
from tracelet.core.capture.report import TOO_FAST, CaptureReport
from tracelet.core.capture.shards import ShardSets
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import content_of, has_grown, look_of
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.capture.submitter import CaptureSubmitter
from tracelet.core.capture.temporary_names import final_name
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import make_folder
from tracelet.core.system.saves import being_saved

__all__ = ["CaptureProcessor"]


class CaptureProcessor:
    """Submits a snapshot that is news, and drops one that is not."""

    def __init__(
        self,
        filters: CaptureFilters,
        dedup: CaptureDedup,
        pool: SnapshotPool,
        queue: CaptureQueue,
        submitter: CaptureSubmitter,
        journal: Journal,
        report: CaptureReport,
    ) -> None:
        self._filters = filters
        self._dedup = dedup
        self._pool = pool
        self._queue = queue
        self._submitter = submitter
        self._journal = journal
        self._report = report
        self._shards = ShardSets(pool, queue)
        #: Whether the time for hashing is over: then every snapshot is submitted as it is.
        self.rush = False

    def process(self, item: Item) -> None:
        """Submit an item, drop it, or put it back into the queue."""
        if item.kept is None:
            item.catch_up()
            if not self._kept_late(item):
                return
        assert item.kept is not None
        if item.following is not None and self._waits_for_name(item):
            return
        if self._shards.knows(item):
            self._pool.forget(item)
            self._report.drop("unchanged", item.detection.path, "it was captured with the other shards of its set")
            return
        if self._shards.waits(item, ending=self.rush or self._queue.ending):
            return
        named = self._pool.named(item)
        if item.kept != named:
            make_folder(named.parent)
            item.kept = item.kept.rename(named)
        said = attrs.evolve(item.detection, type=item.detection.type or _type_of(item))
        inside = said.artifact_path or (said.place or item.kept).name
        content = () if self.rush else content_of(item.kept)
        if may_be_renamed(PurePosixPath(inside).name):
            said, inside, is_guess = _guessed(said, inside)
            if is_guess and content and self._dedup.knows(content):
                self._pool.forget(item)
                self._report.drop("unchanged", item.detection.path, "it was captured under another name")
                return
        found, news = self._dedup.news(item.key, item.look, said, inside, content, item.stamps)
        if self.rush:
            self._submitter.submit_snapshot(found.detection, found.inside, item)
            self._journal.done(item.number)
        elif news == "none":
            self._pool.forget(item)
            self._report.drop("unchanged", item.detection.path, "it was captured with this content")
        elif news == "alias" or self._in_time(item):
            self._submitter.submit_snapshot(found.detection, found.inside, item)
            key = self._dedup.note(item.key, item.look, found, item.stamps)
            self._journal.done(item.number, key, found)

    def _waits_for_name(self, item: Item) -> bool:
        """Call what was saved under a temporary name as it is called now; return True where that is not to be told yet."""
        assert item.following is not None
        name = item.following.name()
        ending = self.rush or self._queue.ending
        if name is None and not ending and not item.following.over:
            item.wait_for_name()
            self._queue.add(item)
            return True
        # The end may have come while this one was asked, and before those that were saved earlier.
        if name is None and ending and self._queue.asks_earlier(item):
            self._queue.add(item)
            return True
        item.call(name)
        if name is None or not self._queue.call_earlier(item):
            return False
        self._queue.add(item)
        return True

    def _in_time(self, item: Item) -> bool:
        """Ask the rates about news that looked like a thing that they had been asked about."""
        if item.counted or not self._filters.rates:
            return True
        item.counted, due = True, self._filters.due(item.key)
        if due is None:
            self._pool.forget(item)
            self._report.drop("throttled", item.detection.path, TOO_FAST)
            return False
        if due <= time.monotonic() or self._queue.ending:
            return True
        item.due = due
        self._queue.add(item)
        return False

    def _kept_late(self, item: Item) -> bool:
        """Make the snapshot of a file that was being written when it was emitted; return False where there is none now."""
        assert item.detection.path is not None
        busy = being_saved(item.detection.path)
        if not item.detection.path.exists() and (self.rush or not busy):
            item.call(None)
            if item.held or self._queue.kept_since(item):
                self._report.drop("unchanged", item.detection.path, "it was captured by who saved it")
            else:
                self._report.drop("vanished", item.detection.path, "it is not there any more")
            return False
        if not busy and not self._queue.has_snapshot_of(item):
            if has_grown(item.detection):
                item.call(None)
                why = "more files have come, and what comes of that is told anew"
                self._report.drop("outdated", item.detection.path, why)
                return False
            item.look = look_of(item.detection.path)
            if not self._pool.keep(item) or item.kept is not None:
                return item.kept is not None
        if self.rush:
            item.call(None)
            self._report.drop("unfinished", item.detection.path, "it was still being written at the end")
            return False
        item.postpone()
        self._queue.add(item)
        return False


def _guessed(said: Detection, inside: str) -> tuple[Detection, str, bool]:
    """Return how to call what kept a temporary name, and whether it may be known by its true one.

    The marks of what is temporary are taken off. Where nothing is left, it is named by its type: all that is saved so is
    versions of one name.
    """
    assert said.type is not None
    place = PurePosixPath(inside)
    guess = final_name(place.name)
    if guess is not None or said.name is not None:
        is_gone = said.name is None and not (said.place or said.path or Path(inside)).exists()
        return said, str(place.with_name(guess or place.name)), is_gone
    return attrs.evolve(said, name=said.type.value), said.type.value + place.name[len(stem_of(place.name)) :], True


def _type_of(item: Item) -> ArtifactType:
    assert item.kept is not None
    return tell_type(item.kept / item.kept.name if item.detection.beside else item.kept)
