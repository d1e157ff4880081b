"""Functions of Keras that save, and its callback ``ModelCheckpoint``, which calls them in the course of a training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.model_saves.models import describe
from tracelet.builtin.model_saves.moments import Checkpoints, finite, told
from tracelet.builtin.saves.destinations import Destination, file_destination, logger
from tracelet.builtin.saves.save import Args, Kwargs, Save, argument, to_file
from tracelet.builtin.saves.what import LAST, What
from tracelet.plugin import ArtifactType, readable_name

__all__ = ["KERAS_CALLBACKS", "KERAS_SAVES"]

#: A field of a pattern for file names, and what parts it from the words around it.
_FIELD = re.compile(r"[-_.=]*\{[^{}]*\}")

#: Characters of a name without its ending.
_LONGEST = 100


@attrs.frozen
class _Moment:
    """When in a training a ``ModelCheckpoint`` is asked to save."""

    callback: Any
    #: Both count from 0, as Keras gives them.
    epoch: int | None
    batch: int | None
    logs: dict[str, Any]

    @property
    def aliases(self) -> tuple[str, ...]:
        return ("best", *LAST) if self.callback.save_best_only else LAST

    def metadata(self, destination: Destination) -> dict[str, Any]:
        """Epoch and batch count from 1, as in the names that Keras gives to files."""
        counted = {"epoch": self.epoch, "batch": self.batch}
        return {
            **{key: value + 1 for key, value in counted.items() if value is not None},
            "metrics": finite(self.logs),
        }

    def name(self, kind: ArtifactType, destination: Destination) -> str | None:
        """A pattern such as ``net-{epoch}.keras`` has the name of what is in it beside the fields."""
        pattern = Path(self.callback.filepath).name
        if not _FIELD.search(pattern):
            return None
        stem = readable_name(Path(_FIELD.sub("", pattern.rpartition(".")[0])).name, _LONGEST)
        return stem if stem.endswith(kind.value) else f"{stem}-{kind.value}".lstrip("-")


def _after_epoch(args: Args, kwargs: Kwargs) -> _Moment:
    return _Moment(args[0], argument(args, kwargs, 1, "epoch"), None, argument(args, kwargs, 2, "logs") or {})


def _after_batch(args: Args, kwargs: Kwargs) -> _Moment:
    epoch = getattr(args[0], "_current_epoch", None)
    return _Moment(args[0], epoch, argument(args, kwargs, 1, "batch"), argument(args, kwargs, 2, "logs") or {})


def _weights_to_file(args: Args, kwargs: Kwargs) -> Destination | None:
    if argument(args, kwargs, 3, "max_shard_size") is not None:
        logger.debug("weights that Keras saves as several files are not captured.")
        return None
    return file_destination(argument(args, kwargs, 1, "filepath"))


def _model(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    return told(ArtifactType.MODEL, _described(args, kwargs), destination, in_training=ArtifactType.CHECKPOINT)


def _weights(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    return told(ArtifactType.WEIGHTS, _described(args, kwargs), destination)


def _described(args: Args, kwargs: Kwargs) -> dict[str, Any]:
    return describe(argument(args, kwargs, 0, "model"))


_SAVING = "keras.src.saving.saving_api"
_CALLBACK = "keras.src.callbacks.model_checkpoint"

KERAS_SAVES = (
    # The methods of models call these two.
    Save("keras", _SAVING, "save_model", to_file(1, "filepath"), _model),
    Save("keras", _SAVING, "save_weights", _weights_to_file, _weights),
    Save("keras", "keras.src.models.model", "Model.export", to_file(1, "filepath"), _model),
)

KERAS_CALLBACKS = (
    Checkpoints("keras", _CALLBACK, "ModelCheckpoint.on_epoch_end", _after_epoch),
    Checkpoints("keras", _CALLBACK, "ModelCheckpoint.on_train_batch_end", _after_batch),
)
