"""From a detection to a snapshot in the queue, on the user's threads: it is to take little time."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import attrs

from tracelet.core.artifacts.plain_values import plain_metadata
from tracelet.core.capture.dedup import CaptureDedup
from tracelet.core.capture.filters import CaptureFilters
from tracelet.core.capture.item import Item, key_of
from tracelet.core.capture.queue import CaptureQueue
from tracelet.core.capture.renames import follow
from tracelet.core.capture.report import TOO_FAST, CaptureReport
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import Look, look_of, same_look, weight_of
from tracelet.core.capture.submitter import CaptureSubmitter
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.saves import being_saved
from tracelet.exceptions import ArtifactError

__all__ = ["CaptureIntake"]

_LOG = logging.getLogger("tracelet.automagic")


class CaptureIntake:
    """Asks the patterns and the rates about each detection, and makes its snapshot."""

    def __init__(
        self,
        filters: CaptureFilters,
        dedup: CaptureDedup,
        pool: SnapshotPool,
        queue: CaptureQueue,
        submitter: CaptureSubmitter,
        report: CaptureReport,
    ) -> None:
        self._filters = filters
        self._dedup = dedup
        self._pool = pool
        self._queue = queue
        self._submitter = submitter
        self._report = report
        #: By key: how it looked when the rates were asked last, and when they let it be captured.
        self._asked: dict[str, tuple[Look | None, float | None]] = {}

    def take(self, detection: Detection) -> None:
        """Keep what a detector saw, unless the settings leave it out."""
        detection = _with_plain_metadata(detection)
        if detection.path is None:
            self._take_model(detection)
            return
        if not self._filters.wanted(detection.place or detection.path):
            self._report.drop("filtered", detection.path, "the include and exclude patterns leave it out")
            return
        made = detection.snapshot == "take"
        item = Item(detection, key_of(detection), time.monotonic(), None if made else look_of(detection.path))
        item.following = follow(detection)
        around = [] if made else self._queue.folders_around(item)
        item.held = any(_holds(folder, detection) for folder in around)
        if not made and (item.held or being_saved(detection.path)):
            why = "a folder that it is in was captured as it is" if item.held else "it is being saved"
            _LOG.debug("%s waits: %s.", detection.path, why)
            item.postpone()
        else:
            # What is in a folder that was captured may be no news.
            item.counted = all(folder.key == item.key for folder in around)
            if not self._may_keep(item):
                return
        self._queue.add(item)

    def _may_keep(self, item: Item) -> bool:
        """Make the snapshot, if the rates and the disk let it be captured; what is not kept is not followed either."""
        kept = False
        try:
            kept = self._may(item) and self._pool.keep(item)
        finally:
            if not kept:
                item.call(None)
        return kept

    def _take_model(self, detection: Detection) -> None:
        assert detection.name is not None
        size = weight_of(detection.model)
        if not self._filters.wanted(Path(detection.name)):
            self._report.drop("filtered", detection.name, "the include and exclude patterns leave it out")
        elif self._filters.due(f"{detection.name}/", waits=False) is None:
            self._report.drop("throttled", detection.name, TOO_FAST)
        elif self._pool.has_room(size, detection.name):
            self._submitter.submit_model(detection, size)

    def _may(self, item: Item) -> bool:
        """Ask the rates. What looks as it did when they were asked last is the same thing, and is not counted again."""
        if not self._filters.rates or not item.counted:
            return True
        if self._dedup.suspects(item.key, item.look):
            item.counted = False
            return True
        look, due = self._asked.get(item.key, (None, None))
        if look is None or look != item.look:
            due = self._filters.due(item.key)
            self._asked[item.key] = (item.look, due)
            if due is None:
                self._report.drop("throttled", item.detection.path, TOO_FAST)
        elif due is None:
            _LOG.debug("%s is not captured: %s, as was said of it.", item.detection.path, TOO_FAST)
        else:
            item.counted = False
        if due is not None:
            item.due = due
        return due is not None


def _holds(folder: Item, detection: Detection) -> bool:
    """Tell whether a snapshot of a folder has all files as a detector found them complete; False where it does not say how."""
    found = dict(detection.stamps)
    if detection.path is not None and detection.stamp is not None:
        found[detection.path] = detection.stamp
    seen = [(folder.stamps.get(os.path.realpath(path)), stamp) for path, stamp in found.items()]
    return bool(seen) and all(one is not None and same_look(one, stamp) for one, stamp in seen)


def _with_plain_metadata(detection: Detection) -> Detection:
    try:
        return attrs.evolve(detection, metadata=plain_metadata(detection.metadata))
    except ArtifactError as error:
        what = detection.path or detection.name
        _LOG.warning("%s is captured without its metadata: %s", what, error)
        return attrs.evolve(detection, metadata={})
