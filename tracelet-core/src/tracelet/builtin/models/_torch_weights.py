"""The weights of a torch module: gathered where accelerate has put them elsewhere, refused where there are none.

A parameter can be a placeholder: on the meta device, lazy, fake, emptied by FSDP, or one process's share. To store it
would be to store a shape.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracelet.builtin.libraries import ancestry

__all__ = ["check_attributes", "check_weights", "gathered"]

_FSDP = "torch.distributed.fsdp.fully_sharded_data_parallel:FullyShardedDataParallel"
#: What accelerate puts on an instance, beside the hook itself.
_TRACES = ("_hf_hook", "_old_forward", "forward", "to", "cuda", "npu", "xpu", "mlu", "sdaa", "musa")
_WHOLE = (
    "it is one process's share. Gather the whole with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True)) in every process, and store that with torch.save "
    "and add_file"
)


def check_weights(torch: Any, model: Any) -> None:
    """Raise ``ValueError`` for the first parameter or buffer that holds no values, by name, with what to do."""
    for module in model.modules():
        if _FSDP in ancestry(module):
            raise ValueError(f"the module is sharded by FSDP: {_WHOLE}")
    for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for name, tensor in tensors:
            why = _emptiness(torch, tensor)
            if why:
                raise ValueError(f"its {kind} {name!r} holds no values: {why}")


def check_attributes(torch: Any, tensors: Iterable[Any]) -> None:
    """Raise ``ValueError`` for the first of the tensors among a module's plain attributes that holds no values."""
    for tensor in tensors:
        why = _emptiness(torch, tensor)
        if why:
            raise ValueError(f"a tensor of shape {tuple(tensor.shape)} among its attributes holds no values: {why}")


def _emptiness(torch: Any, tensor: Any) -> str:
    """Say why a tensor has no values, and what to do; nothing where it has."""
    classes = {cls.__name__ for cls in type(tensor).__mro__}
    if torch.nn.parameter.is_lazy(tensor):
        return "it is lazy and not initialised: call it on some data first"
    if classes & {"DTensor", "ShardedTensor"}:
        return _WHOLE
    if hasattr(tensor, "ds_id") and tensor.numel() == 0:
        return (
            "DeepSpeed has partitioned it: log the model within deepspeed.zero.GatheredParameters(model.parameters()), or "
            "add the files of save_checkpoint"
        )
    if "FakeTensor" in classes:
        return "it is fake: build the model outside FakeTensorMode and load its weights"
    if tensor.is_meta:
        return (
            "it is on the meta device: load the weights, such as with load_state_dict(…, assign=True), or add the files "
            "that hold them with add_file"
        )
    if hasattr(tensor, "__tensor_flatten__"):
        inner = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        return next(filter(None, (_emptiness(torch, one) for one in inner)), "")
    if (
        type(tensor) in {torch.Tensor, torch.nn.Parameter}
        and tensor.layout == torch.strided
        and tensor.numel()
        and not tensor.untyped_storage().nbytes()
    ):
        return "its memory was given back, as FSDP does between two steps: gather it first, as with summon_full_params"
    return ""


def gathered(torch: Any, model: Any) -> Any:
    """Return the module itself, or where accelerate's hooks are on it a twin without them, that has all weights.

    The twin shares with the module whatever is in memory. Raises ``ValueError`` where it cannot be made.
    """
    hooks = [vars(module)["_hf_hook"] for module in model.modules() if "_hf_hook" in vars(module)]
    if not hooks:
        return model
    shared = [*hooks, *model.parameters(), *model.buffers()]
    try:
        twin = copy.deepcopy(model, {id(one): one for one in shared})
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"accelerate's hooks are on it, and it cannot be copied without them ({error}): say "
            "accelerate.hooks.remove_hook_from_submodules(model) first"
        ) from error
    whole: dict[Any, Any] = {}
    for module in list(twin.modules()):
        if "_hf_hook" in vars(module):
            for hook in _each(vars(module)["_hf_hook"]):
                _bring(torch, module, hook, whole)
            _unhook(module)
    return twin


def _each(hook: Any) -> Iterator[Any]:
    for one in getattr(hook, "hooks", ()):
        yield from _each(one)
    yield hook


def _bring(torch: Any, module: Any, hook: Any, whole: dict[Any, Any]) -> None:
    """Put the weights that a hook keeps where they belong; what was tied is tied again."""
    weights = getattr(hook, "weights_map", None)
    if not isinstance(weights, Mapping):
        return
    for prefix, owner in module.named_modules() if hook.place_submodules else [("", module)]:
        for kept in (owner._parameters, owner._buffers):
            for name, placeholder in kept.items():
                key = f"{prefix}.{name}" if prefix else name
                if placeholder is None or not placeholder.is_meta or key not in weights:
                    continue
                value = weights[key]
                same = (kept is owner._buffers, value.data_ptr(), value.shape, value.dtype, value.stride())
                if kept is owner._parameters and same not in whole:
                    whole[same] = torch.nn.Parameter(value, requires_grad=placeholder.requires_grad)
                kept[name] = whole.setdefault(same, value)


def _unhook(module: Any) -> None:
    own = vars(module)
    before = own.get("_old_forward")
    for name in _TRACES:
        own.pop(name, None)
    if getattr(before, "__func__", None) is not type(module).forward and before is not None:
        own["forward"] = before
