"""Checkpoints that a thread of Lightning's writes: they are reported once they are complete."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tracelet.plugin import saving
from tracelet_lightning.failures import log_failure

__all__ = ["wait_for_all", "wait_for_earlier", "when_written", "writer_of"]

#: Seconds that a save may wait until an earlier checkpoint, which Lightning may delete next, is reported.
_MAX_WAIT = 10.0


@attrs.frozen(eq=False)
class _Pending:
    """A checkpoint that is being written."""

    path: Path
    #: What :func:`_stamp` returned before it was written.
    before: tuple[int, int] | None
    reported: threading.Event = attrs.field(factory=threading.Event)


_PENDING: set[_Pending] = set()


def writer_of(trainer: Any) -> ThreadPoolExecutor | None:
    """Return the thread that writes this Trainer's checkpoints, if it has one; the thread does one thing after another."""
    # The public property makes a new inner writer each time that it is read.
    io = getattr(trainer.strategy, "_checkpoint_io", None)
    while io is not None:
        executor = getattr(io, "_executor", None)
        if isinstance(executor, ThreadPoolExecutor):
            return executor
        io = getattr(io, "checkpoint_io", None)
    return None


def when_written(writer: ThreadPoolExecutor, path: Path, report: Callable[[], None]) -> None:
    """Call ``report`` once the thread has written the file, and keep other detectors from the file until then."""
    being_saved = saving(path)
    context = contextvars.copy_context()
    context.run(being_saved.__enter__)
    pending = _Pending(path, _stamp(path))
    _PENDING.add(pending)

    def finish() -> None:
        try:
            with log_failure(str(path)):
                context.run(report)
        finally:
            context.run(being_saved.__exit__, None, None, None)
            _PENDING.discard(pending)
            pending.reported.set()

    try:
        writer.submit(finish)
    except RuntimeError:
        # The thread has ended and takes no more work, so that the file is there.
        finish()


def wait_for_earlier(path: Path) -> None:
    """Wait until earlier checkpoints that are written are reported too: after the save of ``path`` Lightning may delete them."""
    for pending in list(_PENDING):
        now = _stamp(pending.path)
        if pending.path != path and now is not None and now != pending.before:
            pending.reported.wait(_MAX_WAIT)


def wait_for_all(seconds: float) -> None:
    """Wait until all checkpoints are written and reported, for ``seconds`` at most."""
    until = time.monotonic() + seconds
    for pending in list(_PENDING):
        pending.reported.wait(max(0.0, until - time.monotonic()))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the inode of a file and the time of its last change, or None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
