"""Tracelet's data classes as plain data, and plain data as JSON."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import attrs

from tracelet.core.system.places import Places
from tracelet.settings import can_be_path

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "DEEPEST",
    "FLOAT_TAG",
    "converter",
    "dumps",
    "integer",
    "is_deeper",
    "optional",
    "real",
    "text",
    "unknown",
    "untagged",
]

T = TypeVar("T")

#: How deep data may be nested: readers have limits of their own.
DEEPEST = 64
#: The key of a dict that stands for a float that JSON has no number for.
FLOAT_TAG = "$float"
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _tagged(value: Any) -> Any:
    """Return plain data with a dict in place of NaN and the infinities, for which JSON has no numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT_TAG: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return value


def untagged(value: Any) -> Any:
    """Return plain data with NaN and the infinities in place of the dicts that stand for them in JSON."""
    if isinstance(value, dict):
        if FLOAT_TAG in value and len(value) == 1:
            return _NONFINITE[value[FLOAT_TAG]]
        return {key: untagged(item) if isinstance(item, (dict, list)) else item for key, item in value.items()}
    if isinstance(value, list):
        return [untagged(item) for item in value]
    return value


@functools.cache
def _encoder(indent: int | None) -> json.JSONEncoder:
    separators = (",", ":") if indent is None else None
    return json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent)


def dumps(value: Any, indent: int | None = None) -> str:
    """Return JSON text with sorted keys: canonical, without white space, unless it is indented."""
    write = _encoder(indent).encode
    try:
        return write(value)
    except ValueError:  # it has a number that JSON has not; most data has none, and needs no copy
        return write(_tagged(value))


def _number(value: Any, kinds: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number of the kind that belongs here")
    return value


# Python would make numbers of text and truth values, and text of anything.
def integer(value: Any) -> int:
    """Return a whole number of plain data; raises ``TypeError`` for anything else."""
    return _number(value, int)  # type: ignore[no-any-return]


def real(value: Any) -> float:
    """Return a number of plain data as a float; raises ``TypeError`` for anything else."""
    return float(_number(value, (int, float)))


def text(value: Any) -> str:
    """Return a text of plain data; raises ``TypeError`` for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.200} is not text")
    return value


def optional(read: Callable[[Any], T], data: Any, key: str) -> T | None:
    """Return what ``read`` makes of the value of a key in plain data; None where there is none."""
    value = data.get(key)
    return None if value is None else read(value)


def _path(value: Any) -> Path:
    path = Path(value)
    if not can_be_path(str(path)):
        raise ValueError("no system has such a path")
    return path


def _places(value: Any) -> Places:
    return Places({text(name): str(_path(place)) for name, place in value.items()})


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether plain data is nested deeper than ``levels``. It does not recurse."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def unknown(data: Any, kind: type) -> dict[str, Any]:
    """Return what is in plain data under other keys than the fields of a class: a later release wrote it.

    Raises ``ValueError`` where it is nested too deep.
    """
    known = _known(kind)
    if data.keys() <= known:
        return {}
    extra = {key: value for key, value in data.items() if key not in known}
    if is_deeper(extra, DEEPEST):
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return extra


@functools.cache
def _known(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(kind)) - {"extra"}


def _reads_itself(kind: Any) -> bool:
    return hasattr(kind, "from_plain")


def _carries(kind: Any) -> bool:
    return attrs.has(kind) and "extra" in attrs.fields_dict(kind)


def _carrying(made: Converter, kind: Any) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
    """Return how a class with a field ``extra`` is read and written: keys that it has no field for are kept there.

    A keyword-only field was added by a later release than the class. It is not written while it has its default.
    """
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    own = [field for field in attrs.fields(kind) if field.name != "extra"]
    added: dict[str, Any] = {field.name: override(omit_if_default=True) for field in own if field.kw_only}
    read = make_dict_structure_fn(kind, made, _cattrs_detailed_validation=False, extra=override(omit=True))
    write = make_dict_unstructure_fn(kind, made, extra=override(omit=True), **added)

    def structure(data: Any, _: Any) -> Any:
        value = read(data, kind)
        extra = unknown(data, kind)
        return attrs.evolve(value, extra=extra) if extra else value

    def unstructure(value: Any) -> Any:
        return {**write(value), **value.extra} if value.extra else write(value)

    return structure, unstructure


def _is_row(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _row(made: Converter, kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    """Return how a tuple of any length is read: in half the time of the general way, for a listing reads thousands."""
    item = get_args(kind)[0]
    read = made.get_structure_hook(item)

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        return tuple([read(one, item) for one in value])

    return structure


@functools.cache
def converter() -> Converter:
    """Return the one converter between Tracelet's data classes and plain data.

    Enums become their values, tuples lists, and NaN and the infinities in metadata a dict with one key. Unknown keys are
    kept where a class has the field ``extra``; other classes drop them. A class with a ``from_plain`` is read by that.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(detailed_validation=False)
    made.register_structure_hook(int, lambda value, _: integer(value))
    made.register_structure_hook(float, lambda value, _: real(value))
    made.register_structure_hook(bool, lambda value, _: bool(value))
    made.register_structure_hook(str, lambda value, _: text(value))
    made.register_structure_hook(Path, lambda value, _: _path(value))
    made.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, PurePath), str)
    made.register_structure_hook_func(lambda kind: kind == dict[str, Any], lambda value, _: untagged(dict(value)))
    made.register_unstructure_hook_func(lambda kind: kind == dict[str, Any], _tagged)
    made.register_structure_hook_func(lambda kind: kind == Mapping[str, Path], lambda value, _: _places(value))
    made.register_structure_hook_factory(_is_row, lambda kind: _row(made, kind))
    made.register_structure_hook_factory(_carries, lambda kind: _carrying(made, kind)[0])
    made.register_unstructure_hook_factory(_carries, lambda kind: _carrying(made, kind)[1])
    made.register_structure_hook_func(_reads_itself, lambda value, kind: kind.from_plain(value))
    return made
