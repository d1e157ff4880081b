"""The user's values as JSON can hold them."""

from __future__ import annotations

import argparse
import enum
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

__all__ = ["plain"]

#: Values in all, depth, and characters of one text: metadata is read by people, and sent with every artifact.
_MAX_VALUES = 1000
_MAX_DEPTH = 6
_MAX_TEXT = 1000


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it.

    A value that JSON cannot hold is replaced by the name of its class. Values beyond the limits are left out.
    """
    return _plain(value, _MAX_DEPTH, [_MAX_VALUES])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if isinstance(value, enum.Enum):
        value = value.value if isinstance(value.value, (str, int, float)) else value.name
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else float(min(max(value, -(2**1000)), 2**1000))
    if isinstance(value, (str, PurePath)):
        return _text(value)
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    shape = getattr(value, "shape", None)
    if shape is not None and callable(getattr(value, "item", None)):
        return (
            _plain(value.item(), depth, left)
            if getattr(value, "size", None) == 1 or _count_of(value) == 1
            else _class_of(value)
        )
    if depth and isinstance(value, Mapping):
        items = value.items()
        return {_text(key): _plain(item, depth - 1, left) for key, item in items if left[0] > 0}
    if depth and isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item, depth - 1, left) for item in value if left[0] > 0]
    return _class_of(value)


def _text(value: object) -> str:
    """Return a value as text, without the characters that no tracker stores."""
    return str(value)[:_MAX_TEXT].encode(errors="replace").decode().replace("\0", "?")


def _count_of(value: Any) -> int:
    count = getattr(value, "numel", None)
    return int(count()) if callable(count) else -1


def _class_of(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"<{type(value).__qualname__}{'' if shape is None else f' of shape {tuple(shape)}'}>"
