"""Plain data: metadata that JSON gives back equal, canonical JSON, and the one converter of data classes."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tracelet.core.entries import check_text
from tracelet.exceptions import ArtifactError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["converter", "dumps", "plain_metadata"]

_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT_TAG = "$float"
#: How deep metadata may be nested, and how long a whole number may be: JSON readers have limits of their own.
_DEEPEST = 64
_LONGEST_INT = 10**4000


def plain_metadata(value: Any, where: str = "metadata", depth: int = _DEEPEST) -> Any:
    """Return ``value`` as data that JSON gives back equal, or raise :class:`ArtifactError`.

    Tuples become lists, paths text, and zero-dimensional array scalars (anything with ``item()``
    and an empty ``shape``) Python numbers. NaN and the infinities are kept.
    """
    if depth == 0:
        raise ArtifactError(f"{where} is nested too deeply, or holds itself: flatten it, or add it with add_object.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        check_text(value, where)
        return str.__str__(value)
    if isinstance(value, int):
        if abs(value) >= _LONGEST_INT:
            raise ArtifactError(f"{where} has more than 4000 digits, which JSON readers refuse: give it as text.")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, PurePath):
        return check_text(str(value), where)
    if isinstance(value, Mapping):
        return {
            _metadata_key(key, where): plain_metadata(item, f"{where}[{key!r}]", depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain_metadata(item, f"{where}[{index}]", depth - 1) for index, item in enumerate(value)]
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return plain_metadata(value.item(), where, depth - 1)
    raise ArtifactError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold: give text, numbers, lists or "
        "dicts, or add it with add_object(…, serializer='pickle')."
    )


def _metadata_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise ArtifactError(f"{where} has the key {key!r}: JSON keys are text. Use str({key!r}).")
    if key == _FLOAT_TAG:
        raise ArtifactError(f"{where} has the key {key!r}, which marks NaN in a manifest: choose another.")
    check_text(key, f"a key of {where}")
    return str.__str__(key)


def _tagged(value: Any) -> Any:
    """JSON has no NaN and no infinities: write them so that any JSON reader can."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_FLOAT_TAG}:
            return _NONFINITE[value[_FLOAT_TAG]]
        return {key: _untagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    """Return JSON text with sorted keys: canonical, without white space, unless it is indented."""
    separators = (",", ":") if indent is None else None
    return json.dumps(
        _tagged(value), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent
    )


def _number(value: Any, kinds: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number of the kind that belongs here")
    return value


@functools.cache
def converter() -> Converter:
    """Return the one converter between Tracelet's data classes and plain data.

    Enums are their values, tuples lists, non-finite floats in metadata a tagged object, and
    unknown keys are left out.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(detailed_validation=False)
    # Text and truth values are no numbers, though Python would make them some.
    made.register_structure_hook(int, lambda value, _: _number(value, int))
    made.register_structure_hook(float, lambda value, _: float(_number(value, (int, float))))
    made.register_structure_hook(bool, lambda value, _: bool(value))
    made.register_structure_hook(Path, lambda value, _: Path(value))
    made.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, PurePath), str)
    made.register_structure_hook_func(lambda kind: kind == dict[str, Any], lambda value, _: _untagged(dict(value)))
    made.register_unstructure_hook_func(lambda kind: kind == dict[str, Any], _tagged)
    return made
