"""What the values of users become in metadata and objects: plain data, which JSON and YAML give back equal."""

from __future__ import annotations

import datetime
import enum
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import attrs

from tracelet.core.artifacts.plain import DEEPEST, FLOAT_TAG
from tracelet.exceptions import ArtifactError

__all__ = ["leaves", "plain_data", "plain_metadata"]

#: How many values there may be, and how long a whole number: readers have limits of their own.
_MOST_VALUES = 5_000_000
_LONGEST_INT = 10**4000
#: The whole numbers of a tracker's database are below this one, and from its negative on.
_INT_BOUND = 2**63
#: How many numbers of an array become a list. More of them belong into a file.
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


def leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value that is no dict, or an empty one, with the keys that lead to it."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def plain_data(value: Any, *, number_keys: bool = False) -> Any:
    """Return ``value`` as None, bool, int, float, str, list and dict alone: what JSON and YAML give back equal.

    The scalars of NumPy and PyTorch become numbers, arrays of up to 10,000 numbers lists, paths text, dates and times
    ISO text, Enums their values, dataclasses, attrs classes and mappings dicts, tuples lists, sets sorted lists. Keys
    are text, with ``number_keys`` also numbers. Raises ``TypeError`` for a value that has no such form, and names its
    place in ``value``: ``dump`` and ``check`` of a serializer may let it pass.
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
        return _Table((str,), reserved=FLOAT_TAG, storable=True).plain(value)
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

    def plain(self, value: Any, depth: int = DEEPEST) -> Any:
        """Return the plain form of a value."""
        if depth < 0:
            raise _Unfit(f"is nested more than {DEEPEST} deep, or holds itself: flatten it")
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
