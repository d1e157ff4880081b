"""What the top object of a pickle is: the state of a training, a model, weights, a table, or none of these."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tracelet.core.capture.sniffing.pickles import Node, told_once

__all__ = ["COUNTERS", "MODEL_LIBRARIES", "PARTS", "WEIGHTS_WORDS", "is_model", "is_table", "is_training", "is_weights"]

#: Keys of a dict that count how far training came, in lower case.
COUNTERS = ("epoch", "epochs", "global_step", "step", "iteration")

#: Keys under which a training state has what its optimizers, schedulers and gradient scalers hold.
PARTS = (
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_states",
    "optimizer_state_dict",
    "opt_state",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "scheduler_state_dict",
    "scaler",
)

#: Words of which one is in a key under which a training state has arrays that are weights.
WEIGHTS_WORDS = ("model", "models", "net", "network", "weight", "weights", "param", "params", "parameters", "ema")

#: Packages whose pickled objects are models.
MODEL_LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost", "statsmodels", "keras")

_WORDS = frozenset(WEIGHTS_WORDS)
#: joblib's own objects in a pickle stand for arrays.
_TABLES = ("numpy", "pandas", "scipy", "polars", "pyarrow", "joblib")
_ARRAYS = ("numpy", "jax", "jaxlib", "joblib")
_TRAINERS = ("torch.optim", "torch.amp", "torch.cuda.amp")
#: Keys that the states of optimizers, schedulers and gradient scalers have, all of one line.
_STATES = (
    frozenset({"state", "param_groups"}),
    frozenset({"last_epoch", "_step_count"}),
    frozenset({"last_epoch", "num_bad_epochs"}),
    frozenset({"last_epoch", "_last_lr"}),
    frozenset({"growth_factor", "backoff_factor"}),
)
#: One of each that no other thing has.
_STATES_KEYS = ("param_groups", "_step_count", "num_bad_epochs", "_last_lr", "growth_factor")

#: How a pickle ends after a tensor, or after the ``_metadata`` of a module's state dict.
_ENDS_WITH_TENSORS = re.compile(
    rb"(?:R(?:q.|r.{4}|\x94)|[us]sb)(?:\(?[ue]|s|[t\x85-\x87](?:q.|r.{4}|\x94))*+\.\Z", re.DOTALL
)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Node) and value.kind == "tensor"


def _is_state_dict(value: Any) -> bool:
    """A dict of tensors; that of a module may hold other things too, and has its ``_metadata``."""
    if not isinstance(value, Node) or value.kind != "dict":
        return False
    if isinstance(value.state, Node) and "_metadata" in value.state.keys:
        return True
    return _has_tensors_alone(value)


@told_once
def _has_tensors_alone(node: Node) -> bool:
    """A dict or a list of tensors, with one at least."""
    every = len(node.keys) + len(node.items)
    return 0 < every == sum(map(_is_tensor, node.inside))


def is_module(value: Any) -> bool:
    """Tell whether it is an object with the state of a module of torch."""
    state = value.state if isinstance(value, Node) and value.kind == "made" else None
    return isinstance(state, Node) and {"_parameters", "_modules"} <= state.keys.keys()


def is_weights(top: Node) -> bool:
    """Tell whether there are tensors and nothing else: one, a list of them, a state dict, or several of these.

    Where it was not gone through, its end must be known and be one of tensors, and no key of a training state be in the
    rest that is there.
    """
    if top.end is not None and not _ENDS_WITH_TENSORS.search(top.end):
        return False
    return not _is_named(top, (*PARTS, *COUNTERS, *_STATES_KEYS)) and _is_of_tensors(top)


@told_once
def _is_of_tensors(top: Node) -> bool:
    """Tensors and nothing else, as far as it was seen."""
    if top.kind == "list":
        return _has_tensors_alone(top)
    if _is_tensor(top) or _is_state_dict(top):
        return True
    values = top.keys.values() if top.kind == "dict" else ()
    return bool(values) and all(_is_tensor(value) or _is_state_dict(value) for value in values)


def is_training(top: Node) -> bool:
    """Tell whether it is the state of a training, and not its history, its settings or its result.

    It is the state of an optimizer, a scheduler or a gradient scaler, or a dict that has one; a dict with weights and a
    counter; or a dict with a state dict and other things.
    """
    if _is_trainers(top):
        return True
    if top.kind != "dict":
        return False
    if _is_named(top, (*PARTS, *_STATES_KEYS)):
        return True
    if _is_state_dict(top):
        return False
    if any(_is_part(key.lower(), value) for key, value in top.keys.items()):
        return True
    if any(map(_is_state_dict, top.keys.values())) and not _is_of_tensors(top):
        return True
    counted = any(key.lower() in COUNTERS for key in top.keys) or _is_named(top, COUNTERS)
    return counted and any(_has_weights(key.lower(), value) for key, value in top.keys.items())


def _is_named(top: Node, keys: Iterable[str]) -> bool:
    """One of these is a whole text in what was not gone through."""
    return bool(top.unread) and any(text in top.unread for key in keys for text in _written(key))


def _written(key: str) -> tuple[bytes, bytes]:
    """A text as protocols 2 and 3 write it, and as 4 and 5 do."""
    text = key.encode()
    return b"X" + len(text).to_bytes(4, "little") + text, b"\x8c" + len(text).to_bytes(1, "little") + text


def _is_trainers(value: Any) -> bool:
    """An optimizer, a scheduler or a gradient scaler, or the state of one."""
    if not isinstance(value, Node):
        return False
    if value.kind == "made":
        return value.of.partition(" ")[0].startswith(_TRAINERS)
    return any(state <= value.keys.keys() for state in _STATES)


def _is_part(key: str, value: Any) -> bool:
    """What a dict has under this key, if it is a trainer's; by the usual keys also one that is not seen to its end."""
    if _is_trainers(value):
        return True
    if not isinstance(value, Node):
        return False
    if value.kind == "list":
        return _has_trainers(value) or (key in PARTS and _has_begun(value))
    return key in PARTS and (_is_begun(value) or _is_arrays(value))


