"""The detector: one thread takes the news, waits for what is not complete yet, and emits."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet import plugin
from tracelet.builtin.filesystem import FilesystemSettings
from tracelet.builtin.filesystem.groups import Kind
from tracelet.builtin.filesystem.passing import PassedOver
from tracelet.builtin.filesystem.places import Place, places
from tracelet.builtin.filesystem.settling import Settling
from tracelet.builtin.filesystem.stamps import Stamp, looks_in, scan, stamp_of
from tracelet.builtin.filesystem.wholes import Told, Wholes
from tracelet.exceptions import ConfigError
from tracelet.plugin import ArtifactType, Detection, DetectorContext, Emit, artifact_name, progress_in, tell_type

if TYPE_CHECKING:
    from tracelet.builtin.filesystem.observing import News, Observing

__all__ = ["FilesystemDetector"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds between two looks whether the directories are there, and the same ones.
_DIRECTORIES = 0.1
#: Seconds between two rescans, which find what was never told.
_RESCAN = 60.0
#: Seconds after an overflow, when the watches are new, of two looks: one for what was lost, and one for what was made
#: while watchdog went through the folders.
_AFTER_OVERFLOW = (0.0, 5.0)
#: Seconds by which a look may be late while there are news.
_LATEST = 0.02
#: Seconds that the last news may be on their way.
_LAST_NEWS = 0.02
#: Seconds between two looks at a file, for which the waits for files that belong together are made.
_INTERVAL = 0.5
#: The number at the end of the name of a checkpoint.
_NUMBER = re.compile(r"(?<=\w)[-_.=]\d+$|(?<=[^\W\d])\d+$")
#: Files that a warning names.
_NAMED = 3


class FilesystemDetector:
    """Emits the files of the watched directories, each time that one is complete."""

    def __init__(self, settings: FilesystemSettings, context: DetectorContext) -> None:
        self._settings = settings
        self._context = context
        self._cwd = Path.cwd()
        self._run: _Run | None = None

    def start(self, emit: Emit) -> None:
        """See :class:`~tracelet.plugin.Detector`.

        Raises :class:`~tracelet.ConfigError` where a directory cannot be watched as it was configured, or watchdog is
        not installed.
        """
        found = places(self._context.watched, self._context, self._cwd)
        try:
            from tracelet.builtin.filesystem import observing
        except ImportError as error:
            raise ConfigError(
                "watch_filesystem=True needs watchdog: pip install 'tracelet-core[watch]', or leave it off."
            ) from error
        news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        passed = PassedOver()
        watches = observing.Observing(found, news.put, passed, polling=self._settings.polling)
        run = _Run(found, self._settings, emit, news, watches, passed, self._context.holds_captured)
        run.start()
        self._run = run

    def stop(self) -> None:
        """See :class:`~tracelet.plugin.Detector`: waits for files that look complete, ``max_wait`` at most."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()


