"""The rows of a value: one for each sample, whatever holds them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from numbers import Number
from typing import Any

__all__ = [
    "as_rows",
    "copy_of",
    "has_two_readings",
    "is_numbers",
    "is_scalar",
    "is_tensor",
    "lengths",
    "on_rows",
    "plain_tensor",
    "sums_of",
]

#: Bytes of the rows of a tensor that are copied.
_MOST_COPIED = 4_000_000


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch, of whatever layout."""
    return isinstance(value, import_module("torch").Tensor)


def plain_tensor(value: Any) -> Any:
    """Return a dense tensor, an array of NumPy's as one; None for any other value."""
    torch = import_module("torch")
    if isinstance(value, torch.Tensor):
        # Only this process would ask for rows of a distributed tensor, and would wait for the others for ever.
        plain = value.layout is torch.strided and not value.is_nested and not hasattr(value, "device_mesh")
        return value if plain else None
    if _is_array(value) and value.dtype.kind in "biufc":
        # A copy: torch warns of arrays that are read-only, and cannot read those with negative strides.
        return torch.as_tensor(value.copy())
    return None


def is_numbers(value: Any) -> bool:
    """Whether a value is a list of numbers."""
    return isinstance(value, (tuple, list)) and bool(value) and all(isinstance(one, Number) for one in value)


def is_scalar(value: Any) -> bool:
    """Whether a value is one number or one text, which has no rows."""
    return isinstance(value, (Number, str, bytes)) or (getattr(value, "shape", None) == () and hasattr(value, "dtype"))


def lengths(value: Any) -> set[int]:
    """Return how many rows a value may have: none, one number, or two where a list of lists may be rows or parts."""
    found = on_rows(value)
    if found is not None:
        return {found}
    if isinstance(value, (tuple, list)) and value:
        if all(plain_tensor(one) is not None or is_numbers(one) for one in value):
            heads = {on_rows(one) or (len(one) if is_numbers(one) else 0) for one in value}
            return {len(value)} | ({heads.pop()} - {0} if len(heads) == 1 else set())
        if _same_kind(value):
            return {len(value)}
    return set()


def has_two_readings(value: Any) -> bool:
    """Whether a list has as many members as each of them has rows: it may hold samples, or parts of all samples."""
    if not isinstance(value, (tuple, list)) or len(value) < 2 or on_rows(value) is not None:
        return False
    if all(isinstance(one, Mapping) for one in value):
        rows = {on_rows(one) for mapping in value for one in mapping.values() if not is_scalar(one)}
        return rows == {len(value)}
    return all((len(one) if is_numbers(one) else on_rows(one)) == len(value) for one in value)


def on_rows(value: Any) -> int | None:
    """Return the number of rows of a value that holds them in one block: a tensor, an array, or a packed sequence."""
    torch = import_module("torch")
    if _is_packed(value):
        return int(value.batch_sizes[0])
    if isinstance(value, torch.Tensor) and value.is_nested:
        return int(value.size(0)) or None
    dense = value if _is_array(value) else plain_tensor(value)
    return int(dense.shape[0]) or None if dense is not None and len(dense.shape) else None


def as_rows(value: Any, count: int) -> Any:
    """Return the first ``count`` rows: a dense tensor, or a list of tensors, mappings, texts or numbers."""
    torch = import_module("torch")
    if _is_packed(value):
        # This undoes the sorting by length.
        padded, sizes = torch.nn.utils.rnn.pad_packed_sequence(value, batch_first=True)
        return [row[:size] for row, size in zip(padded[:count], sizes.tolist(), strict=False)]
    if isinstance(value, torch.Tensor) and value.is_nested:
        return list(value.unbind()[:count])
    dense = plain_tensor(value)
    if dense is not None:
        return dense[:count]
    some = list(value[:count])
    tensors = [torch.as_tensor(one) if is_numbers(one) else plain_tensor(one) for one in some]
    if all(one is not None for one in tensors):
        alike = len({(tuple(one.shape), one.dtype, one.device) for one in tensors}) == 1
        return torch.stack(tensors) if alike else tensors
    return some


def copy_of(rows: Any) -> Any:
    """Return rows whose tensors stay as they are. Large ones are not copied: the user's model needs the memory."""
    if isinstance(rows, list):
        return [copy_of(one) for one in rows]
    return rows.detach().clone() if is_tensor(rows) and not _is_large(rows) else rows


def sums_of(rows: Any) -> Any:
    """Return the sum of each row of a large tensor, by which it is known whether it has changed; None for all else."""
    dense = plain_tensor(rows)
    if dense is None or not dense.dim() or not _is_large(dense) or dense.is_complex():
        return None
    return dense.detach().flatten(1).sum(1, dtype=import_module("torch").float64)


def _is_large(tensor: Any) -> bool:
    return bool(tensor.numel() * tensor.element_size() > _MOST_COPIED)


def _is_array(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "dtype") and hasattr(value, "shape")


def _is_packed(value: Any) -> bool:
    return isinstance(value, import_module("torch").nn.utils.rnn.PackedSequence)


def _same_kind(values: Any) -> bool:
    """Whether the members of a list can be nothing but rows: all mappings, or all texts and numbers."""
    return all(isinstance(one, Mapping) for one in values) or all(
        isinstance(one, (str, Number)) or one is None for one in values
    )
