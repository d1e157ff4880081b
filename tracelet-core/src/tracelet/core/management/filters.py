"""Which of the listed versions are wanted, in which order, and how many of them."""

from __future__ import annotations

import difflib
import logging
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.display.words import moment
from tracelet.exceptions import ConfigError

__all__ = ["OWN_KEYS", "Condition", "Query", "number_at", "query_of"]

_LOG = logging.getLogger("tracelet.artifacts")
#: So many keys are compared with one that no version has.
_MOST_KEYS = 2_000

#: Stands for the value of a key that a version has not.
_ABSENT = object()

_EXPECTED = (
    "give a key, one of < <= = != >= > ~ and a value, such as 'metrics.val_loss < 0.3'. A text that has one of these "
    "characters, or a quote, stands in quotes."
)
_EXPRESSION = re.compile(r"([^<>=!~]+)(<=|>=|!=|==|[<>=~])(.*)", re.DOTALL)
_QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_PLAIN = re.compile(r"[^<>=!~\"']+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|NaN|[+-]?(inf|Infinity)")
_TRUTH = {"true": True, "True": True, "false": False, "False": False}
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}

#: What a version can be asked for besides its metadata.
OWN_KEYS: Mapping[str, Callable[[LoggedArtifact], Any]] = {
    "name": lambda one: one.name,
    "type": lambda one: one.type.value,
    "version": lambda one: one.version,
    "number": lambda one: one.number,
    "label": lambda one: one.label,
    "aliases": lambda one: list(one.aliases),
    "backend": lambda one: one.backend,
    "digest": lambda one: one.digest,
    "run_id": lambda one: one.run_id,
    "description": lambda one: one.description,
    "pending": lambda one: one.pending,
    "size": lambda one: one.size_bytes,
    "created": lambda one: moment(one.created_at),
    "created_at": lambda one: one.created_at,
}


@attrs.frozen
class Condition:
    """A comparison of the value of one key."""

    key: str
    operator: str
    #: The value as it was written, without quotes.
    text: str
    #: The number or truth value that the text is; None where it is neither, or stands in quotes.
    value: float | bool | None = None

    def holds(self, found: object) -> bool:
        """Tell whether a value fits. What has no order with this one fits no ``<``, ``<=``, ``>=`` and ``>``."""
        if self.operator in {"=", "!="}:
            return self._equals(found) is (self.operator == "=")
        if self.operator == "~":
            return self.text in found if isinstance(found, str) else isinstance(found, list) and self._is_in(found)
        wanted = self.text if self.value is None else self.value
        return _is_ordered(found, wanted) and _ORDERS[self.operator](found, wanted)

    def _is_in(self, found: list[Any]) -> bool:
        return any(map(self._equals, found))

    def _equals(self, found: object) -> bool:
        if isinstance(found, str):
            return found == self.text
        if isinstance(found, bool) or isinstance(self.value, bool):
            return found is self.value
        if _is_nan(found) or _is_nan(self.value):
            return _is_nan(found) and _is_nan(self.value)
        return _is_number(found) and found == self.value


@attrs.frozen
class Query:
    """Which versions of a listing are wanted: those that fit every condition, in an order, and the first of them."""

    where: tuple[Condition, ...] = ()
    #: A key; None leaves the order as it is.
    sort: str | None = None
    descending: bool = False
    limit: int | None = None

    def select(self, found: Sequence[LoggedArtifact]) -> list[LoggedArtifact]:
        """Return the versions that are wanted."""
        wanted = list(found)
        for condition in self.where:
            values = _values(found, condition.key)
            wanted = [one for one in wanted if values[id(one)] is not _ABSENT and condition.holds(values[id(one)])]
        if self.sort is not None:
            values = _values(found, self.sort)
            ranked = [(_place(values[id(one)]), one) for one in wanted]
            placed = [(place, one) for place, one in ranked if place is not None]
            placed.sort(key=operator.itemgetter(0), reverse=self.descending)
            wanted = [one for _, one in placed] + [one for place, one in ranked if place is None]
        return wanted[: self.limit]


