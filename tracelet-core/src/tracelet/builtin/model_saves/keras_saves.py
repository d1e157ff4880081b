"""Functions of Keras that save, and its callback ``ModelCheckpoint``, which calls them in the course of a training."""

from __future__ import annotations

import contextvars
import math
import numbers
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.model_saves.models import describe
from tracelet.builtin.saves.destinations import Destination, file_destination, logger
from tracelet.builtin.saves.save import Args, Kwargs, Save, argument, to_file
from tracelet.builtin.saves.watching import Tell
from tracelet.builtin.saves.what import What
from tracelet.plugin import ArtifactType

__all__ = ["CHECKPOINTS", "KERAS_SAVES", "Checkpoints"]

#: A field of a pattern for file names, and what parts it from the words around it.
_FIELD = re.compile(r"[-_.=]*\{[^{}]*\}")
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@attrs.frozen
class _Moment:
    """When in a training a ``ModelCheckpoint`` is asked to save."""

    callback: Any
    #: Both count from 0, as Keras gives them.
    epoch: int | None
    batch: int | None
    logs: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """Epoch and batch count from 1, as in the names that Keras gives to files."""
        counted = {"epoch": self.epoch, "batch": self.batch}
        metrics = {
            key: float(value)
            for key, value in self.logs.items()
            if isinstance(value, numbers.Real) and math.isfinite(value)
        }
        return {**{key: value + 1 for key, value in counted.items() if value is not None}, "metrics": metrics}

    @property
    def aliases(self) -> tuple[str, ...]:
        return ("best", "last") if self.callback.save_best_only else ("last",)

    def name(self, kind: ArtifactType) -> str | None:
        """Return one name for all files of a pattern such as ``net-{epoch}.keras``; None where it has no fields."""
        pattern = Path(self.callback.filepath).name
        if not _FIELD.search(pattern):
            return None
        stem = _NO_NAME.sub("-", Path(_FIELD.sub("", pattern.rpartition(".")[0])).name).strip("-_.")
        return stem if stem.endswith(kind.value) else f"{stem}-{kind.value}".lstrip("-")


_MOMENT: contextvars.ContextVar[_Moment | None] = contextvars.ContextVar("tracelet_keras_moment", default=None)


@attrs.frozen(eq=False)
class Checkpoints:
    """A method of ``ModelCheckpoint`` that may save: what is saved meanwhile is a checkpoint."""

    switch: str
    module: str
    function: str
    #: Whether it is called after a batch, and not after an epoch.
    batches: bool

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: Args, kwargs: Kwargs, tell: Tell) -> Any:
        """Note the moment, and do what the method does. Raises what it raises."""
        callback = argument(args, kwargs, 0, "self")
        number = argument(args, kwargs, 1, "batch" if self.batches else "epoch")
        epoch, batch = (getattr(callback, "_current_epoch", None), number) if self.batches else (number, None)
        token = _MOMENT.set(_Moment(callback, epoch, batch, argument(args, kwargs, 2, "logs") or {}))
        try:
            return original(*args, **kwargs)
        finally:
            _MOMENT.reset(token)


def _weights_to_file(args: Args, kwargs: Kwargs) -> Destination | None:
    if argument(args, kwargs, 3, "max_shard_size") is not None:
        logger.debug("weights that Keras saves as several files are not captured.")
        return None
    return file_destination(argument(args, kwargs, 1, "filepath"))


def _what(kind: ArtifactType, in_training: ArtifactType) -> Callable[[Args, Kwargs, Destination], What]:
    def what(args: Args, kwargs: Kwargs, destination: Destination) -> What:
        metadata, moment = describe(args[0] if args else kwargs["model"]), _MOMENT.get()
        if moment is None:
            return What(kind, metadata)
        return What(in_training, {**metadata, **moment.metadata}, moment.name(in_training), moment.aliases)

    return what


_SAVING = "keras.src.saving.saving_api"
_CALLBACK = "keras.src.callbacks.model_checkpoint"
_MODEL = _what(ArtifactType.MODEL, ArtifactType.CHECKPOINT)
_WEIGHTS = _what(ArtifactType.WEIGHTS, ArtifactType.WEIGHTS)

KERAS_SAVES = (
    # The methods of models call these two.
    Save("keras", _SAVING, "save_model", to_file(1, "filepath"), _MODEL),
    Save("keras", _SAVING, "save_weights", _weights_to_file, _WEIGHTS),
    Save("keras", "keras.src.models.model", "Model.export", to_file(1, "filepath"), _MODEL),
)

CHECKPOINTS = (
    Checkpoints("keras", _CALLBACK, "ModelCheckpoint.on_epoch_end", batches=False),
    Checkpoints("keras", _CALLBACK, "ModelCheckpoint.on_train_batch_end", batches=True),
)
