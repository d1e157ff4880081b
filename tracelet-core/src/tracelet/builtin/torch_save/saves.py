"""The functions that are watched: where each is, what it is given, and what that makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.torch_save.destinations import (
    Destination,
    file_destination,
    folder_destination,
    logger,
    shared_folder_destination,
)
from tracelet.builtin.torch_save.naming import checkpoint_name, progress_in
from tracelet.builtin.torch_save.reading import progress_of, read
from tracelet.builtin.torch_save.watching import Tell, guarded
from tracelet.builtin.torch_save.what import What
from tracelet.plugin import ArtifactType, saving

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
    what: Callable[[_Args, _Kwargs, Destination], What | None]

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: _Args, kwargs: _Kwargs, tell: Tell) -> Any:
        """Save, and tell of it. What the function raises passes through, and then there is nothing to tell."""
        destination: Destination | None = guarded(self, self.destination, args, kwargs)
        if destination is None:
            return original(*args, **kwargs)
        with saving(*destination.saved_paths) as outermost:
            result = original(*args, **kwargs)
            if outermost:
                guarded(destination.path, self._tell, destination, args, kwargs, tell)
            else:
                logger.debug("%s is not captured by %s: it is a part of another save.", destination.path, self)
        return result

    def _tell(self, destination: Destination, args: _Args, kwargs: _Kwargs, tell: Tell) -> None:
        what = self.what(args, kwargs, destination) if destination.complete() else None
        if what is not None:
            tell(destination, what)


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


def _trained(args: _Args, kwargs: _Kwargs) -> Destination | None:
    """The folder is named, or the one that the trainer has its checkpoints in."""
    place = _argument(args, kwargs, 1, "output_dir")
    return shared_folder_destination(args[0].args.output_dir if place is None else place)


def _shared_folder(position: int, name: str) -> Callable[[_Args, _Kwargs], Destination | None]:
    return lambda args, kwargs: shared_folder_destination(_argument(args, kwargs, position, name))


def _folder(position: int, name: str) -> Callable[[_Args, _Kwargs], Destination | None]:
    return lambda args, kwargs: folder_destination(_argument(args, kwargs, position, name))


def _accelerate(args: _Args, kwargs: _Kwargs) -> Destination | None:
    """The folder is named, or numbered by the accelerator."""
    accelerator, place = args[0], _argument(args, kwargs, 1, "output_dir")
    if accelerator.project_configuration.automatic_checkpoint_naming:
        place = Path(accelerator.project_dir, "checkpoints", f"checkpoint_{accelerator.save_iteration}")
    return folder_destination(place)


def _deepspeed(args: _Args, kwargs: _Kwargs) -> Destination | None:
    """A folder of the tag, or of the step, in the folder that is named."""
    place, tag = _argument(args, kwargs, 1, "save_dir"), _argument(args, kwargs, 2, "tag")
    return folder_destination(Path(place, tag or f"global_step{args[0].global_steps}"))


def _always(kind: ArtifactType) -> Callable[[_Args, _Kwargs, Destination], What]:
    return lambda args, kwargs, destination: What(kind)


def _object(args: _Args, kwargs: _Kwargs, destination: Destination) -> What:
    return What(*read(_argument(args, kwargs, 0, "obj")))


def _sharded(args: _Args, kwargs: _Kwargs, destination: Destination) -> What:
    progress = progress_of(_argument(args, kwargs, 0, "state_dict"))
    path = destination.path
    return What(ArtifactType.CHECKPOINT, {**progress_in(path), **progress}, checkpoint_name(path))


def _state_of(library: str) -> Callable[[_Args, _Kwargs, Destination], What]:
    """The state of a training by a library: folders that differ in a number are versions of one name."""
    return lambda args, kwargs, destination: What(
        ArtifactType.CHECKPOINT,
        {**progress_in(destination.path), "framework": f"{library} {sys.modules[library].__version__}"},
        checkpoint_name(destination.path, library),
    )


def _model_or_adapter(args: _Args, kwargs: _Kwargs, destination: Destination) -> What:
    adapter = (destination.path / "adapter_config.json").exists()
    return What(ArtifactType.WEIGHTS if adapter else ArtifactType.MODEL)


def _beside_a_model(args: _Args, kwargs: _Kwargs, destination: Destination) -> What | None:
    """A tokenizer makes the folder of a model complete; without a model there, the model's own save is still to come."""
    if destination.before is not None:
        logger.debug("%s is not captured: it holds more than a model.", destination.path)
        return None
    if any(destination.path.glob("*.safetensors")) or any(destination.path.glob("pytorch_model*.bin")):
        return What(ArtifactType.MODEL)
    logger.debug("%s is not captured: there is no model in it yet.", destination.path)
    return None


_MODEL = _always(ArtifactType.MODEL)
_pretrained = _shared_folder(1, "save_directory")

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
    Save("transformers", "peft.peft_model", "PeftModel.save_pretrained", _pretrained, _always(ArtifactType.WEIGHTS)),
    Save("transformers", "transformers.trainer", "Trainer.save_model", _trained, _model_or_adapter),
    Save("transformers", "sentence_transformers.base.model", "BaseModel.save", _shared_folder(1, "path"), _MODEL),
    Save(
        "diffusers",
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline.save_pretrained",
        _folder(1, "save_directory"),
        _MODEL,
    ),
    Save("diffusers", "diffusers.models.modeling_utils", "ModelMixin.save_pretrained", _pretrained, _MODEL),
    Save("spacy", "spacy.language", "Language.to_disk", _folder(1, "path"), _MODEL),
    Save("accelerate", "accelerate.accelerator", "Accelerator.save_state", _accelerate, _state_of("accelerate")),
    Save(
        "accelerate",
        "accelerate.accelerator",
        "Accelerator.save_model",
        _shared_folder(2, "save_directory"),
        _always(ArtifactType.WEIGHTS),
    ),
    Save(
        "deepspeed", "deepspeed.runtime.engine", "DeepSpeedEngine.save_checkpoint", _deepspeed, _state_of("deepspeed")
    ),
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
