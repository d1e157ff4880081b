"""Whether two values hold the same samples, and in the same order."""

from __future__ import annotations

from typing import Any

from tracelet_lightning.rows import as_rows, is_tensor, plain_tensor, sums_of

__all__ = ["has_distinct_rows", "is_in_order", "is_reordered", "is_same", "is_unchanged", "is_view", "numbers_agree"]

#: Samples whose numbers are scaled alike; fewer may be so by chance, as those of a mixture.
_MIN_SCALED = 3


def is_same(value: Any, part: Any) -> bool:
    """Whether a value is a part of the batch itself, a view of it with the same rows, or a list of the same members."""
    if value is part:
        return True
    if isinstance(value, (tuple, list)) and isinstance(part, (tuple, list)) and len(value) == len(part) > 0:
        return all(
            one is other or (isinstance(one, str) and one == other) for one, other in zip(value, part, strict=True)
        )
    return is_view(value, part)


def is_view(value: Any, base: Any) -> bool:
    """Whether each row of a tensor lies in the row of ``base`` that has the same number."""
    some, whole = (plain_tensor(one) if is_tensor(one) else None for one in (value, base))
    if some is None or whole is None or not some.dim() or not whole.dim():
        return False
    if not some.numel() or some.dtype != whole.dtype or some.device != whole.device or len(some) != len(whole):
        return False
    try:
        offset = some.data_ptr() - whole.data_ptr()
    except RuntimeError:
        # Tensors in a transformation of functions have no place.
        return False
    if len(some) > 1 and some.stride(0) != whole.stride(0):
        return False
    return bool(offset >= 0 and offset + _extent(some) <= _extent(whole))


def _extent(tensor: Any) -> int:
    """Return how many bytes one row spans."""
    sides = zip(tensor.shape[1:], tensor.stride()[1:], strict=True)
    return int((1 + sum((side - 1) * stride for side, stride in sides)) * tensor.element_size())


def numbers_agree(value: Any, rows: Any, count: int) -> bool:
    """Whether the first rows of a value have the numbers of ``rows``, whatever their form and type; or are their one-hots."""
    some, whole = _blocks(value, rows, count)
    if some is None:
        return False
    if some.shape[1] == whole.shape[1]:
        return bool(some.allclose(whole, rtol=1e-5, atol=1e-8, equal_nan=True))
    if some.shape[1] % whole.shape[1]:
        return False
    hot = some.reshape(*whole.shape, -1)
    is_hot = bool(((hot == 0) | (hot == 1)).all()) and bool((hot.sum(2) == 1).all())
    return is_hot and bool((hot.argmax(2) == whole).all())


def is_unchanged(part: Any, rows: Any, sums: Any, count: int) -> bool:
    """Whether the first rows of a part of the batch are those that were copied, or summed up, as far as tensors show it."""
    if sums is not None:
        return _is_equal(sums_of(rows), sums)
    if isinstance(part, (tuple, list)) and isinstance(rows, list):
        return all(map(_is_equal, part, rows))
    some, whole = _blocks(plain_tensor(part), rows, count)
    return some is None or some.shape != whole.shape or _is_equal(some, whole)


def _is_equal(one: Any, other: Any) -> bool:
    if not (is_tensor(one) and is_tensor(other)) or one.shape != other.shape:
        return True
    return bool(((one == other) | ((one != one) & (other != other))).all())


def is_in_order(value: Any, rows: Any, count: int) -> bool:
    """Whether the rows of a value are ``rows``, scaled and shifted, as for normalised values, or arranged otherwise."""
    some, whole = _blocks(value, rows, count)
    if some is None or some.shape != whole.shape:
        return False
    return _is_scaled(some, whole) or _is_arranged(some, whole)


def _is_scaled(some: Any, whole: Any) -> bool:
    """Whether each column is the other's, times a number that is not negative, and shifted: no other order would be."""
    if len(some) < _MIN_SCALED:
        return False
    least, most = (index.unsqueeze(0) for index in (whole.argmin(0), whole.argmax(0)))
    low, spread = whole.gather(0, least), whole.gather(0, most) - whole.gather(0, least)
    first, risen = some.gather(0, least), some.gather(0, most) - some.gather(0, least)
    share = (whole - low) / spread.where(spread > 0, spread.new_ones(()))
    fits = (some - first - share * risen).abs() <= 1e-4 * risen.abs() + 1e-9
    return bool(fits.all() and (risen >= 0).all() and (risen > 0).any())


def _is_arranged(some: Any, whole: Any) -> bool:
    """Whether each row has the numbers of the other's, which no other row has, as images with the channels last."""
    sums = whole.sum(1)
    distinct = sums.sort().values.diff()
    if bool((distinct <= 1e-6 * sums.abs().max()).any()):
        return False
    same = some.sum(1).allclose(sums, rtol=1e-9, atol=1e-9)
    return bool(same and some.square().sum(1).allclose(whole.square().sum(1), rtol=1e-9, atol=1e-9))


def is_reordered(value: Any, part: Any) -> bool:
    """Whether a value has the rows of a part in another order."""
    dense = plain_tensor(part)
    if dense is None or not dense.dim():
        return False
    some, whole = _blocks(value, dense, len(dense))
    if some is None or some.shape != whole.shape or bool(some.equal(whole)) or _is_arranged(some, whole):
        return False
    # The sum of a row is the same wherever the row is.
    return bool(some.sum(1).sort().values.allclose(whole.sum(1).sort().values, rtol=1e-9, atol=1e-9))


def has_distinct_rows(rows: Any) -> bool:
    """Whether no row is like another, so that an order shows in them."""
    dense = plain_tensor(rows)
    return dense is not None and dense.dim() > 0 and len(dense.unique(dim=0)) == len(dense)


def _blocks(value: Any, rows: Any, count: int) -> tuple[Any, Any]:
    """Return both as numbers, a row for each sample; None where they cannot have the same."""
    some = plain_tensor(value) if is_tensor(value) else None
    whole = plain_tensor(as_rows(rows, count)) if isinstance(rows, (tuple, list)) else plain_tensor(rows)
    if some is None or whole is None or not some.dim() or not whole.dim() or some.device != whole.device:
        return None, None
    some, whole = some.detach()[:count], whole.detach()[:count]
    if len(some) != len(whole) or not some.numel() or some.is_complex() or whole.is_complex():
        return None, None
    return some.reshape(len(some), -1).double(), whole.reshape(len(whole), -1).double()
