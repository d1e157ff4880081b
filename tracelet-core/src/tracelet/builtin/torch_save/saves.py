"""The functions that are watched: where each is, what it is given, and what that makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tracelet.builtin.torch_save.destinations import (
    Destination,
    file_destination,
    folder_destination,
    logger,
    shared_folder_destination,
)
from tracelet.builtin.torch_save.reading import progress_of, read
from tracelet.plugin import ArtifactType

__all__ = ["SAVES", "Save"]

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


@attrs.frozen(eq=False)
class Save:
    """One function that saves."""

    #: The setting that says whether it is watched.
    switch: str
    #: The module that defines it.
    module: str
    #: Its name there.
    function: str
    #: Where a call saves to; None where that cannot be captured.
    destination: Callable[[_Args, _Kwargs], Destination | None]
    #: What a call saves, once it is saved; None where it is not to be captured.
    what: Callable[[_Args, _Kwargs, Destination], tuple[ArtifactType, dict[str, Any]] | None]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"


def _argument(args: _Args, kwargs: _Kwargs, position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _to_file(position: int, name: str) -> Callable[[_Args, _Kwargs], Destination | None]:
    return lambda args, kwargs: file_destination(_argument(args, kwargs, position, name))


def _distributed(args: _Args, kwargs: _Kwargs) -> Destination | None:
    """The folder is named, or known to the writer, which could be the second argument once."""
    place = kwargs.get("checkpoint_id")
    return folder_destination(
        getattr(_argument(args, kwargs, 1, "storage_writer"), "path", None) if place is None else place
    )


def _pretrained(args: _Args, kwargs: _Kwargs) -> Destination | None:
    return shared_folder_destination(_argument(args, kwargs, 1, "save_directory"))


def _always(kind: ArtifactType) -> Callable[[_Args, _Kwargs, Destination], tuple[ArtifactType, dict[str, Any]]]:
    return lambda args, kwargs, destination: (kind, {})


def _object(args: _Args, kwargs: _Kwargs, destination: Destination) -> tuple[ArtifactType, dict[str, Any]]:
    return read(_argument(args, kwargs, 0, "obj"))


def _sharded(args: _Args, kwargs: _Kwargs, destination: Destination) -> tuple[ArtifactType, dict[str, Any]]:
    return ArtifactType.CHECKPOINT, progress_of(_argument(args, kwargs, 0, "state_dict"))


def _beside_a_model(
    args: _Args, kwargs: _Kwargs, destination: Destination
) -> tuple[ArtifactType, dict[str, Any]] | None:
    """A tokenizer makes the folder of a model complete; without a model there, the model's own save is still to come."""
    if destination.before is not None:
        logger.debug("%s is not captured: it holds more than a model.", destination.path)
        return None
    if any(destination.path.glob("*.safetensors")) or any(destination.path.glob("pytorch_model*.bin")):
        return ArtifactType.MODEL, {}
    logger.debug("%s is not captured: there is no model in it yet.", destination.path)
    return None


_MODEL = _always(ArtifactType.MODEL)

SAVES = (
    Save("save", "torch.serialization", "save", _to_file(1, "f"), _object),
    Save("jit", "torch.jit._serialization", "save", _to_file(1, "f"), _MODEL),
    Save("jit", "torch.jit._script", "RecursiveScriptModule.save", _to_file(1, "f"), _MODEL),
    Save("export", "torch.export", "save", _to_file(1, "f"), _MODEL),
    # `save_model` calls it.
    Save("safetensors", "safetensors.torch", "save_file", _to_file(1, "filename"), _always(ArtifactType.WEIGHTS)),
    # `async_save` calls it, in a thread.
    Save("distributed", "torch.distributed.checkpoint.state_dict_saver", "save", _distributed, _sharded),
    Save("transformers", "transformers.modeling_utils", "PreTrainedModel.save_pretrained", _pretrained, _MODEL),
    Save("transformers", "huggingface_hub.hub_mixin", "ModelHubMixin.save_pretrained", _pretrained, _MODEL),
    Save(
        "transformers",
        "transformers.tokenization_utils_base",
        "PreTrainedTokenizerBase.save_pretrained",
        _pretrained,
        _beside_a_model,
    ),
    Save(
        "transformers",
        "transformers.processing_utils",
        "ProcessorMixin.save_pretrained",
        _pretrained,
        _beside_a_model,
    ),
)
