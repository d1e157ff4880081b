"""Tells whether a request without a limit makes progress, or stalls.

Where the system counts the bytes that processes read and write, the count tells. Elsewhere the process that serves the request
says from time to time how long it has been at work: see ``beat`` in :mod:`tracelet.worker`. A process that waits for a slow line
is hardly at work, so it also gets the time that the bytes of its request need at the slowest rate that counts as progress.
"""

from __future__ import annotations

import json
import time
from typing import Protocol

from tracelet.core.system.processes import io_bytes

__all__ = ["BEAT", "Progress", "beat_line", "progress_of"]

#: The beginning of a line that is a beat, and no answer.
BEAT = b'{"kind": "beat"'
#: Fewer bytes than this in the time of a stall are no progress: a client that only retries moves some, too.
_PROGRESS = 1 << 20
#: And so is a smaller part of that time at work.
_AT_WORK = 0.002
#: Beats in the time of a stall.
_BEATS = 4


class Progress(Protocol):
    """Follows one request."""

    #: Seconds between two beats of the process that serves it; None where beats are not needed.
    beat: float | None

    def note(self, line: bytes) -> bool:
        """Take a line that the process wrote; return whether it was a beat."""
        ...

    def made(self) -> bool:
        """Return whether there was progress since the beginning, or since the last call of this. The time of a stall has passed."""
        ...


class _Bytes:
    """Follows a request by the bytes that are counted for the processes with a token."""

    beat: float | None = None

    def __init__(self, token: str, moved: int) -> None:
        self._token = token
        self._moved = moved

    def note(self, line: bytes) -> bool:
        return False

    def made(self) -> bool:
        before, self._moved = self._moved, io_bytes(self._token) or 0
        return self._moved >= before + _PROGRESS


class _Beats:
    """Follows a request by the beats of its process, and by the time that its bytes may take."""

    def __init__(self, size_bytes: int, stall: float) -> None:
        self.beat: float | None = stall / _BEATS
        self._enough = stall * _AT_WORK
        self._patient_until = time.monotonic() + size_bytes / _PROGRESS * stall
        self._worked: float | None = None
        self._before: float | None = None

    def note(self, line: bytes) -> bool:
        if not line.startswith(BEAT):
            return False
        self._worked = float(json.loads(line)["worked"])
        if self._before is None:
            self._before = self._worked
        return True

    def made(self) -> bool:
        before, self._before = self._before, self._worked
        worked = self._worked is not None and before is not None and self._worked >= before + self._enough
        return worked or time.monotonic() < self._patient_until


def progress_of(token: str, size_bytes: int, stall: float) -> Progress:
    """Follow a request of ``size_bytes`` that the processes with a token serve; it stalls after ``stall`` seconds without progress."""
    moved = io_bytes(token)
    return _Beats(size_bytes, stall) if moved is None else _Bytes(token, moved)


def beat_line() -> bytes:
    """Return a beat: how long this process has been at work, without the thread that says so."""
    return BEAT + b', "worked": %.6f}\n' % (time.process_time() - time.thread_time())