@told_once
def _has_trainers(node: Node) -> bool:
    return any(map(_is_trainers, node.inside))


@told_once
def _has_begun(node: Node) -> bool:
    return any(map(_is_begun, node.inside))


def _is_begun(value: Any) -> bool:
    """The first part of an optimizer's state: what follows may be beyond of what is read."""
    return isinstance(value, Node) and value.kind == "dict" and isinstance(value.keys.get("state"), Node)


def _has_weights(key: str, value: Any) -> bool:
    if not isinstance(value, Node) or _is_tensor(value):
        return False
    named = not _WORDS.isdisjoint(re.findall("[a-z]+", key))
    return is_model(value) or (value.kind == "dict" and _is_of_tensors(value)) or (named and _is_arrays(value))


def _is_arrays(value: Any) -> bool:
    """A dict or a list with an array in it, at whichever depth."""
    waiting, seen = [value], []
    while waiting:
        one = waiting.pop()
        # One object may be in many places, and in itself.
        if isinstance(one, Node) and one.kind in ("dict", "list") and not one.barren:
            one.barren = True
            seen.append(one)
            if any(map(_is_array, one.inside)):
                for each in seen:
                    each.barren = False
                return True
            waiting.extend(one.inside)
    return False


def _is_array(one: Node) -> bool:
    module, _, name = one.of.partition(" ")
    made = one.kind == "made" and module.partition(".")[0] in _ARRAYS and name != "scalar"
    return made or _is_tensor(one)


@told_once
def is_model(top: Node) -> bool:
    """Tell whether it is a module of torch, an object of a library of models, or a dict or a list that holds one."""
    return _is_one_model(top) or (top.kind in ("dict", "list") and any(map(_is_one_model, top.inside)))


def _is_one_model(top: Node) -> bool:
    return is_module(top) or (top.kind == "made" and top.of.partition(" ")[0].partition(".")[0] in MODEL_LIBRARIES)


def is_table(top: Node) -> bool:
    """Tell whether it is an array or a table of a library of these, or a list of nothing else.

    So is a dict of nothing else, if it was gone through: what was not seen of it may be a model.
    """
    if top.kind == "dict" and top.end is None:
        return bool(top.keys) and len(top.inside) == len(top.keys) and all(map(_is_one_table, top.inside))
    if top.kind == "list":
        return bool(top.items) and len(top.inside) == len(top.items) and all(map(_is_one_table, top.inside))
    return _is_one_table(top)


def _is_one_table(node: Node) -> bool:
    module, _, name = node.of.partition(" ")
    # A single number and a source of random ones are no tables.
    return (
        node.kind == "made"
        and module.partition(".")[0] in _TABLES
        and not module.startswith("numpy.random")
        and name != "scalar"
    )
