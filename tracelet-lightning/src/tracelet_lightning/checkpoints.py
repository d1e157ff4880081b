"""A checkpoint that a Trainer saves: it is reported when its file is complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tracelet.plugin import ArtifactType, Detection, saving
from tracelet_lightning import async_checkpoints, metadata, sessions
from tracelet_lightning.aliases import aliases
from tracelet_lightning.failures import LOG, log_failure
from tracelet_lightning.names import artifact_name, class_of, file_name
from tracelet_lightning.savers import TUNER, saver

__all__ = ["capture_save"]


def capture_save(trainer: Any, filepath: Any, save: Callable[[], Any]) -> Any:
    """Run ``save``, report the checkpoint that it wrote, and return what it returned. Raises what ``save`` raises."""
    path = _local(filepath)
    if path is None:
        LOG.debug("%s is not captured: it is not a file of this machine.", filepath)
        return save()
    # This function is called by the wrapper of `save_checkpoint`, and that by the code that saves.
    callback = saver(trainer, sys._getframe(2))
    with saving(path) as outermost:
        result = save()
        if outermost:
            with log_failure(str(path)):
                _capture(trainer, path, callback)
    return result


def _local(filepath: Any) -> Path | None:
    """Return the absolute path, or None for a URL and for a value that is not a path."""
    if not isinstance(filepath, (str, os.PathLike)):
        return None
    text = os.fspath(filepath)
    text = text.removeprefix("file://") if isinstance(text, str) else ""
    return None if not text or "://" in text else Path(os.path.abspath(text))


def _capture(trainer: Any, path: Path, callback: Any) -> None:
    if not trainer.is_global_zero:
        return
    if trainer.fast_dev_run or callback is TUNER:
        LOG.debug("%s is not captured: a trial run or a tuner saves it.", path)
        return
    detection = _detection(trainer, path, callback)
    writer = async_checkpoints.writer_of(trainer)
    if writer is None:
        _report(path, detection)
    else:
        async_checkpoints.when_written(writer, path, partial(_report, path, detection))
    async_checkpoints.wait_for_earlier(path)


def _detection(trainer: Any, path: Path, callback: Any) -> Detection:
    module = trainer.lightning_module
    return Detection(
        path=path,
        type=ArtifactType.CHECKPOINT,
        name=artifact_name(module, "checkpoint"),
        artifact_path=file_name(_own_name(path, callback)),
        description=f"Checkpoint of {class_of(module).__name__}, epoch {trainer.current_epoch}, step {trainer.global_step}",
        metadata=metadata.of_checkpoint(trainer, callback),
        aliases=aliases(trainer, path, callback),
    )


def _own_name(path: Path, callback: Any) -> str:
    """Return the name that the callback gave the checkpoint: a metric such as ``val/acc`` puts a slash into it."""
    folder = _local(getattr(callback, "dirpath", None))
    return path.relative_to(folder).as_posix() if folder and folder in path.parents else path.name


def _report(path: Path, detection: Detection) -> None:
    if not path.exists():
        LOG.debug("%s is not captured: nothing was written.", path)
        return
    for session in sessions.active():
        if session.settings.checkpoints:
            session.report(detection)
