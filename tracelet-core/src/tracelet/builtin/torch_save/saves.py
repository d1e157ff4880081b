"""The functions that are watched: where each is, what it is given, and what that makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import class_path
from tracelet.builtin.saves.destinations import (
    Destination,
    folder_destination,
    logger,
    parts_destination,
    shared_folder_destination,
)
from tracelet.builtin.saves.naming import lasting_checkpoint_name
from tracelet.builtin.saves.save import Args, Kwargs, Save, always, argument, to_file, to_folder
from tracelet.builtin.saves.what import LAST, What
from tracelet.builtin.torch_save.reading import progress_of, read
from tracelet.plugin import ArtifactType, checkpoint_name, progress_in

__all__ = ["SAVES"]


def _distributed(args: Args, kwargs: Kwargs) -> Destination | None:
    """The folder is named, or known to the writer, which could be the second argument once."""
    place = kwargs.get("checkpoint_id")
    return folder_destination(
        getattr(argument(args, kwargs, 1, "storage_writer"), "path", None) if place is None else place
    )


def _trained(args: Args, kwargs: Kwargs) -> Destination | None:
    """The folder is named, or the one that the trainer has its checkpoints in."""
    place = argument(args, kwargs, 1, "output_dir")
    return shared_folder_destination(args[0].args.output_dir if place is None else place)


def _shared_folder(position: int, name: str) -> Callable[[Args, Kwargs], Destination | None]:
    return lambda args, kwargs: shared_folder_destination(argument(args, kwargs, position, name))


def _accelerate(args: Args, kwargs: Kwargs) -> Destination | None:
    """The folder is named, or numbered by the accelerator."""
    accelerator, place = args[0], argument(args, kwargs, 1, "output_dir")
    if accelerator.project_configuration.automatic_checkpoint_naming:
        place = Path(accelerator.project_dir, "checkpoints", f"checkpoint_{accelerator.save_iteration}")
    return folder_destination(place)


def _deepspeed_tag(args: Args, kwargs: Kwargs) -> str:
    tag = argument(args, kwargs, 2, "tag")
    return f"global_step{args[0].global_steps}" if tag is None else str(tag)


def _deepspeed(args: Args, kwargs: Kwargs) -> Destination | None:
    """A folder of the tag, or of the step, and what DeepSpeed needs beside it to load from the folder that is named."""
    scripts = ("zero_to_fp32.py", "zero_to_torch.py")
    latest = () if kwargs.get("save_latest") is False or False in args[4:5] else ("latest",)
    return parts_destination(argument(args, kwargs, 1, "save_dir"), _deepspeed_tag(args, kwargs), *latest, *scripts)


def _object(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    thing = argument(args, kwargs, 0, "obj")
    kind, metadata = read(thing)
    if isinstance(thing, sys.modules["torch"].nn.Module):
        metadata = _described(thing, "torch")
    return What(kind, metadata)


def _sharded(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    progress = progress_of(argument(args, kwargs, 0, "state_dict"))
    path = destination.path
    return What(ArtifactType.CHECKPOINT, {**progress_in(path), **progress}, lasting_checkpoint_name(path), LAST)


def _state(folder: Path, library: str, name: str | None) -> What:
    """The state of a training by a library: folders that differ in a number are versions of one name."""
    return What(
        ArtifactType.CHECKPOINT,
        {**progress_in(folder), **_framework(library)},
        name,
        LAST,
    )


def _accelerate_state(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    return _state(destination.path, "accelerate", lasting_checkpoint_name(destination.path, "accelerate"))


def _deepspeed_state(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    folder = destination.path / _deepspeed_tag(args, kwargs)
    return _state(folder, "deepspeed", checkpoint_name(folder, "deepspeed"))


def _framework(library: str) -> dict[str, str]:
    return {"framework": f"{library} {getattr(sys.modules.get(library), '__version__', '')}".strip()}


def _described(model: Any, library: str) -> dict[str, str]:
    return {"class": class_path(type(model)), **_framework(library)}


def _folder_of(
    kind: ArtifactType, library: str, position: int = 0, name: str = "self"
) -> Callable[[Args, Kwargs, Destination], What]:
    """A model, which is this argument, or its weights, as a library saves it to a folder."""
    return lambda args, kwargs, destination: What(kind, _described(argument(args, kwargs, position, name), library))


def _model_or_adapter(args: Args, kwargs: Kwargs, destination: Destination) -> What:
    adapter = (destination.path / "adapter_config.json").exists()
    return What(ArtifactType.WEIGHTS if adapter else ArtifactType.MODEL, _described(args[0].model, "transformers"))


def _beside_a_model(args: Args, kwargs: Kwargs, destination: Destination) -> What | None:
    """A tokenizer makes the folder of a model complete; without a model there, the model's own save is still to come."""
    if destination.chosen is not None:
        logger.debug("%s is not captured: it holds more than a model.", destination.path)
        return None
    if any(destination.path.glob("*.safetensors")) or any(destination.path.glob("pytorch_model*.bin")):
        return What(ArtifactType.MODEL, _framework("transformers"))
    logger.debug("%s is not captured: there is no model in it yet.", destination.path)
    return None


