"""Capture: what detectors see becomes artifacts, once each, behind the user's back and never in the user's way.

A detection is kept as it is when it is emitted, on the caller's thread. The rest happens on a thread of capture's
own: what it is, whether it is news (by path and sha256: three detectors may see one file), and its submission.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts import TraceletArtifact
from tracelet.core.backend import Labels, RunInfo
from tracelet.core.claims import being_saved
from tracelet.core.delivery import beside
from tracelet.core.detector import Detection, Detector, DetectorContext, DetectorSpec
from tracelet.core.drafts import staging_folder
from tracelet.core.files import FileChanged
from tracelet.core.journal import Captured, Head, Journal, Kept, Leftover
from tracelet.core.limits import Limits
from tracelet.core.plain import plain_metadata
from tracelet.core.processes import current
from tracelet.core.results import LogResults
from tracelet.core.snapshots import Outdated, artifact_name, content_of, size_of, snapshot
from tracelet.core.sniffing import tell_type
from tracelet.exceptions import ArtifactError, ConfigError
from tracelet.settings import TraceletSettings, WatchedDirectory, load_plugin

__all__ = ["Capture"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds until something is looked at again that was being written.
_AGAIN = 0.05
_MINUTE = 60.0
#: Seconds that a detector has for stopping, however late it is.
_SHORTEST = 0.5
#: Takes an artifact of Tracelet's own files and the id of its put, which is the same when it is done again.
Submit = Callable[[TraceletArtifact, Labels, str], "Future[LogResults]"]


@attrs.define
class _Item:
    """A detection on its way."""

    detection: Detection
    key: str
    #: Monotonic time before which it waits.
    due: float
    number: int = -1
    #: The snapshot; there is none yet where the file was being written.
    kept: Path | None = None
    size_bytes: int = 0


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
    ) -> None:
        """``submit`` takes over an artifact's files; ``waiting_bytes`` says what is in the outbox.

        With a ``leftover`` it goes on where a dead process stopped. Raises :class:`~tracelet.ConfigError` for what a
        detector cannot work with.
        """
        self._settings = settings
        self._directory = directory
        self._submit = submit
        self._waiting_bytes = waiting_bytes
        self._pid = os.getpid()
        folder = staging_folder(directory, uuid.uuid4().hex)
        head = Head(owner=current(), run=run, backends=settings.backend, routing=settings.routing, folder=folder)
        self._journal = Journal.begun(directory, head) if leftover is None else Journal(leftover.path, leftover.head)
        self._folder = folder if leftover is None else leftover.head.folder
        self._numbers = itertools.count()
        self._context = DetectorContext(
            experiment=run.experiment,
            directory=directory,
            workspace=self._folder / "made",
            watched=tuple(
                one if isinstance(one, WatchedDirectory) else WatchedDirectory(one)
                for one in settings.artifact_watch_dirs
            ),
            outcome=self._ended,
        )
        #: Whether the last training that a detector watched came to its end.
        self.completed = True
        self._wake = threading.Condition()
        self._items: list[_Item] = []
        self._busy = False
        self._open = True
        self._ending = False
        #: Whether the time for hashing is over.
        self._rush = False
        self._told: set[str] = set()
        self._last: dict[str, Captured] = {}
        if leftover is not None:
            self._last.update(leftover.last)
            self._items.extend(self._left(leftover.waiting))
        self._limits = Limits(settings)
        #: Bytes on their way: kept here, or submitted and not delivered.
        self._bytes = 0
        self._counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="tracelet-capture", daemon=True)
        self._detectors = {spec.name: self._create(spec) for spec in specs}

    def _left(self, waiting: Iterable[Kept]) -> Iterator[_Item]:
        for one in waiting:
            item = _Item(one.detection, one.key, 0.0, one.number)
            item.kept = next((place for place in (self._place(one.number), self._named(item)) if place.exists()), None)
            if item.kept is not None:
                yield item

    def _place(self, number: int) -> Path:
        """Where a snapshot is at first: making a folder for it would take longer than copying a small file."""
        return self._folder / str(number)

    def _named(self, item: _Item) -> Path:
        """Where it is under its own name, which helps to tell what it is."""
        assert item.detection.path is not None
        return self._folder / f"{item.number}.d" / item.detection.path.name

    def _remove(self, item: _Item) -> None:
        place = self._place(item.number)
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)
        shutil.rmtree(self._named(item).parent, ignore_errors=True)

    def _create(self, spec: DetectorSpec) -> Detector:
        settings = load_plugin(spec.settings, spec.name)
        try:
            return spec.create(settings, self._context)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the detector {spec.name!r} cannot be made: {type(error).__name__}: {error}. Mend it, or uninstall it."
            ) from error

    def start(self) -> None:
        """Start the detectors. Raises :class:`~tracelet.ConfigError` for what one cannot work with; then none runs."""
        self._thread.start()
        for name, detector in self._detectors.items():
            try:
                detector.start(self.emit)
            except ConfigError:
                self.stop(time.monotonic() + 1.0)
                raise
            except Exception as error:  # noqa: BLE001 - a detector is never the end of the user's training
                _LOG.warning("the detector %r does not start: %s: %s", name, type(error).__name__, error)
        _LOG.debug("capturing with %s.", ", ".join(self._detectors))

    def _ended(self, completed: bool) -> None:
        self.completed = completed

    # -- on the user's threads

    def emit(self, detection: Detection) -> None:
        """Keep what a detector saw. Raises nothing: what goes wrong is a warning."""
        try:
            if self._pid != os.getpid():
                self._tell_once(
                    "forked", "this process was forked from the one that captures: start an experiment in it."
                )
            elif self._open:
                self._take(detection)
        except Exception as error:  # noqa: BLE001 - nor is what it saw
            self._fail(detection, error)

    def _take(self, detection: Detection) -> None:
        detection = self._plain(detection)
        if detection.path is None:
            self._log(detection, self._described(detection).add_model(detection.model), 0, uuid.uuid4().hex)
            return
        key = self._key(detection)
        if not self._limits.wanted(detection.path):
            self._drop("filtered", detection, "the include and exclude patterns leave it out")
            return
        due = self._limits.due(key)
        if due is None:
            self._drop("throttled", detection, "capture_min_interval or capture_max_per_minute leaves it out")
            return
        item = _Item(detection, key, due)
        if detection.snapshot != "take" and being_saved(detection.path):
            _LOG.debug("%s waits: it is being saved.", detection.path)
            item.due += _AGAIN
        elif not self._keep(item):
            return
        with self._wake:
            if self._settings.capture_latest_wins:
                self._supersede(key)
            self._items.append(item)
            self._wake.notify_all()

    def _key(self, detection: Detection) -> str:
        """A file is known by its path; what a detector made itself, by what it is called."""
        assert detection.path is not None
        if detection.snapshot == "take":
            return f"{detection.name}/{detection.artifact_path or detection.path.name}"
        return os.path.abspath(detection.path)

    def _supersede(self, key: str) -> None:
        for old in [item for item in self._items if item.key == key]:
            self._items.remove(old)
            self._forget(old)
            self._drop("superseded", old.detection, "a newer version of it waits")

    def _keep(self, item: _Item) -> bool:
        """Make the snapshot, and say whether there is one; what changes meanwhile is looked at again."""
        assert item.detection.path is not None
        size = size_of(item.detection.path)
        if not self._room_for(size):
            self._drop("over_cap", item.detection, "what waits to be delivered would take too much of the disk")
            self._tell_once(
                "cap",
                "captured bytes that wait to be delivered would take more than capture_disk_share=%g of the free disk: "
                "what follows is not captured until there is room.",
                self._settings.capture_disk_share,
            )
            return False
        item.number = next(self._numbers)
        kept = self._place(item.number)
        if item.number == 0:
            kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            snapshot(item.detection, kept)
            self._journal.kept(Kept(item.number, item.key, item.detection))
        except (FileChanged, Outdated):
            self._remove(item)
            if item.detection.stamp is not None:
                self._drop("outdated", item.detection, "it is written again, and what comes of that is told anew")
                return False
            item.due = time.monotonic() + _AGAIN
            return True
        except BaseException:
            self._remove(item)
            raise
        item.kept, item.size_bytes = kept, size
        self._weigh(size)
        return True

    def _room_for(self, size: int) -> bool:
        allowed = self._settings.capture_disk_share * shutil.disk_usage(self._directory).free
        if self._bytes + size <= allowed:
            return True
        with self._wake:
            kept = sum(item.size_bytes for item in self._items)
        self._bytes = kept + self._waiting_bytes()
        return self._bytes + size <= allowed

    # -- on capture's own thread

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._process_item(item)
            except Exception as error:  # noqa: BLE001 - the next one has its turn whatever this one is
                self._forget(item)
                self._fail(item.detection, error)

    def _next(self) -> _Item | None:
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while True:
                now = time.monotonic()
                item = self._ready(now)
                if item is not None:
                    self._items.remove(item)
                    self._busy = True
                    return item
                if self._ending and not self._items:
                    return None
                self._wake.wait(min((item.due for item in self._items), default=now + _MINUTE) - now)

    def _ready(self, now: float) -> _Item | None:
        return next((one for one in self._items if one.due <= now or (self._ending and one.kept is not None)), None)

    def _process_item(self, item: _Item) -> None:
        if item.kept is None and not self._kept_late(item):
            return
        assert item.kept is not None
        named = self._named(item)
        if item.kept != named:
            named.parent.mkdir(exist_ok=True)
            item.kept = item.kept.rename(named)
        kind = item.detection.type or tell_type(item.kept)
        inside = item.detection.artifact_path or item.kept.name
        known = attrs.evolve(item.detection, type=kind, name=item.detection.name or artifact_name(inside, kind))
        if self._rush:
            self._log_kept(known, inside, item)
            self._journal.done(item.number)
            return
        content = content_of(item.kept)
        key = item.key if known.snapshot == "take" else os.path.realpath(item.key)
        aliases = frozenset(known.aliases)
        before = self._last.get(key)
        if before is not None and before.content == content:
            if aliases <= before.aliases:
                self._forget(item)
                self._drop("unchanged", known, "it was captured with this content")
                return
            # The same thing under one more alias: said in the same words, it is the same version.
            known, inside = attrs.evolve(before.detection, aliases=known.aliases), before.inside
            aliases |= before.aliases
        self._log_kept(known, inside, item)
        self._last[key] = Captured(content, known, inside, aliases)
        self._journal.done(item.number, key, self._last[key])

    def _kept_late(self, item: _Item) -> bool:
        """Keep what was being written when it was emitted; False where it is not to be kept, or not yet."""
        assert item.detection.path is not None
        if not item.detection.path.exists():
            self._drop("vanished", item.detection, "it is not there any more")
            return False
        waits = being_saved(item.detection.path) or self._told_meanwhile(item)
        if not waits and (not self._keep(item) or item.kept is not None):
            return item.kept is not None
        if self._rush:
            self._drop("unfinished", item.detection, "it was still being written at the end")
            return False
        with self._wake:
            item.due = time.monotonic() + _AGAIN
            self._items.append(item)
        return False

    def _told_meanwhile(self, item: _Item) -> bool:
        """Whether the one who saved it has told of it, and knows more: that comes first."""
        place = os.path.realpath(item.key)
        with self._wake:
            return any(one.kept is not None and os.path.realpath(one.key) == place for one in self._items)

    def _log_kept(self, detection: Detection, inside: str, item: _Item) -> None:
        assert item.kept is not None
        artifact = self._described(detection)
        if item.kept.is_dir():
            artifact.add_dir(item.kept, detection.artifact_path)
        else:
            artifact.add_file(item.kept, inside)
        put_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._folder.name}/{item.number}").hex
        self._log(detection, artifact, item.size_bytes, put_id)
        self._remove(item)

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

    def _log(self, detection: Detection, artifact: TraceletArtifact, size_bytes: int, put_id: str) -> None:
        self._counts["captured"] += 1
        what = detection.path or type(detection.model).__name__
        _LOG.debug("%s is captured as %s %r.", what, artifact.type.value, artifact.name)
        promise = self._submit(artifact, Labels(None, detection.aliases), put_id)
        promise.add_done_callback(partial(self._delivered, size_bytes))

    def _delivered(self, size_bytes: int, promise: Future[LogResults]) -> None:
        if promise.exception() is not None or not promise.result().queued:
            self._weigh(-size_bytes)

    def _weigh(self, size_bytes: int) -> None:
        with self._wake:
            self._bytes += size_bytes

    def _forget(self, item: _Item) -> None:
        if item.kept is not None:
            self._remove(item)
            self._journal.done(item.number)
            self._weigh(-item.size_bytes)

    def _drop(self, why: str, detection: Detection, reason: str) -> None:
        self._counts[why] += 1
        _LOG.debug("%s is not captured: %s.", detection.path, reason)

    def _fail(self, detection: Detection, error: Exception) -> None:
        self._counts["failed"] += 1
        what = detection.path or type(detection.model).__name__
        _LOG.warning("%s is not captured: %s: %s", what, type(error).__name__, error)

    def _tell_once(self, what: str, message: str, *arguments: Any) -> None:
        if what not in self._told:
            self._told.add(what)
            _LOG.warning(message, *arguments)

    # -- the end

    def settle(self, until: float) -> bool:
        """Wait until all that was emitted is submitted, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._items and not self._busy, max(0.0, until - time.monotonic()))

    def stop(self, until: float) -> None:
        """Stop the detectors, and submit what they saw, by then (monotonic).

        What is not hashed by then is submitted as it is, for that is quick, and may store one thing twice.
        """
        for name, detector in self._detectors.items():
            with contextlib.suppress(TimeoutError):
                beside(partial(self._stop_one, name, detector)).result(max(_SHORTEST, until - time.monotonic()))
        self._open = False
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        self._rush = not self.settle(until)
        finished = self.settle(until + _MINUTE)
        if not finished:
            _LOG.warning(
                "%d captures were not submitted in time: a later run does that, or `tracelet sync`.", self.waiting
            )
        else:
            self._thread.join()
        self._journal.close(finished=finished)
        reasons = ("failed", "over_cap", "throttled", "unfinished")
        lost = [f"{self._counts[why]} {why}" for why in reasons if self._counts[why]]
        if lost:
            _LOG.warning("not everything was captured: %s.", ", ".join(lost))
        if finished:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_one(self, name: str, detector: Detector) -> None:
        try:
            detector.stop()
        except Exception as error:  # noqa: BLE001 - the others are to be stopped too
            _LOG.warning("the detector %r does not stop: %s: %s", name, type(error).__name__, error)

    @property
    def waiting(self) -> int:
        """How many things were seen and are not submitted."""
        return len(self._items) + self._busy

    def stats(self) -> dict[str, Any]:
        """Return the detectors, and how often what happened."""
        return {"detectors": sorted(self._detectors), "waiting": self.waiting, **self._counts}