class _Run:
    """One start and stop. Everything but these two happens on its own thread."""

    def __init__(
        self,
        found: tuple[Place, ...],
        settings: FilesystemSettings,
        emit: Emit,
        news: queue.SimpleQueue[News | None],
        watches: Observing,
        passed: PassedOver,
        holds_captured: Callable[[Path], bool],
    ) -> None:
        self._places = found
        self._max_wait = settings.max_wait
        self._emit = emit
        self._news = news
        self._watches = watches
        self._passed = passed
        self._holds_captured = holds_captured
        self._settling = Settling(settings)
        #: How each file looked when it was emitted, or found at the start.
        self._known: dict[str, Stamp] = {}
        self._rescans: list[float] = []
        self._directories = 0.0
        self._wholes = Wholes({}, self._settling.waits)
        self._pace = settings.interval / _INTERVAL
        self._thread = threading.Thread(target=self._work, name="tracelet-filesystem", daemon=True)

    def start(self) -> None:
        try:
            for place in self._places:
                there = dict(scan(place, passed=self._passed))
                self._known.update(there)
                if Path(place.path).is_dir():
                    _LOG.debug(
                        "%s: what is there at the start (%d in number) is captured if it changes.",
                        place.path,
                        len(there),
                    )
                else:
                    _LOG.debug("%s is not there yet: it is watched when it is.", place.path)
            # What came between the look above and the watches is found by a second look.
            for place, told in self._watches.look():
                self._find(place, told=told)
            self._wholes = Wholes(
                self._known,
                self._settling.waits,
                self._pace,
                holds_captured=self._holds_captured,
                tops={place.path for place in self._places},
            )
            self._rescans = [time.monotonic() + _RESCAN]
            self._thread.start()
        except BaseException:
            self._watches.stop()
            raise

    def stop(self) -> None:
        self._news.put(None)
        # In a child that was forked the thread is not there, and what it watches is the parent's.
        self._thread.join()

    def _work(self) -> None:
        while (news := self._next()) is not None:
            self._guard(self._take, news)
        self._guard(self._finish)
        self._guard(self._watches.stop)

    def _guard(self, work: Callable[..., object], *args: Any) -> None:
        """Do something of which no failure may end the watch."""
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next file has its turn
            _LOG.warning("watching files: %s: %s", type(error).__name__, error)

    def _next(self) -> News | None:
        """Wait for news, and look after what is due meanwhile; None is the end."""
        while True:
            late = time.monotonic() - min(self._directories, self._settling.due, self._wholes.due, *self._rescans)
            # The end of a file may stand behind its beginning in the queue: news go before looks.
            if late > (0.0 if self._news.empty() else _LATEST):
                self._guard(self._look)
            with contextlib.suppress(queue.Empty):
                return self._news.get(timeout=max(0.0, -late))

    def _take(self, news: News) -> None:
        if news.word == "overflow":
            _LOG.info(
                "the system told of more files than could be taken in: the watched directories are looked through."
            )
            now = time.monotonic()
            self._rescans = [*(now + seconds for seconds in _AFTER_OVERFLOW), self._rescans[-1]]
        elif news.place is not None and news.word == "folder":
            self._find(news.place, news.path, told=news.told)
        elif news.place is not None and news.word == "complete":
            stamp = stamp_of(news.place, news.path)
            if stamp is None:
                self._passed.look(news.place, news.path)
            else:
                self._settling.close(news.place, news.path, stamp)
        elif news.place is not None and not self._settling.touch(news.path):
            stamp = stamp_of(news.place, news.path)
            if stamp is None:
                self._passed.look(news.place, news.path)
            # A file that was linked or moved here is told of once more where its folder was looked at already.
            elif self._known.get(news.path) != stamp:
                self._settling.add(news.place, news.path, stamp, told=news.told)

    def _look(self) -> None:
        for complete in self._settling.complete():
            self._guard(self._wait_or_tell, *complete)
        for whole in self._wholes.complete():
            self._guard(self._tell, whole)
        now = time.monotonic()
        if now >= self._directories:
            self._directories = now + _DIRECTORIES
            for place, told in self._watches.look():
                self._find(place, told=told)
        if now >= self._rescans[0]:
            self._rescan()
            after = time.monotonic()
            # However many files there are, looking through them takes a hundredth of the time at most.
            self._rescans = self._rescans[1:] or [after + max(_RESCAN, 100 * (after - now))]

    def _find(self, place: Place, folder: str | None = None, *, told: bool) -> None:
        """Wait for the files that are there and not known as they are."""
        for path, stamp in scan(place, folder, self._passed):
            if self._known.get(path) != stamp:
                self._settling.add(place, path, stamp, told=told)

    def _rescan(self) -> None:
        there = {}
        for place in self._places:
            for path, stamp in scan(place, passed=self._passed):
                there[path] = stamp
                if self._known.get(path) != stamp:
                    self._settling.add(place, path, stamp, told=False)
        self._known = {path: stamp for path, stamp in self._known.items() if path in there}

    def _wait_or_tell(self, place: Place, path: str, stamp: Stamp) -> None:
        self._known[path] = stamp
        if not self._wholes.hold(place, path, stamp):
            self._tell_file(place, path, stamp)

    def _tell(self, told: Told) -> None:
        if told.stamp is not None:
            self._tell_file(told.place, told.path, told.stamp)
        elif told.kind is not None:
            self._tell_group(told, told.kind)
        else:
            self._tell_folder(told)

    def _tell_folder(self, told: Told) -> None:
        place, kind = told.place, told.place.type or told.type
        assert kind is not None
        named = place.artifact_path(told.path)
        named, progress = _checkpoint(named) if kind is ArtifactType.CHECKPOINT else (named, {})
        self._emit(
            Detection(
                path=Path(told.path),
                type=kind,
                name=place.name(told.path, kind) or artifact_name(named, kind),
                metadata={"directory": place.given, **progress},
                stamps={Path(path): _stamp(look) for path, look in told.looks.items()},
            )
        )
        # Of what is passed over there is no news.
        silent = [path for path, look in looks_in(place, told.path).items() if told.looks.get(path) != look]
        if any(place.passes_over(path) is not None for path in silent):
            self._wholes.again(told)

    def _tell_group(self, told: Told, kind: Kind) -> None:
        place, inside = told.place, told.place.artifact_path(told.path)
        self._known.update(told.looks)
        type_ = place.type or kind.type or tell_type(Path(told.path))
        named = kind.called(inside)
        named, progress = _checkpoint(named) if type_ is ArtifactType.CHECKPOINT else (named, {})
        self._emit(
            Detection(
                path=Path(told.path),
                beside=told.beside,
                type=type_,
                name=place.name(told.path, type_) or artifact_name(named, type_),
                artifact_path=inside,
                metadata={"directory": place.given, **progress},
                stamp=_stamp(told.looks[told.path]),
                stamps={one: _stamp(told.looks[str(one)]) for one in told.beside},
            )
        )

    def _tell_file(self, place: Place, path: str, stamp: Stamp) -> None:
        now = stamp_of(place, path)
        if now != stamp:
            # It is written again since it was looked at, or gone.
            if now is not None:
                self._settling.add(place, path, now, told=False)
            return
        self._known[path] = stamp
        kind = place.told(path)
        self._emit(
            Detection(
                path=Path(path),
                type=kind,
                name=place.name(path, kind),
                artifact_path=place.artifact_path(path),
                metadata={"directory": place.given},
                stamp=_stamp(stamp),
            )
        )

    def _finish(self) -> None:
        """Emit what is complete and was not emitted, and say what was not complete."""
        time.sleep(_LAST_NEWS)
        self._drain()
        self._guard(self._watches.look)
        self._rescan()
        self._settling.hurry()
        until = time.monotonic() + self._max_wait
        while True:
            for complete in self._settling.complete():
                self._guard(self._wait_or_tell, *complete)
            if self._settling.only_busy or time.monotonic() >= until:
                break
            time.sleep(max(0.0, min(self._settling.due, until) - time.monotonic()))
            self._drain()
        for whole in self._wholes.complete(ending=True):
            self._guard(self._tell, whole)
        left = self._settling.left()
        if left:
            more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
            _LOG.warning(
                "still being written, and not captured: %s%s. Close files before stop().",
                ", ".join(left[:_NAMED]),
                more,
            )

    def _drain(self) -> None:
        # Up to a mark, and no further: news may come faster than they are taken.
        self._news.put(None)
        for news in iter(self._news.get, None):
            self._guard(self._take, news)


def _checkpoint(named: str) -> tuple[str, dict[str, int]]:
    """Return one name for the checkpoints of one training, and how far it was when this one was saved."""
    return _NUMBER.sub("", named), progress_in(Path(named))


def _stamp(look: Stamp) -> plugin.Stamp:
    return plugin.Stamp(look.size, look.mtime_ns, look.inode, 0)