def query_of(where: object = None, sort: object = None, limit: object = None) -> Query:
    """Return the query that a caller asks for.

    Args:
        where: A condition as text, or several of them.
        sort: A key; with ``-`` before it the largest comes first.
        limit: How many versions at most.

    Raises:
        ConfigError: One of them cannot be read; the message says what is expected.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigError(f"limit={limit!r} is no number of versions: give a whole number from 1 on.")
    if sort is not None and (not isinstance(sort, str) or not sort.removeprefix("-")):
        raise ConfigError(
            f"sort={sort!r} is no key: give one such as 'metrics.val_loss', or '-size' for the largest first."
        )
    # The keys of a mapping would be no conditions, and an empty one would mean all.
    is_one = isinstance(where, (str, bytes, Mapping)) or not isinstance(where, Iterable)
    given: Iterable[object] = [] if where is None else [where] if is_one else where  # type: ignore[assignment]
    conditions = tuple(map(_condition, given))
    if sort is None:
        return Query(conditions, limit=limit)
    return Query(conditions, sort.removeprefix("-"), sort.startswith("-"), limit)


def _condition(text: object) -> Condition:
    parts = _EXPRESSION.fullmatch(text) if isinstance(text, str) else None
    key, sign, said = (part.strip() for part in parts.groups()) if parts else ("", "", "")
    quoted = _QUOTED.fullmatch(said)
    if not key or not (quoted or _PLAIN.fullmatch(said)):
        raise ConfigError(f"the condition {text!r} cannot be read: {_EXPECTED}")
    sign = "=" if sign == "==" else sign
    if quoted:
        return Condition(key, sign, quoted[1] or quoted[2] or "")
    return Condition(key, sign, said, _TRUTH.get(said, _number(said)))


def _number(text: str) -> float | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def _values(found: Sequence[LoggedArtifact], key: str) -> dict[int, object]:
    """Return the value of a key for each version, by the version's id.

    A key means the metadata where any of the versions has it there, and otherwise what the artifacts have themselves: it never
    means the one for this version and the other for that.
    """
    values = {id(one): _look_up(one.manifest.metadata, key) for one in found}
    if any(value is not _ABSENT for value in values.values()):
        return values
    if key in OWN_KEYS:
        of = OWN_KEYS[key]
        return {id(one): _ABSENT if (value := of(one)) is None else value for one in found}
    known = {name for one in found for name in _dotted(one.manifest.metadata)}
    if near := difflib.get_close_matches(key, sorted(known | OWN_KEYS.keys())[:_MOST_KEYS], n=3):
        _LOG.warning("no version that is listed has the key %r: did you mean %s?", key, " or ".join(map(repr, near)))
    return values


def _dotted(data: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{above}{key}.")


def _look_up(data: object, key: str) -> object:
    """Return what is at a dotted key, whose parts may have dots themselves: the longest part that is there counts."""
    if not isinstance(data, dict):
        return _ABSENT
    if key in data:
        return data[key]
    end = key.rfind(".")
    while end != -1:
        if key[:end] in data and (found := _look_up(data[key[:end]], key[end + 1 :])) is not _ABSENT:
            return found
        end = key.rfind(".", 0, end)
    return _ABSENT


def number_at(metadata: Mapping[str, Any], key: str) -> float | None:
    """Return the number at a dotted key of metadata; None where there is none."""
    found: Any = _look_up(metadata, key)
    return found if _is_number(found) and not _is_nan(found) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_ordered(one: object, other: object) -> bool:
    return (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))


def _place(value: object) -> tuple[int, Any] | None:
    """Return where a value comes in an order: numbers, truth values among them, before text. None is for what has no place."""
    if isinstance(value, (int, float)) and not _is_nan(value):
        return 0, value
    return (1, value) if isinstance(value, str) else None
