"""Capture: what detectors see becomes artifacts, once each, and never in the user's way.

An emitted detection is kept as it is, on the caller's thread (:mod:`~tracelet.core.capture.intake`). The rest happens on a
thread of capture's own (:mod:`~tracelet.core.capture.processor`): what it is, whether it is news (by path and sha256: three
detectors may see one file), and its submission.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from tracelet.core.capture.dedup import CaptureDedup
from tracelet.core.capture.detectors import Detectors
from tracelet.core.capture.filters import CaptureFilters
from tracelet.core.capture.intake import CaptureIntake
from tracelet.core.capture.journal import Head, Journal, Leftover
from tracelet.core.capture.processor import CaptureProcessor
from tracelet.core.capture.queue import CaptureQueue
from tracelet.core.capture.report import CaptureReport
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import delete_taken
from tracelet.core.capture.submitter import CaptureSubmitter, Submit
from tracelet.core.delivery.drafts import staging_folder
from tracelet.core.plugins.detector import Detection, DetectorSpec
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.system.messages import many
from tracelet.core.system.processes import current
from tracelet.exceptions import ConfigError
from tracelet.settings import TraceletSettings

__all__ = ["Capture"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds for submitting what is not submitted, however late it is.
_SHORTEST = 0.5


class Capture:
    """The capture of one run: its life, and the guard between detectors and what becomes of what they see."""

    def __init__(
        self,
        run: RunInfo,
        settings: TraceletSettings,
        directory: Path,
        specs: Iterable[DetectorSpec],
        submit: Submit,
        waiting_bytes: Callable[[], int],
        leftover: Leftover | None = None,
        *,
        may_refuse: Collection[str] = (),
    ) -> None:
        """``submit`` takes over an artifact's files; ``waiting_bytes`` returns how many bytes are in the outbox.

        With a ``leftover`` it continues where a dead process stopped. Raises :class:`~tracelet.ConfigError` for what a
        detector that ``may_refuse`` cannot work with.
        """
        self._pid = os.getpid()
        self._run, self._settings, self._directory, self._resumed = run, settings, directory, leftover is not None
        folder = staging_folder(directory, uuid.uuid4().hex)
        head = Head(owner=current(), run=run, backends=settings.backend, routing=settings.routing, folder=folder)
        if leftover is None:
            self._journal = Journal.begun(directory, head)
        else:
            self._journal, folder = Journal(leftover.path, leftover.head), leftover.head.folder
        self._workspace = folder / "made"
        self._open = True
        self._report = report = CaptureReport()
        self._pool = pool = SnapshotPool(
            directory, folder, self._journal, settings.capture_disk_share, waiting_bytes, report
        )
        waiting = () if leftover is None else pool.take_up(leftover.waiting, leftover.free_number)
        self._queue = queue = CaptureQueue(pool, report, waiting, latest_wins=settings.capture_latest_wins)
        dedup = CaptureDedup({} if leftover is None else leftover.last)
        filters = CaptureFilters(settings)
        self._submitter = CaptureSubmitter(submit, directory, pool, report)
        self._intake = CaptureIntake(filters, dedup, pool, queue, self._submitter, report)
        self._processor = CaptureProcessor(filters, dedup, pool, queue, self._submitter, self._journal, report)
        self._thread = threading.Thread(target=self._work, name="tracelet-capture", daemon=True)
        self._detectors = Detectors(
            specs,
            run.experiment,
            settings,
            directory,
            self._workspace,
            pool.has_room,
            queue.had_folder_in,
            may_refuse=may_refuse,
        )

    @property
    def _forked(self) -> bool:
        """Whether this process is a child of the one that captures: nothing of the capture is the child's."""
        return self._pid != os.getpid()

    @property
    def completed(self) -> bool:
        """Whether the last training that a detector watched came to its end."""
        return self._detectors.completed

    def start(self) -> None:
        """Start the detectors. Raises :class:`~tracelet.ConfigError` for what one cannot work with; then none runs."""
        self._thread.start()
        try:
            self._detectors.start(self.emit)
        except ConfigError:
            self.stop(time.monotonic() + 1.0, time.monotonic() + 1.0)
            raise

    def emit(self, detection: Detection) -> None:
        """Keep what a detector saw. Raises nothing: what goes wrong is a warning."""
        if not isinstance(detection, Detection):
            self._report.refuse(detection)
            return
        try:
            if self._forked:
                self._report.warn_once(
                    "forked", "this process was forked from the one that captures: start an experiment in it."
                )
            elif self._open:
                self._intake.take(detection)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - nothing that it saw ends the training either
            self._report.fail(detection, error)
        finally:
            # By now it was taken, or is not to be.
            delete_taken(detection, self._workspace)

    def _work(self) -> None:
        while (item := self._queue.next()) is not None:
            try:
                self._processor.process(item)
            except Exception as error:  # noqa: BLE001 - the next one has its turn whatever this one is
                item.call(None)
                self._pool.forget(item)
                self._report.fail(item.detection, error)

    def settle(self, until: float) -> bool:
        """Wait until all that was emitted is submitted, or until then (monotonic); say which."""
        return self._forked or self._queue.settle(until)

    def stop(self, until: float, last: float = 0.0, least: float = _SHORTEST) -> None:
        """Stop the detectors, and submit what they saw, by ``until`` (monotonic).

        After ``until`` snapshots are submitted without being hashed, until ``last``: that is quick, and may store one thing
        twice. It has ``least`` seconds, however late it is. Snapshots that are not submitted by then are in the journal.
        In a child of the process that captures this lets go of the journal, and does nothing else.
        """
        if self._forked:
            self._journal.let_go()
            return
        self._detectors.stop(until)
        self._open = False
        self._queue.end()
        self._processor.rush = not self.settle(until)
        finished = self.settle(max(last, time.monotonic() + least))
        self._queue.close()
        if not finished:
            _LOG.warning(
                "%s not submitted in time: a later run does that, or `tracelet sync`.",
                many(self.waiting, "capture was", "captures were"),
            )
        else:
            self._thread.join()
        self._pool.close(finished=finished)
        if not self._resumed:
            self._report.tell_captures(self._run.experiment, self._settings.backend, self._directory)
        self._report.tell_losses()

    @property
    def waiting(self) -> int:
        """How many detections are not submitted."""
        return 0 if self._forked else len(self._queue)

    def stats(self) -> dict[str, Any]:
        """Return the names of the detectors, and how often what happened."""
        return {"detectors": self._detectors.names, "waiting": self.waiting, **self._report.counts}
