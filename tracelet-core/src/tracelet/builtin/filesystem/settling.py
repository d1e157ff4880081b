"""Files of which nobody said that they are complete: looked at until they are."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

import attrs

from tracelet.builtin.filesystem import FilesystemSettings
from tracelet.builtin.filesystem.places import Place
from tracelet.builtin.filesystem.stamps import Stamp, stamp_of
from tracelet.builtin.filesystem.writers import Writers, being_written, visible

__all__ = ["Settling"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds that the news of a file's end may need to come after that of its beginning.
_GRACE = 0.01
_SHARE = 4


@attrs.define
class _File:
    place: Place
    stamp: Stamp
    #: Whether its end would be told: then nobody who is seen to write it is enough.
    told: bool
    #: Monotonic seconds: of the last sign of writing, and of the next look.
    changed: float
    due: float
    wait: float
    #: Looks in a row that found it unchanged; the first look only begins the row.
    checks: int = -1
    busy: bool = False
    #: Whether a writer was seen to end, or it was moved here.
    closed: bool = False


class Settling:
    """Files that wait until they are complete.

    A file that a process is seen to write waits however long that takes; so one that was closed, and is being
    overwritten by now, is not taken for what it was. Of the others, one that was closed is complete, and one whose end
    would have been told and whose writers could be seen; so is one that has not changed, by its own time, for as long as
    the looks would take. The rest must look the same so many times, or until the longest wait is over.
    """

    def __init__(self, settings: FilesystemSettings, writers: Writers = being_written) -> None:
        """``writers`` tells which files are being written."""
        self._settings = settings
        self._writers = writers
        self._files: dict[str, _File] = {}
        self._due = float("inf")
        self._rest = 0.0

    @property
    def due(self) -> float:
        """The monotonic time of the next look; infinity where nothing waits."""
        return max(self._due, self._rest)

    def add(self, place: Place, path: str, stamp: Stamp, *, told: bool) -> None:
        """Wait for a file, from now on; ``told`` says that its end, if there is one to come, will be told."""
        if path in self._files:
            return
        now = time.monotonic()
        self._files[path] = _File(place, stamp, told, now, now + _GRACE, self._settings.interval)
        self._due = min(self._due, now + _GRACE)

    def close(self, place: Place, path: str, stamp: Stamp) -> None:
        """Say that a writer of a file ended, or that it was moved here: it is looked at next."""
        now = time.monotonic()
        file = self._files.setdefault(path, _File(place, stamp, True, now, now, self._settings.interval))
        file.closed, file.due = True, now
        self._due = min(self._due, now)

    def waits(self, path: str) -> bool:
        """Tell whether a file waits, or one in a folder."""
        return path in self._files or any(one.startswith(path + os.sep) for one in self._files)

    def touch(self, path: str) -> bool:
        """Say that a file changes; False where it does not wait."""
        file = self._files.get(path)
        if file is not None:
            file.changed, file.checks = time.monotonic(), 0
        return file is not None

    def complete(self) -> Iterator[tuple[Place, str, Stamp]]:
        """Look at the files whose time it is, and give those that are complete, with how they looked just before."""
        now = time.monotonic()
        if now < self.due:
            return
        looked = [(path, file, stamp_of(file.place, path)) for path, file in self._files.items() if file.due <= now]
        wanted = {(stamp.device, stamp.inode) for _, _, stamp in looked if stamp is not None}
        writing = self._writers(wanted) if wanted else set()
        # However many files there are, asking who writes them takes a quarter of the time at most.
        self._rest = now + _SHARE * (time.monotonic() - now)
        for path, file, stamp in looked:
            if stamp is None:
                _LOG.debug("%s is gone before it was complete.", path)
                del self._files[path]
            elif self._is_complete(path, file, stamp, writing, now):
                del self._files[path]
                yield file.place, path, stamp
        self._due = min((file.due for file in self._files.values()), default=float("inf"))

    def _is_complete(
        self, path: str, file: _File, stamp: Stamp, writing: set[tuple[int, int]] | None, now: float
    ) -> bool:
        settings = self._settings
        busy = writing is not None and (stamp.device, stamp.inode) in writing
        same, file.stamp = stamp == file.stamp, stamp
        if busy:
            if not file.busy:
                _LOG.debug("%s waits: it is being written.", path)
            file.due, file.wait = now + file.wait, min(2 * file.wait, settings.max_wait)
        else:
            file.due, file.wait = now + settings.interval, settings.interval
        file.busy = busy
        if busy or not same:
            file.changed, file.checks = now, 0
        else:
            file.checks += 1
        # While a file is opened anew it is empty already, and its writer is not to be seen yet: that may take milliseconds.
        if busy or (stamp.size == 0 and file.checks < 1):
            return False
        if file.closed:
            return True
        if writing is not None:
            age = time.time() - stamp.mtime_ns / 1e9
            if (file.told and visible(stamp.owner)) or age > settings.interval * settings.checks:
                return True
        return same and (file.checks >= settings.checks or now - file.changed >= settings.max_wait)

    def hurry(self) -> None:
        """Look once more, and at once, at those that are being written."""
        self._rest = 0.0
        for file in self._files.values():
            if file.busy:
                file.due = self._due = 0.0

    @property
    def only_busy(self) -> bool:
        """Whether nothing waits but what is being written."""
        return all(file.busy for file in self._files.values())

    def left(self) -> list[str]:
        """Return the files that wait."""
        return list(self._files)
