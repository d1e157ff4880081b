"""Plain data: what values become in metadata and objects, canonical JSON, and the one converter of data classes."""

from __future__ import annotations

import datetime
import enum
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.exceptions import ArtifactError
from tracelet.settings import can_be_path

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["converter", "dumps", "is_deeper", "plain_data", "plain_metadata"]

_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT_TAG = "$float"
#: How deep data may be nested, how much there may be, and how long a whole number: readers have limits of their own.
_DEEPEST = 64
_MOST_VALUES = 5_000_000
_LONGEST_INT = 10**4000
#: Whole numbers of a tracker's database are from minus this one on, and below it.
_INT_BOUND = 2**63
#: How many numbers of an array are a list; more of them are better off in a file.
_LARGEST_ARRAY = 10_000
#: How many steps to a value a message gives, at either end.
_STEPS = 8


class _Unfit(Exception):
    """A value has no plain form; the steps to it are collected on the way out, the last one first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.steps: list[str] = []

    def where(self, root: str) -> str:
        steps = self.steps[::-1]
        if len(steps) > 2 * _STEPS:
            steps = [*steps[:_STEPS], " … ", *steps[-_STEPS:]]
        return root + "".join(steps)


def plain_data(value: Any, *, number_keys: bool = False) -> Any:
    """Return ``value`` as None, bool, int, float, str, list and dict alone: what JSON and YAML give back equal.

    The scalars of NumPy and PyTorch become numbers, arrays of up to 10,000 numbers lists, paths text, dates and times
    ISO text, Enums their values, dataclasses, attrs classes and mappings dicts, tuples lists, sets sorted lists. Keys
    are text, with ``number_keys`` also numbers. Raises ``TypeError`` for what has no such form, with the place of it in
    ``value``; so ``dump`` and ``check`` of a serializer may.
    """
    try:
        return _Table((str, int, float) if number_keys else (str,)).plain(value)
    except _Unfit as unfit:
        raise TypeError(f"{unfit.where('it')} {unfit}") from unfit
    except Exception as error:
        raise TypeError(f"it cannot be looked at: {type(error).__name__}: {error}") from error


def plain_metadata(value: Any) -> Any:
    """Return ``value`` as :func:`plain_data` does; raises :class:`ArtifactError`, which names the key."""
    try:
        return _Table((str,), reserved=_FLOAT_TAG, storable=True).plain(value)
    except _Unfit as unfit:
        raise ArtifactError(f"{unfit.where('metadata')} {unfit}. Or add it with add_object or add_file.") from unfit
    except Exception as error:
        raise ArtifactError(f"metadata cannot be looked at: {type(error).__name__}: {error}") from error


@attrs.define
class _Table:
    """What each kind of value becomes."""

    keys: tuple[type, ...]
    #: A key that means something else where this is stored.
    reserved: str | None = None
    #: Whether the databases of trackers are to take it, and not only a file.
    storable: bool = False
    left: int = _MOST_VALUES

    def plain(self, value: Any, depth: int = _DEEPEST) -> Any:
        """Return the plain form of a value."""
        if depth < 0:
            raise _Unfit(f"is nested more than {_DEEPEST} deep, or holds itself: flatten it")
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it has more than {_MOST_VALUES:,} values, store it as a file")
        if type(value) in _AS_THEY_ARE:
            return value
        if isinstance(value, enum.Enum):
            return self.plain(value.value, depth - 1)
        for kinds, form in _SCALARS:
            if isinstance(value, kinds):
                return self._scalar(form(value))
        if isinstance(value, Mapping):
            return self._mapping(value, value.items(), depth)
        if isinstance(value, (list, tuple)):
            return self._items(value, depth)
        if isinstance(value, (set, frozenset)):
            return _in_order(self._items(value, depth))
        if not isinstance(value, (type, bytes)):
            if is_dataclass(value):
                return self._mapping(
                    value, [(field.name, getattr(value, field.name)) for field in fields(value)], depth
                )
            if attrs.has(type(value)):
                named = [field.name for field in attrs.fields(type(value))]
                return self._mapping(value, [(name, getattr(value, name)) for name in named], depth)
            if isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
                return self._array(value, depth)
        raise _no_form(value)

    def _scalar(self, plain: Any) -> Any:
        if self.storable and isinstance(plain, str) and "\0" in plain:
            raise _Unfit("has a NUL character, which trackers cannot store: take it out")
        if self.storable and isinstance(plain, int) and not -_INT_BOUND <= plain < _INT_BOUND:
            raise _Unfit("is a whole number of more than 64 bits, which trackers cannot store: give it as text")
        return plain

    def _items(self, values: Any, depth: int) -> list[Any]:
        made = []
        for index, item in enumerate(values):
            try:
                made.append(self.plain(item, depth - 1))
            except _Unfit as unfit:
                unfit.steps.append(f"[{index}]")
                raise
        return made

    def _mapping(self, value: Any, pairs: Any, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, item in pairs:
            plain = self._key(key)
            if plain in made:
                raise _Unfit(f"has two keys that become {plain!r}, and one would be lost: rename one")
            try:
                made[plain] = self.plain(item, depth - 1)
            except _Unfit as unfit:
                unfit.steps.append(f"[{key!r}]")
                raise
        return made

    def _key(self, key: Any) -> Any:
        try:
            plain = self.plain(key)
        except _Unfit as unfit:
            raise _Unfit(f"has the key {key!r:.200}, which {unfit}") from unfit
        if not isinstance(plain, self.keys) or isinstance(plain, bool) or plain != plain:
            what = "text" if self.keys == (str,) else "text and numbers"
            raise _Unfit(f"has the key {key!r:.200}: keys are {what}. Use str(…) of it")
        if plain == self.reserved:
            raise _Unfit(f"has the key {key!r}, which marks NaN in a manifest: choose another")
        return plain

    def _array(self, value: Any, depth: int) -> Any:
        size = math.prod(value.shape)
        kind = getattr(value.dtype, "kind", "")
        if size > _LARGEST_ARRAY:
            raise _Unfit(
                f"is a {_name(value)} of {size:,} numbers, and up to {_LARGEST_ARRAY:,} become a list: store it as a file, "
                "or say .tolist() if it is to be text"
            )
        if hasattr(value, "filled"):
            raise _Unfit("is a masked array, and its mask would be lost: say .filled(…)")
        if hasattr(value, "reindex"):
            raise _Unfit(f"is a {_name(value)}, and its index would be lost: say .to_dict(), or .tolist()")
        if kind in {"m", "V"}:
            raise _Unfit(f"is a {_name(value)} of {value.dtype}, which has no plain form: give its numbers")
        try:
            plain = value.astype(str).tolist() if kind == "M" else value.tolist()
        except Exception as error:
            raise _Unfit(f"is a {_name(value)} without values: {error}") from error
        if kind == "M" and "NaT" in str(plain):
            raise _Unfit("is no time (NaT): give None")
        if hasattr(plain, "shape"):
            raise _Unfit(f"is a {_name(value)}, which Python has no number for: convert it to float or text")
        return self.plain(plain, depth - 1)


def _name(value: Any) -> str:
    return type(value).__qualname__


def _no_form(value: Any) -> _Unfit:
    return _Unfit(
        f"is a {_name(value)}, which has no plain form: give text, numbers, lists or dicts"
        + (f", such as {_INSTEAD[_name(value)]}" if _name(value) in _INSTEAD else "")
    )


#: What to give in place of what people have, by the names of the classes.
_INSTEAD = {
    "Decimal": "str(…) or float(…) of it",
    "Fraction": "str(…) or float(…) of it",
    "timedelta": ".total_seconds()",
    "Timedelta": ".total_seconds()",
    "UUID": "str(…) of it",
    "Namespace": "vars(…) of it",
    "SimpleNamespace": "vars(…) of it",
    "complex": "[z.real, z.imag]",
    "bytes": ".hex() or .decode()",
    "DataFrame": ".to_dict('list')",
}


def _whole(value: Any) -> int:
    plain = int.__int__(value)
    if abs(plain) >= _LONGEST_INT:
        raise _Unfit("has more than 4000 digits, which JSON readers refuse: give it as text")
    return plain


def _text(value: Any) -> str:
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise _Unfit("is not valid Unicode: take the lone surrogate out") from None
    return plain


def _moment(value: Any) -> str:
    if value != value:
        raise _Unfit("is no time (NaT): give None")
    return str(value.isoformat())


_AS_THEY_ARE = frozenset({type(None), bool, float})
_SCALARS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (str, _text),
    (int, _whole),
    (float, float.__float__),
    (PurePath, lambda value: _text(str(value))),
    ((datetime.date, datetime.time), _moment),
)


def _in_order(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:  # of several kinds
        return sorted(items, key=lambda item: (type(item).__name__, repr(item)))


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


def _path(value: Any) -> Path:
    path = Path(value)
    if not can_be_path(str(path)):
        raise ValueError("no system has such a path")
    return path


def is_deeper(value: Any, levels: int) -> bool:
    """Tell whether plain data is nested more than so many levels deep, without recursion."""
    level = [value]
    for _ in range(levels):
        level = [inner for outer in level for inner in _within(outer)]
    return bool(level)


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield from value.values() if isinstance(value, dict) else value


def _carries(kind: Any) -> bool:
    return attrs.has(kind) and "extra" in attrs.fields_dict(kind)


def _carrying(made: Converter, kind: Any) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
    """How a class with a field ``extra`` is read and written: what it has no field for is kept in that, and written again.

    A field that is keyword-only was added by a later release than the class, and is left out while it has its default.
    """
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    own = [field for field in attrs.fields(kind) if field.name != "extra"]
    added: dict[str, Any] = {field.name: override(omit_if_default=True) for field in own if field.kw_only}
    read = make_dict_structure_fn(kind, made, _cattrs_detailed_validation=False, extra=override(omit=True))
    write = make_dict_unstructure_fn(kind, made, extra=override(omit=True), **added)
    known = {field.name for field in own}

    def structure(data: Any, _: Any) -> Any:
        value = read(data, kind)
        unknown = data.keys() - known
        if not unknown:
            return value
        extra = {key: data[key] for key in unknown}
        if is_deeper(extra, _DEEPEST):
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        return attrs.evolve(value, extra=extra)

    def unstructure(value: Any) -> Any:
        return {**write(value), **value.extra} if value.extra else write(value)

    return structure, unstructure


@functools.cache
def converter() -> Converter:
    """Return the one converter between Tracelet's data classes and plain data.

    Enums are their values, tuples lists, non-finite floats in metadata a tagged object. Unknown keys are kept where a
    class has the field ``extra``, and else left out.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter(detailed_validation=False)
    # Text and truth values are no numbers, though Python would make them some.
    made.register_structure_hook(int, lambda value, _: _number(value, int))
    made.register_structure_hook(float, lambda value, _: float(_number(value, (int, float))))
    made.register_structure_hook(bool, lambda value, _: bool(value))
    made.register_structure_hook(Path, lambda value, _: _path(value))
    made.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, PurePath), str)
    made.register_structure_hook_func(lambda kind: kind == dict[str, Any], lambda value, _: _untagged(dict(value)))
    made.register_unstructure_hook_func(lambda kind: kind == dict[str, Any], _tagged)
    made.register_structure_hook_factory(_carries, lambda kind: _carrying(made, kind)[0])
    made.register_unstructure_hook_factory(_carries, lambda kind: _carrying(made, kind)[1])
    return made
