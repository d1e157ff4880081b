"""Whether a request without a limit gets on, or stalls.

Where the system counts what processes read and write, that tells. Elsewhere the process that serves the request says from
time to time how long it has been at work: see ``beat`` in :mod:`tracelet.worker`. One that only waits for a slow line is hardly at
work, so it also gets the time that the bytes of its request need at the slowest rate that is none of a stall.
"""

from __future__ import annotations

import json
import time
from typing import Protocol

from tracelet.core.system.processes import io_bytes

__all__ = ["BEAT", "Progress", "beat_line", "progress_of"]

#: What a line begins with that is no answer, but a beat.
BEAT = b'{"kind": "beat"'
#: Fewer bytes than this in the time of a stall are no progress: a client that only retries moves some, too.
_PROGRESS = 1 << 20
#: And so is a smaller part of that time at work.
_AT_WORK = 0.002
#: Beats in the time of a stall.
_BEATS = 4


class Progress(Protocol):
    """How a request gets on."""

    #: Seconds between two beats of the process that serves it, or None where nobody needs them.
    beat: float | None

    def note(self, line: bytes) -> bool:
        """Take a line that the process wrote; say whether it was a beat."""
        ...

    def made(self) -> bool:
        """Whether it got on in the time of a stall, which has passed since the beginning, or since this was asked."""
        ...


class _Bytes:
    """By the bytes that are counted for the processes with a token."""

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
    """By the beats of a process, and the time that a number of bytes may take."""

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
    """Follow a request that moves so many bytes, served by the processes with a token; a stall is of so many seconds."""
    moved = io_bytes(token)
    return _Beats(size_bytes, stall) if moved is None else _Bytes(token, moved)


def beat_line() -> bytes:
    """Say how long this process has been at work, but for the thread that says it."""
    return BEAT + b', "worked": %.6f}\n' % (time.process_time() - time.thread_time())
