"""What watchdog tells of the watched directories, in four words: complete, created, changed, folder.

Measured with watchdog 7.1 on Linux: a file that is moved in from outside, linked, or written before its new folder is
watched is told as created alone; folders beyond the kernel's limit on watches are left out in silence. What is not told
here is found by the rescans.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import attrs
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, EventEmitter
from watchdog.observers.polling import PollingObserver

from tracelet.builtin.filesystem.passing import PassedOver
from tracelet.builtin.filesystem.places import Place
from tracelet.builtin.filesystem.quiet import quiet

__all__ = ["News", "Observing"]

_LOG = logging.getLogger("tracelet.automagic")
#: The kernel's limits on watches, instances and open files.
_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE})
_POLL = 1.0
Word = Literal["complete", "created", "changed", "folder", "overflow"]


@attrs.frozen
class News:
    """Something that was told: of a file or a folder of a place, by its absolute path there."""

    word: Word
    place: Place | None = None
    path: str = ""
    #: Whether the end of a file that is being written will be told.
    told: bool = False


Put = Callable[[News], None]


@attrs.frozen(eq=False)
class _Handler(FileSystemEventHandler):
    """Puts watchdog's events into our words. It does nothing that could raise: that would end watchdog's thread."""

    place: Place
    #: How the paths that watchdog gives begin: where the place is without links, which it does not follow.
    real: str
    closes: bool
    put: Put
    passed: PassedOver

    def dispatch(self, event: FileSystemEvent) -> None:
        word = self._word(event)
        if word is None:
            return
        moved = event.event_type == "moved"
        path = self.place.prefix + os.fsdecode(event.dest_path if moved else event.src_path)[len(self.real) :]
        found = self.place.passes_over(path)
        if found is None:
            self.put(News(word, self.place, path, self.closes))
        else:
            self.passed.say(*found)

    def _word(self, event: FileSystemEvent) -> Word | None:
        kind = event.event_type
        # What watchdog makes up for the content of a folder is found by our own look at the folder.
        if event.is_synthetic or (kind == "moved" and not event.dest_path):
            return None
        if event.is_directory:
            return "folder" if kind in ("created", "moved") else None
        if kind == "closed" or (kind == "moved" and self.closes):
            return "complete"
        if kind in ("created", "moved"):
            return "created"
        return "changed" if kind == "modified" else None


@attrs.frozen
class _Armed:
    identity: tuple[int, int]
    observer: BaseObserver
    emitter: EventEmitter

    def holds(self, identity: tuple[int, int] | None) -> bool:
        """Tell whether it is this directory that is watched, still: a new one may have the number of one that is gone."""
        return self.identity == identity and self.emitter.is_alive()


class Observing:
    """Watches over the places that exist, whichever directory has their names at the time."""

    def __init__(self, places: tuple[Place, ...], put: Put, passed: PassedOver, *, polling: bool) -> None:
        """``put`` is called from watchdog's threads, and ``passed`` is told of what is passed over."""
        self._places = places
        self._put = put
        self._passed = passed
        self._polling = polling
        self._observers: dict[bool, BaseObserver] = {}
        self._armed: dict[Place, _Armed] = {}
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet())

    def look(self) -> list[tuple[Place, bool]]:
        """Watch what is there now; return the places that are watched since this call, and whether ends are told."""
        fresh = []
        for place in self._places:
            identity = _identity(place.path)
            armed = self._armed.get(place)
            if armed is not None and armed.holds(identity):
                continue
            if armed is not None:
                del self._armed[place]
                armed.observer.unschedule(armed.emitter.watch)
                _LOG.debug("%s is not the directory any more that it was.", place.path)
            if identity is not None and (closes := self._arm(place, identity)) is not None:
                fresh.append((place, closes))
        return fresh

    def _arm(self, place: Place, identity: tuple[int, int]) -> bool | None:
        """Watch a place; return whether ends are told, or None where it is gone meanwhile."""
        try:
            try:
                return self._schedule(place, identity, polling=self._polling)
            except OSError as error:
                if error.errno not in _LIMITS or self._polling:
                    raise
                _LOG.warning(
                    "%s is looked at each second, for the system has no watches left: raise "
                    "fs.inotify.max_user_watches and fs.inotify.max_user_instances.",
                    place.path,
                )
                return self._schedule(place, identity, polling=True)
        except OSError as error:
            _LOG.debug("%s cannot be watched yet: %s", place.path, error)
            return None

    def _schedule(self, place: Place, identity: tuple[int, int], *, polling: bool) -> bool:
        closes = sys.platform == "linux" and not polling
        observer = self._observer(polling=polling)
        real = os.path.realpath(place.path)
        events: list[type[FileSystemEvent]] = [FileCreatedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent]
        events.append(FileClosedEvent if closes else FileModifiedEvent)
        handler = _Handler(place, real.rstrip(os.sep) + os.sep, closes, self._put, self._passed)
        watch = observer.schedule(handler, real, recursive=True, event_filter=events)
        emitter = next(one for one in observer.emitters if one.watch == watch)
        self._armed[place] = _Armed(identity, observer, emitter)
        _LOG.debug("%s is watched.", place.path)
        return closes

    def _observer(self, *, polling: bool) -> BaseObserver:
        observer = self._observers.get(polling)
        if observer is None:
            observer = PollingObserver(timeout=_POLL) if polling else _system_observer(self._put)
            self._observers[polling] = observer
            observer.start()
        return observer

    def stop(self) -> None:
        """End every thread of watchdog's."""
        for observer in self._observers.values():
            observer.stop()
        for observer in self._observers.values():
            observer.join()
        self._observers.clear()
        self._armed.clear()
        self._quiet.close()


def _system_observer(put: Put) -> BaseObserver:
    if sys.platform == "linux":
        from tracelet.builtin.filesystem.inotify import OverflowObserver

        return OverflowObserver(partial(put, News("overflow")))
    from watchdog.observers import Observer

    return Observer()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
