"""Capture: what detectors see becomes artifacts, once each, behind the user's back and never in the user's way.

A detection is kept as it is when it is emitted, on the caller's thread. The rest happens on a thread of capture's
own: what it is, whether it is news (by path and sha256: three detectors may see one file), and its submission.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.plain import plain_metadata
from tracelet.core.artifacts.results import LogResults
from tracelet.core.capture.dedup import CaptureDedup, covers
from tracelet.core.capture.filters import CaptureFilters
from tracelet.core.capture.journal import Head, Journal, Leftover
from tracelet.core.capture.snapshot_pool import Item, SnapshotPool
from tracelet.core.capture.snapshots import Look, Outdated, content_of, delete_taken, look_of, size_of, weight_of
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.delivery.drafts import staging_folder
from tracelet.core.plugins.detector import Detection, Detector, DetectorContext, DetectorSpec
from tracelet.core.plugins.shapes import misfit
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.system.files import FileChanged, make_folder
from tracelet.core.system.messages import many, words_of
from tracelet.core.system.processes import current
from tracelet.core.system.saves import being_saved
from tracelet.core.system.threads import beside
from tracelet.exceptions import ArtifactError, ConfigError
from tracelet.settings import TraceletSettings, WatchedDirectory, load_plugin

__all__ = ["Capture"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds until something is looked at again that was being written.
_AGAIN = 0.05
_MINUTE = 60.0
#: Seconds that a detector has for stopping, and submitting for what is not submitted, however late it is.
_SHORTEST = 0.5
_TOO_FAST = "capture_min_interval or capture_max_per_minute leaves it out"
#: Takes an artifact of Tracelet's own files and the id of its put, which is the same when it is done again.
Submit = Callable[[TraceletArtifact, Labels, str], "Future[LogResults]"]


class Capture:
    """The detectors of one run, and what becomes of what they see."""

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
        """``submit`` takes over an artifact's files; ``waiting_bytes`` says what is in the outbox.

        With a ``leftover`` it goes on where a dead process stopped. Raises :class:`~tracelet.ConfigError` for what a
        detector that ``may_refuse`` cannot work with: nobody named the others, and what they cannot do is a warning.
        """
        self._settings = settings
        self._directory = directory
        self._submit = submit
        self._pid = os.getpid()
        folder = staging_folder(directory, uuid.uuid4().hex)
        head = Head(owner=current(), run=run, backends=settings.backend, routing=settings.routing, folder=folder)
        if leftover is None:
            self._journal = Journal.begun(directory, head)
        else:
            self._journal, folder = Journal(leftover.path, leftover.head), leftover.head.folder
        self._pool = SnapshotPool(folder, self._journal, threading.Lock(), self._allowed, waiting_bytes)
        self._context = DetectorContext(
            experiment=run.experiment,
            directory=directory,
            workspace=folder / "made",
            watched=tuple(
                one if isinstance(one, WatchedDirectory) else WatchedDirectory(one)
                for one in settings.artifact_watch_dirs
            ),
            outcome=self._ended,
            room=self._room,
        )
        #: Whether the last training that a detector watched came to its end.
        self.completed = True
        self._wake = threading.Condition()
        self._items: list[Item] = []
        #: What is being looked at.
        self._busy: Item | None = None
        self._open = True
        self._ending = False
        #: Whether the time for hashing is over, and that for submitting.
        self._rush = False
        self._over = False
        self._warned: set[str] = set()
        self._dedup = CaptureDedup({} if leftover is None else leftover.last)
        if leftover is not None:
            self._items.extend(self._pool.take_up(leftover.waiting))
        self._filters = CaptureFilters(settings)
        #: By key: how it looked when the rates were asked last, and when they let it be captured.
        self._asked: dict[str, tuple[Look | None, float | None]] = {}
        self._counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="tracelet-capture", daemon=True)
        self._may_refuse = may_refuse
        made = {spec.name: self._create(spec) for spec in specs}
        self._detectors = {name: detector for name, detector in made.items() if detector is not None}

    @property
    def _forked(self) -> bool:
        """Whether this process is a child of the one that captures: nothing of that is the child's."""
        return self._pid != os.getpid()

    def _allowed(self) -> float:
        return self._settings.capture_disk_share * shutil.disk_usage(self._directory).free

    def _room(self, size_bytes: int, what: object = "what a detector wants to make") -> bool:
        if self._pool.has_room(size_bytes):
            return True
        self._drop("over_cap", what, "what waits to be delivered would take too much of the disk")
        self._tell_once(
            "cap",
            "captured bytes that wait to be delivered would take more than capture_disk_share=%g of the free disk: "
            "what follows is not captured until there is room.",
            self._settings.capture_disk_share,
        )
        return False

    def _create(self, spec: DetectorSpec) -> Detector | None:
        try:
            detector = spec.create(load_plugin(spec.settings, spec.name), self._context)
            wrong = misfit(getattr(detector, "start", None), ("emit",)) or misfit(getattr(detector, "stop", None), ())
            if wrong:
                raise TypeError(f"{detector!r} is no detector: {wrong}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a detector raises, the training goes on
            self._warn_or_refuse(spec.name, error)
            return None
        return detector

    def _warn_or_refuse(self, name: str, error: BaseException) -> None:
        """A detector is never the end of the user's training; a setting that Tracelet's own cannot work with is the user's to correct."""
        if isinstance(error, ConfigError) and name in self._may_refuse:
            raise error
        _LOG.warning("the detector %r does not start: %s", name, words_of(error))

    def start(self) -> None:
        """Start the detectors. Raises :class:`~tracelet.ConfigError` for what one cannot work with; then none runs."""
        self._thread.start()
        for name, detector in self._detectors.items():
            try:
                detector.start(self.emit)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a detector raises, the training goes on
                try:
                    self._warn_or_refuse(name, error)
                except ConfigError:
                    self.stop(time.monotonic() + 1.0, time.monotonic() + 1.0)
                    raise
        _LOG.debug("capturing with %s.", ", ".join(self._detectors))

    def _ended(self, completed: bool) -> None:
        self.completed = completed

    # -- on the user's threads

    def emit(self, detection: Detection) -> None:
        """Keep what a detector saw. Raises nothing: what goes wrong is a warning."""
        if not isinstance(detection, Detection):
            self._counts["failed"] += 1
            _LOG.warning(
                "a detector told of a %s, which is no Detection: it is not captured.", type(detection).__name__
            )
            return
        try:
            if self._forked:
                self._tell_once(
                    "forked", "this process was forked from the one that captures: start an experiment in it."
                )
            elif self._open:
                self._take(self._plain(detection))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - nor is what it saw
            self._fail(detection, error)
        finally:
            # By now it was taken, or is not to be.
            delete_taken(detection, self._context.workspace)

    def _take(self, detection: Detection) -> None:
        if detection.path is None:
            self._take_model(detection)
            return
        if not self._filters.wanted(detection.place or detection.path):
            self._drop("filtered", detection.path, "the include and exclude patterns leave it out")
            return
        made = detection.snapshot == "take"
        item = Item(detection, _key(detection), time.monotonic(), None if made else look_of(detection.path))
        if not made and (being_saved(detection.path) or self._folder_waits(item)):
            _LOG.debug("%s waits: it is being saved.", detection.path)
            item.due, item.counted = item.due + _AGAIN, False
        elif not self._may(item) or not self._keep(item):
            return
        with self._wake:
            if item.kept is not None:
                self._supersede(item)
            self._items.append(item)
            self._wake.notify_all()

    def _take_model(self, detection: Detection) -> None:
        assert detection.name is not None
        size = weight_of(detection.model)
        if not self._filters.wanted(Path(detection.name)):
            self._drop("filtered", detection.name, "the include and exclude patterns leave it out")
        elif self._filters.due(f"{detection.name}/", waits=False) is None:
            self._drop("throttled", detection.name, _TOO_FAST)
        elif self._room(size, detection.name):
            artifact = self._described(detection).add_model(detection.model)
            self._log(detection, artifact, uuid.uuid4().hex, size)

    def _may(self, item: Item) -> bool:
        """Ask the rates; what looks as it did when they were asked last is the same thing, and not counted again."""
        if not self._filters.rates:
            return True
        if self._dedup.suspects(item.key, item.look):
            item.counted = False
            return True
        look, due = self._asked.get(item.key, (None, None))
        if look is None or look != item.look:
            due = self._filters.due(item.key)
            self._asked[item.key] = (item.look, due)
            if due is None:
                self._drop("throttled", item.detection.path, _TOO_FAST)
        elif due is None:
            _LOG.debug("%s is not captured: %s, as was said of it.", item.detection.path, _TOO_FAST)
        else:
            item.counted = False
        if due is not None:
            item.due = due
        return due is not None

    def _supersede(self, item: Item) -> None:
        """Drop what waits of the same thing and is older; what looks the same may be the same, told by another one."""
        if not self._settings.capture_latest_wins:
            return
        for old in [one for one in self._items if one.key == item.key and one.kept is not None]:
            if item.look is None or old.look != item.look:
                self._items.remove(old)
                self._pool.forget(old)
                self._drop("superseded", old.detection.path, "a newer version of it waits")

    def _keep(self, item: Item) -> bool:
        """Make the snapshot, and say whether the item goes on; what changes meanwhile is looked at again."""
        assert item.detection.path is not None
        size = size_of(item.detection.path)
        if not self._room(size, item.detection.path):
            return False
        try:
            self._pool.keep(item, size)
        except (FileChanged, Outdated):
            if item.detection.stamp is not None:
                self._drop("outdated", item.detection.path, "it is written again, and what comes of that is told anew")
                return False
            item.due, item.counted = time.monotonic() + _AGAIN, False
        return True

    # -- on capture's own thread

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._process_item(item)
            except Exception as error:  # noqa: BLE001 - the next one has its turn whatever this one is
                self._pool.forget(item)
                self._fail(item.detection, error)

    def _next(self) -> Item | None:
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
                if self._over or (self._ending and not self._items):
                    return None
                self._wake.wait(min((item.due for item in self._items), default=now + _MINUTE) - now)

    def _ready(self, now: float) -> Item | None:
        """Return what is due; of those who saw the same, the one who knows most comes first."""
        ready = [one for one in self._items if one.due <= now or (self._ending and one.kept is not None)]
        if not ready:
            return None
        same = [one for one in ready if one.key == ready[0].key and one.look == ready[0].look and one.kept is not None]
        return max(same, key=lambda one: one.knowledge) if ready[0].look is not None and same else ready[0]

    def _process_item(self, item: Item) -> None:
        if item.kept is None and not self._kept_late(item):
            return
        assert item.kept is not None
        named = self._pool.named(item)
        if item.kept != named:
            make_folder(named.parent)
            item.kept = item.kept.rename(named)
        inside = item.detection.artifact_path or item.kept.name
        said = attrs.evolve(item.detection, type=item.detection.type or tell_type(item.kept))
        content = () if self._rush else content_of(item.kept)
        found, news = self._dedup.news(item.key, item.look, said, inside, content)
        if self._rush:
            self._log_kept(found.detection, found.inside, item)
            self._journal.done(item.number)
        elif news == "none":
            self._pool.forget(item)
            self._drop("unchanged", item.detection.path, "it was captured with this content")
        elif news == "alias" or self._in_time(item):
            self._log_kept(found.detection, found.inside, item)
            self._journal.done(item.number, self._dedup.note(item.key, item.look, found), found)

    def _in_time(self, item: Item) -> bool:
        """Ask the rates about what looked like something that they were asked about, and is news."""
        if item.counted or not self._filters.rates:
            return True
        item.counted, due = True, self._filters.due(item.key)
        if due is None:
            self._pool.forget(item)
            self._drop("throttled", item.detection.path, _TOO_FAST)
            return False
        if due <= time.monotonic() or self._ending:
            return True
        item.due = due
        with self._wake:
            self._supersede(item)
            self._items.append(item)
        return False

    def _kept_late(self, item: Item) -> bool:
        """Keep what was being written when it was emitted; False where it is not to be kept, or not yet."""
        assert item.detection.path is not None
        if not item.detection.path.exists():
            self._drop("vanished", item.detection.path, "it is not there any more")
            return False
        if not being_saved(item.detection.path) and not self._saver_told(item):
            item.look = look_of(item.detection.path)
            if not self._keep(item) or item.kept is not None:
                return item.kept is not None
        if self._rush:
            self._drop("unfinished", item.detection.path, "it was still being written at the end")
            return False
        with self._wake:
            item.due = time.monotonic() + _AGAIN
            self._items.append(item)
        return False

    def _log_kept(self, detection: Detection, inside: str, item: Item) -> None:
        assert item.kept is not None
        artifact = self._described(detection)
        if item.kept.is_dir():
            artifact.add_dir(item.kept, detection.artifact_path)
        else:
            artifact.add_file(item.kept, inside)
        put_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._pool.folder.name}/{item.number}").hex
        self._log(detection, artifact, put_id, item.size_bytes)
        self._pool.submitted(item)

    def _described(self, detection: Detection) -> TraceletArtifact:
        assert detection.name is not None
        assert detection.type is not None
        artifact = TraceletArtifact(detection.name, detection.type, detection.description)
        artifact.metadata = detection.metadata
        return artifact

    def _plain(self, detection: Detection) -> Detection:
        try:
            return attrs.evolve(detection, metadata=plain_metadata(detection.metadata))
        except ArtifactError as error:
            what = detection.path or detection.name
            _LOG.warning("%s is captured without its metadata: %s", what, error)
            return attrs.evolve(detection, metadata={})

    def _log(self, detection: Detection, artifact: TraceletArtifact, put_id: str, size_bytes: int) -> None:
        self._counts["captured"] += 1
        what = detection.path or type(detection.model).__name__
        _LOG.debug("%s is captured as %s %r.", what, artifact.type.value, artifact.name)
        promise = self._submit(artifact, Labels(None, detection.aliases), put_id)
        if detection.model is not None:
            # What it came to as files; where they are gone already, they are delivered.
            with contextlib.suppress(OSError):
                size_bytes = size_of(staging_folder(self._directory, put_id))
        self._pool.weigh(size_bytes)
        promise.add_done_callback(partial(self._delivered, size_bytes))

    def _delivered(self, size_bytes: int, promise: Future[LogResults]) -> None:
        if promise.exception() is not None or not promise.result().queued:
            self._pool.weigh(-size_bytes)

    def _drop(self, why: str, what: object, reason: str) -> None:
        self._counts[why] += 1
        _LOG.debug("%s is not captured: %s.", what, reason)

    def _fail(self, detection: Detection, error: BaseException) -> None:
        self._counts["failed"] += 1
        what = detection.path or type(detection.model).__name__
        _LOG.warning("%s is not captured: %s", what, words_of(error))

    def _tell_once(self, what: str, message: str, *arguments: Any) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _LOG.warning(message, *arguments)

    def _folder_waits(self, item: Item) -> bool:
        """Whether a folder that it is in was told of, and comes first."""
        folders = [one.key for one in [*self._items, *([self._busy] if self._busy else ())] if one.folder]
        return bool(folders) and covers(folders, item.key)

    def _saver_told(self, item: Item) -> bool:
        """Whether the one who saved it, or a folder that it is in, has told of it, and knows more: that comes first."""
        with self._wake:
            keys = [one.key for one in self._items if one.kept is not None]
        return covers(keys, item.key)

    # -- the end

    def settle(self, until: float) -> bool:
        """Wait until all that was emitted is submitted, or until then (monotonic); say which."""
        if self._forked:
            return True
        with self._wake:
            return self._wake.wait_for(
                lambda: not self._items and self._busy is None, max(0.0, until - time.monotonic())
            )

    def stop(self, until: float, last: float = 0.0, least: float = _SHORTEST) -> None:
        """Stop the detectors, and submit what they saw, by ``until`` (monotonic).

        What is not hashed by then is submitted as it is until ``last``, for that is quick, and may store one thing twice:
        ``least`` seconds are for that, however late it is;
        what is not submitted by then is in the journal. In a child of the process that captures this only lets go.
        """
        if self._forked:
            self._journal.let_go()
            return
        for name, detector in self._detectors.items():
            with contextlib.suppress(TimeoutError):
                beside(partial(self._stop_one, name, detector)).result(max(_SHORTEST, until - time.monotonic()))
        self._open = False
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        self._rush = not self.settle(until)
        finished = self.settle(max(last, time.monotonic() + least))
        self._over = True
        if not finished:
            _LOG.warning(
                "%s not submitted in time: a later run does that, or `tracelet sync`.",
                many(self.waiting, "capture was", "captures were"),
            )
        else:
            self._thread.join()
        self._pool.close(finished=finished)
        reasons = ("failed", "over_cap", "throttled", "unfinished")
        lost = [f"{self._counts[why]} {why}" for why in reasons if self._counts[why]]
        if lost:
            _LOG.warning("not everything was captured: %s.", ", ".join(lost))

    def _stop_one(self, name: str, detector: Detector) -> None:
        try:
            detector.stop()
        except BaseException as error:  # noqa: BLE001 - it is on a thread of its own, where nobody presses Ctrl-C
            _LOG.warning("the detector %r does not stop: %s", name, words_of(error))

    @property
    def waiting(self) -> int:
        """How many things were seen and are not submitted."""
        return 0 if self._forked else len(self._items) + (self._busy is not None)

    def stats(self) -> dict[str, Any]:
        """Return the detectors, and how often what happened."""
        return {"detectors": sorted(self._detectors), "waiting": self.waiting, **self._counts}


def _key(detection: Detection) -> str:
    """A file is known by its path; what a detector made itself, by what it is called."""
    assert detection.path is not None
    if detection.snapshot == "take" and detection.place is None:
        return f"{detection.name}/{detection.artifact_path or detection.path.name}"
    return os.path.abspath(detection.place or detection.path)