_MODEL = always(ArtifactType.MODEL)
_pretrained = _shared_folder(1, "save_directory")

SAVES = (
    Save("save", "torch.serialization", "save", to_file(1, "f"), _object),
    Save("jit", "torch.jit._serialization", "save", to_file(1, "f"), _MODEL),
    Save("jit", "torch.jit._script", "RecursiveScriptModule.save", to_file(1, "f"), _MODEL),
    Save("export", "torch.export", "save", to_file(1, "f"), _MODEL),
    # `save_model` calls it.
    Save("safetensors", "safetensors.torch", "save_file", to_file(1, "filename"), always(ArtifactType.WEIGHTS)),
    # `async_save` calls it, in a thread.
    Save("distributed", "torch.distributed.checkpoint.state_dict_saver", "save", _distributed, _sharded),
    Save(
        "transformers",
        "transformers.modeling_utils",
        "PreTrainedModel.save_pretrained",
        _pretrained,
        _folder_of(ArtifactType.MODEL, "transformers"),
    ),
    Save(
        "transformers",
        "huggingface_hub.hub_mixin",
        "ModelHubMixin.save_pretrained",
        _pretrained,
        _folder_of(ArtifactType.MODEL, "huggingface_hub"),
    ),
    # `save_torch_model` calls it.
    Save(
        "transformers",
        "huggingface_hub.serialization._torch",
        "save_torch_state_dict",
        _shared_folder(1, "save_directory"),
        always(ArtifactType.WEIGHTS),
    ),
    Save(
        "transformers",
        "peft.peft_model",
        "PeftModel.save_pretrained",
        _pretrained,
        _folder_of(ArtifactType.WEIGHTS, "peft"),
    ),
    Save("transformers", "transformers.trainer", "Trainer.save_model", _trained, _model_or_adapter),
    Save(
        "transformers",
        "sentence_transformers.base.model",
        "BaseModel.save",
        _shared_folder(1, "path"),
        _folder_of(ArtifactType.MODEL, "sentence_transformers"),
    ),
    Save(
        "diffusers",
        "diffusers.pipelines.pipeline_utils",
        "DiffusionPipeline.save_pretrained",
        to_folder(1, "save_directory"),
        _folder_of(ArtifactType.MODEL, "diffusers"),
    ),
    Save(
        "diffusers",
        "diffusers.models.modeling_utils",
        "ModelMixin.save_pretrained",
        _pretrained,
        _folder_of(ArtifactType.MODEL, "diffusers"),
    ),
    Save("spacy", "spacy.language", "Language.to_disk", to_folder(1, "path"), _folder_of(ArtifactType.MODEL, "spacy")),
    Save("accelerate", "accelerate.accelerator", "Accelerator.save_state", _accelerate, _accelerate_state),
    Save(
        "accelerate",
        "accelerate.accelerator",
        "Accelerator.save_model",
        _shared_folder(2, "save_directory"),
        _folder_of(ArtifactType.WEIGHTS, "accelerate", 1, "model"),
    ),
    Save("deepspeed", "deepspeed.runtime.engine", "DeepSpeedEngine.save_checkpoint", _deepspeed, _deepspeed_state),
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
