"""A checkpoint that a Trainer saves: whose it is, what it is called, and when it is complete."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tracelet.plugin import ArtifactType, Detection, saving
from tracelet_lightning import metadata, sessions
from tracelet_lightning.guard import LOG, guarded
from tracelet_lightning.savers import TUNER, aliases, saver

__all__ = ["saved", "settle"]

#: Seconds that a save may be held up until an earlier one, which may be deleted next, is kept.
_HOLD = 10.0


def saved(trainer: Any, filepath: Any, save: Callable[[], Any]) -> Any:
    """Run ``save``, report the checkpoint it wrote, and return what it returned. Raises what ``save`` raises."""
    path = _local(filepath)
    if path is None:
        LOG.debug("%s is not captured: it is not a file of this machine.", filepath)
        return save()
    by = saver(trainer, sys._getframe(2))
    with saving(path) as outermost:
        result = save()
        if outermost:
            with guarded(str(path)):
                _report(trainer, path, by)
    return result


def _local(filepath: Any) -> Path | None:
    """The absolute path; None for a URL, and for what is no path."""
    if not isinstance(filepath, (str, os.PathLike)):
        return None
    text = os.fspath(filepath)
    text = text.removeprefix("file://") if isinstance(text, str) else ""
    return None if not text or "://" in text else Path(os.path.abspath(text))


def _report(trainer: Any, path: Path, by: Any) -> None:
    if not trainer.is_global_zero:
        return
    if trainer.fast_dev_run or by is TUNER:
        LOG.debug("%s is not captured: it is saved by a trial run, or by a tuner.", path)
        return
    module = trainer.lightning_module
    detection = Detection(
        path=path,
        type=ArtifactType.CHECKPOINT,
        name=metadata.artifact_name(module, "checkpoint"),
        artifact_path=metadata.file_name(path.name),
        description=f"Checkpoint of {type(module).__name__}, epoch {trainer.current_epoch}, step {trainer.global_step}",
        metadata=metadata.of_checkpoint(trainer, by),
        aliases=aliases(trainer, path, by),
    )
    executor = _executor(trainer)
    if executor is None:
        _emit(detection)
    else:
        _emit_later(executor, detection)
    _hold(path)


def _emit(detection: Detection) -> None:
    assert detection.path is not None
    if not detection.path.exists():
        LOG.debug("%s is not captured: nothing was written.", detection.path)
        return
    for session in sessions.active():
        if session.settings.checkpoints:
            session.report(detection)


# -- checkpoints that are written by a thread


def _executor(trainer: Any) -> ThreadPoolExecutor | None:
    """The thread that writes this Trainer's checkpoints, where there is one; it does one thing after another."""
    # The public property makes a new inner writer each time that it is read.
    io = getattr(trainer.strategy, "_checkpoint_io", None)
    while io is not None:
        executor = getattr(io, "_executor", None)
        if isinstance(executor, ThreadPoolExecutor):
            return executor
        io = getattr(io, "checkpoint_io", None)
    return None


@attrs.frozen(eq=False)
class _Later:
    """A checkpoint that is being written."""

    path: Path
    before: tuple[int, int] | None
    done: threading.Event = attrs.field(factory=threading.Event)


_LATER: set[_Later] = set()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _emit_later(executor: ThreadPoolExecutor, detection: Detection) -> None:
    """Emit when the thread has written what it was given before, and claim the file until then."""
    assert detection.path is not None
    claim = saving(detection.path)
    context = contextvars.copy_context()
    context.run(claim.__enter__)
    later = _Later(detection.path, _stamp(detection.path))
    _LATER.add(later)

    def emit() -> None:
        try:
            with guarded(str(detection.path)):
                context.run(_emit, detection)
        finally:
            context.run(claim.__exit__, None, None, None)
            _LATER.discard(later)
            later.done.set()

    try:
        executor.submit(emit)
    except RuntimeError:
        # It takes nothing more, so that it has ended, and the file is there.
        emit()


def _hold(path: Path) -> None:
    """Let no earlier checkpoint be deleted that is written and not kept yet: that is what follows a save."""
    for later in list(_LATER):
        now = _stamp(later.path)
        if later.path != path and now is not None and now != later.before:
            later.done.wait(_HOLD)


def settle(patience: float) -> None:
    """Wait, for so many seconds, until what is being written by threads is reported."""
    until = time.monotonic() + patience
    for later in list(_LATER):
        later.done.wait(max(0.0, until - time.monotonic()))
