"""The order in which things are submitted, whatever the machine's clock says."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tracelet.core.storage.paths import physical_name
from tracelet.core.system.files import make_folder, share

__all__ = ["Clock", "clock_of"]

_DIGITS = 20
#: Nanoseconds since the epoch in the year 2286: what is beyond was not written by a clock.
_LATEST = 10 ** (_DIGITS - 1)
#: How often, and with how many seconds between, a lock is asked for that others have for some microseconds.
_TRIES, _PAUSE = 50, 0.002


class Clock:
    """Numbers that only grow, for all processes that share a file: the time in nanoseconds, or what follows the last one.

    The file holds the last number. It need not outlive a power cut, for the time has gone on by then. Where it cannot be
    read or written, the number is the time alone.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._given = 0
        #: How often somebody else had taken the number before the one that was given out here.
        self.others = 0

    def tick(self) -> int:
        """Return the next number."""
        now = time.time_ns()
        with contextlib.suppress(OSError):
            make_folder(self._file.parent)
            # Whoever put a link or a pipe in its place is not followed, and not waited for.
            file = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                with _alone(file):
                    now = self._next(file, now)
            finally:
                os.close(file)
        return now

    def _next(self, file: int, now: int) -> int:
        text = os.read(file, _DIGITS + 1)
        if not text:  # it is new
            share(self._file)
        last = int(text) if text.isdigit() and len(text) <= _DIGITS else 0
        number = max(now, last + 1) if last < _LATEST else now
        self.others += self._given != last
        self._given = number
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, b"%0*d" % (_DIGITS, number))
        return number


def clock_of(directory: Path, experiment: str) -> Clock:
    """Return what gives each submission to an experiment of a tracelet directory its place in their order."""
    return Clock(directory / "clock" / physical_name(experiment))


@contextlib.contextmanager
def _alone(file: int) -> Iterator[None]:
    """Keep other processes out, but do not wait for one that was stopped in the middle."""
    import fcntl

    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            break
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
