"""What is being saved: its type, and how far training had come.

====================================================================  ============
what it is                                                            type
====================================================================  ============
a module, a scripted or exported program                              MODEL
tensors and nothing else, alone or in dicts and lists; a state dict   WEIGHTS
an optimizer, a scheduler or a gradient scaler, or the state of one   CHECKPOINT
a dict with one of these in it                                        CHECKPOINT
a dict with a module or a state dict, and an epoch, step or loss      CHECKPOINT
a dict with a module in it, or with a state dict, and other things    MODEL, WEIGHTS
a data set                                                            DATASET
anything else                                                         CUSTOM
====================================================================  ============

A state dict is told from other tensors by what ``Module.state_dict()`` leaves on it, by parameters' names in it, or by
the name that it has in a larger dict. Numbers are read from a checkpoint's own keys, and the learning rate from its
optimizers where no key says it. A number is a Python or NumPy one, or a tensor without dimensions on the CPU: on
another device, reading it would make the program wait for that device.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Iterator
from typing import Any

from tracelet.plugin import ArtifactType

__all__ = ["progress_of", "read"]

#: The keys of metadata, and the keys of a checkpoint that they are read from, the first that has a number.
_PROGRESS = {
    "epoch": ("epoch", "current_epoch", "epoch_idx"),
    "global_step": ("global_step",),
    "step": ("step", "current_step", "iteration", "iter"),
    "learning_rate": ("learning_rate", "lr"),
}
_LOSS = "loss"
#: Keys that the states of optimizers, schedulers and gradient scalers have, all of one line.
_TRAINING_STATES = (
    frozenset({"state", "param_groups"}),
    frozenset({"last_epoch", "_step_count"}),
    frozenset({"last_epoch", "num_bad_epochs"}),
    frozenset({"last_epoch", "_last_lr"}),
    frozenset({"growth_factor", "backoff_factor"}),
)
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})
_PARAMETERS = frozenset({"weight", "bias"})
#: Words in the names that people give to a model's weights in a checkpoint.
_WEIGHTS_WORDS = ("model", "net", "state", "weight", "param", "ema")
#: How deep weights are looked for.
_DEPTH = 3
#: A longer list is no list of optimizers or of models.
_FEW = 64


def read(thing: Any) -> tuple[ArtifactType, dict[str, Any]]:
    """Tell what ``torch.save`` was given, and, of a checkpoint, its metadata."""
    # The parts of a dict are looked at below, by their names.
    kind = _kind(thing, 0 if isinstance(thing, dict) else _DEPTH)
    if kind == "training":
        return ArtifactType.CHECKPOINT, progress_of(thing)
    if kind is not None:
        return _TYPES[kind], {}
    if not isinstance(thing, dict):
        return ArtifactType.CUSTOM, {}
    parts = {_named_kind(key, value) for key, value in thing.items()}
    if parts and parts <= {"state", "tensors"}:
        return ArtifactType.WEIGHTS, {}
    progress = progress_of(thing)
    if "training" in parts or (progress and parts & {"module", "state"}):
        return ArtifactType.CHECKPOINT, progress
    return next((_TYPES[part] for part in ("module", "state") if part in parts), ArtifactType.CUSTOM), {}


_TYPES = {
    "module": ArtifactType.MODEL,
    "state": ArtifactType.WEIGHTS,
    "tensors": ArtifactType.WEIGHTS,
    "data": ArtifactType.DATASET,
}


def _named_kind(key: Any, value: Any) -> str | None:
    kind = _kind(value, _DEPTH)
    if kind == "tensors" and isinstance(key, str):
        whole = isinstance(value, (dict, list, tuple)) and any(word in key.lower() for word in _WEIGHTS_WORDS)
        return "state" if whole or _is_parameter(key) else kind
    return kind


def _kind(thing: Any, depth: int) -> str | None:
    """Say ``module``, ``training``, ``state`` (of a module), ``tensors``, ``data``, or None."""
    if type(thing) in _PLAIN:
        return None
    torch = sys.modules["torch"]
    if isinstance(thing, torch.Tensor):
        return "tensors"
    if isinstance(thing, dict):
        return _kind_of_dict(thing, torch, depth)
    if isinstance(thing, (list, tuple)):
        if thing and _all_tensors(thing, torch):
            return "tensors"
        kinds = {_kind(item, depth - 1) for item in thing} if depth and len(thing) <= _FEW else set()
        return kinds.pop() if len(kinds) == 1 else ("training" if "training" in kinds else None)
    return _kind_of_object(thing, torch)


def _kind_of_dict(thing: dict[Any, Any], torch: Any, depth: int) -> str | None:
    keys = thing.keys()
    if any(keys >= state for state in _TRAINING_STATES):
        return "training"
    if hasattr(thing, "_metadata"):
        return "state"
    if not thing:
        return None
    if _all_tensors(thing.values(), torch):
        return "state" if any(isinstance(key, str) and _is_parameter(key) for key in thing) else "tensors"
    kinds = {_kind(value, depth - 1) for value in thing.values()} if depth and len(thing) <= _FEW else {None}
    if kinds <= {"state", "tensors"}:
        return "state" if "state" in kinds else "tensors"
    return None


def _kind_of_object(thing: Any, torch: Any) -> str | None:
    if isinstance(thing, torch.nn.Module):
        return "module"
    optim = torch.optim
    if isinstance(thing, (optim.Optimizer, optim.lr_scheduler.LRScheduler)):
        return "training"
    return "data" if isinstance(thing, torch.utils.data.Dataset) else None


def _all_tensors(things: Any, torch: Any) -> bool:
    return all(issubclass(kind, torch.Tensor) for kind in set(map(type, things)))


def _is_parameter(key: str) -> bool:
    return key in _PARAMETERS or "." in key


def progress_of(state: Any) -> dict[str, Any]:
    """Return the metadata of a checkpoint: plain numbers, by the keys that :mod:`tracelet.builtin.torch_save` lists."""
    found: dict[str, Any] = {}
    if isinstance(state, dict):
        for name, keys in _PROGRESS.items():
            for key in keys:
                if key in state and (number := _number(state[key])) is not None:
                    found[name] = number
                    break
        for key, value in state.items():
            named = isinstance(key, str) and (key == _LOSS or key.endswith(f"_{_LOSS}"))
            if named and (number := _number(value)) is not None:
                found[key] = number
    if "learning_rate" not in found:
        rates = list(_rates(state, 2))
        if rates:
            found["learning_rate"] = rates[0] if len(set(rates)) == 1 else rates
    return found


def _rates(state: Any, depth: int) -> Iterator[int | float]:
    """Give the learning rates of the parameter groups of an optimizer, or of those in a dict or list."""
    groups = state.get("param_groups") if isinstance(state, dict) else getattr(state, "param_groups", None)
    if isinstance(groups, (list, tuple)):
        for group in groups:
            rate = _number(group.get("lr")) if isinstance(group, dict) else None
            if rate is not None:
                yield rate
    elif depth and isinstance(state, (dict, list, tuple)) and len(state) <= _FEW:
        for part in state.values() if isinstance(state, dict) else state:
            yield from _rates(part, depth - 1)


def _number(value: Any) -> int | float | None:
    """Return a plain number for one that can be read without waiting for a device; None for all else."""
    kind = type(value)
    if kind is int or kind is float:
        return value  # type: ignore[no-any-return]
    if kind in _PLAIN:
        return None
    torch = sys.modules["torch"]
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        readable = value.ndim == 0 and value.is_cpu
        return _number(value.item()) if readable else None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else None
