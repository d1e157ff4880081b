"""What shows that values are predictions of the model, and no losses of the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from tracelet_lightning.rows import is_tensor, plain_tensor
from tracelet_lightning.sample_values import MAX_COLUMNS, Columns, Images
from tracelet_lightning.texts import TokenIds

__all__ = ["is_derived", "may_be_loss", "sees_target"]

_MAX_DEPTH = 3


def sees_target(module: Any, arguments: Any, batch: Any, targets: tuple[Any, ...]) -> bool:
    """Whether a module was given the targets, so that it may have put out losses."""
    torch = import_module("torch")
    metric = all(callable(getattr(module, name, None)) for name in ("update", "compute", "reset"))
    if metric or isinstance(module, torch.nn.modules.loss._Loss):
        return True
    given = list(_flat(arguments))
    tensors = [one for one in given if plain_tensor(one) is not None]
    wanted = [one for one in map(plain_tensor, targets) if one is not None]
    if any(one is batch or any(one is target for target in targets) for one in given):
        return True
    places = {_place(target) for target in wanted}
    counts = {target.numel() for target in wanted}
    # A step may convert its targets before it hands them to a loss, with the predictions.
    return any(_place(one) in places for one in tensors) or (
        len(tensors) > 1 and any(one.numel() in counts for one in tensors[1:])
    )


def may_be_loss(value: Any, targets: tuple[Any, ...]) -> bool:
    """Whether numbers have the form of losses: one for each sample, or one for each number of the targets."""
    dense = plain_tensor(value)
    if dense is None or not dense.is_floating_point() or not dense.dim():
        return False
    shapes = {tuple(target.shape) for target in map(plain_tensor, targets) if target is not None}
    return dense.numel() == dense.shape[0] or tuple(dense.shape) in shapes


def is_derived(found: Any, output: Any) -> bool:
    """Whether values are an output of the model, or its classes or probabilities. Both are samples of the same batch."""
    if isinstance(found, TokenIds) and isinstance(output, TokenIds):
        return found.lists() == output.lists()
    if isinstance(found, Images) and isinstance(output, Images):
        pairs = zip(found.pixels, output.pixels, strict=False)
        return found.sizes == output.sizes and all(_equal(one, other) for one, other in pairs)
    if not (isinstance(found, Columns) and isinstance(output, Columns)):
        return False
    if not (is_tensor(found.values) and is_tensor(output.values)):
        return False
    return any(_equal(found.values, one) for one in _derivations(output, found.values.is_floating_point()))


def _derivations(output: Columns, floating: bool) -> Iterator[Any]:
    """Yield what steps return of their outputs."""
    values, whole = output.values, output.width <= MAX_COLUMNS
    yield values
    if not values.is_floating_point():
        return
    if not floating:
        yield from (values.gt(0), values.gt(0.5), values.round())
        classes = output.classes if output.classes is not None else values.argmax(1) if whole else None
        if classes is not None:
            yield classes.unsqueeze(1)
        return
    yield from (values.sigmoid(), values.exp(), values.tanh())
    if whole and values.shape[1] > 1:
        shares = values.softmax(1)
        yield from (shares, shares.log(), shares[:, 1:], shares.amax(1, keepdim=True))


def _equal(one: Any, other: Any) -> bool:
    if one.shape != other.shape:
        return False
    first, second = (value.to("cpu", import_module("torch").float32) for value in (one, other))
    return bool(first.allclose(second, rtol=1e-3, atol=1e-6, equal_nan=True))


def _place(tensor: Any) -> int:
    """Return where the numbers of a tensor are. Tensors in a transformation of functions have no place."""
    try:
        return int(tensor.data_ptr())
    except RuntimeError:
        return id(tensor)


def _flat(value: Any, depth: int = _MAX_DEPTH) -> Iterator[Any]:
    yield value
    if depth and isinstance(value, (tuple, list, Mapping)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _flat(one, depth - 1)
