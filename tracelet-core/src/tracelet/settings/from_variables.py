"""The fields of an attrs class, read from variables: Tracelet's own settings, and those that plugins declare."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from tracelet.exceptions import ConfigError
from tracelet.settings.values import WatchedDirectory, boolean, to_place, words

__all__ = ["NoSettings", "environment", "load", "load_plugin", "prefix_of", "variables"]

T = TypeVar("T", bound=attrs.AttrsInstance)

_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (boolean, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "text"),
    Path: (lambda text: Path(to_place(text)), "a path"),
    list[str]: (words, "words with commas between them"),
    list[str | WatchedDirectory]: (words, "paths with commas between them"),
}


def _parser(kind: Any) -> tuple[Callable[[str], Any], str]:
    """Return how text becomes a value of that type. Raises ``TypeError`` for a type that no text can become."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        options = [option for option in typing.get_args(kind) if option is not types.NoneType]
        kind = options[0] if len(options) == 1 else kind
    if kind not in _PARSERS:
        raise TypeError(
            f"a field of type {kind} cannot be read from a variable: use bool, int, float, str, Path or list[str]"
        )
    return _PARSERS[kind]


def _variable(prefix: str, field: attrs.Attribute[Any]) -> str:
    return prefix + _argument(field).upper()


def _argument(field: attrs.Attribute[Any]) -> str:
    return field.alias or field.name


def variables(cls: type[attrs.AttrsInstance], prefix: str) -> list[str]:
    """Return the names of the variables that :func:`environment` reads."""
    return [_variable(prefix, field) for field in attrs.fields(cls)]


def environment(
    cls: type[attrs.AttrsInstance], prefix: str, environ: Mapping[str, str], *, given: Collection[str] = ()
) -> dict[str, Any]:
    """Read the fields of an attrs class from variables called ``<prefix><FIELD>``.

    An empty variable counts as not set, and the fields that are ``given`` are not read. Raises
    :class:`ConfigError` that names every bad variable at once, also those that the class refuses.
    """
    kinds = typing.get_type_hints(cls)
    texts: dict[str, str] = {}
    found: dict[str, Any] = {}
    bad: list[str] = []
    for field in attrs.fields(cls):
        name, variable = _argument(field), _variable(prefix, field)
        text = environ.get(variable, "")
        if not text or name in given:
            continue
        texts[name] = f"{variable}={text!r}"
        parse, expected = _parser(kinds[field.name])
        try:
            found[name] = parse(text)
        except ValueError:
            bad.append(f"{texts[name]} is not {expected}")
    bad += _refused(cls, found, texts)
    if bad:
        raise ConfigError("; ".join(bad) + ". Correct or unset what is named here.")
    return found


def _refused(cls: type[attrs.AttrsInstance], found: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """Return what to say of each value that the class refuses. What it refuses without them is not said here."""
    told: list[str] = []
    left = dict(found)
    while (why := _refusal(cls, left)) is not None:
        # A class names only the first value that it refuses: the one without which it would say something else.
        guilty = [name for name in left if _refusal(cls, {key: left[key] for key in left if key != name}) != why]
        if not guilty:
            break
        # Our own refusals begin with the field and the value: the variable is said in their place.
        said = why.removeprefix(f"{guilty[0]}={left[guilty[0]]!r}").rstrip(".")
        told.append(", ".join(texts[name] for name in guilty) + (said if said != why.rstrip(".") else f": {said}"))
        left = {name: value for name, value in left.items() if name not in guilty}
    return told


def _refusal(cls: type[attrs.AttrsInstance], values: Mapping[str, Any]) -> str | None:
    # TraceletSettings has an __init__ of its own, which reads variables, beside the one that attrs makes.
    make = getattr(cls.__new__(cls), "__attrs_init__", cls)
    try:
        make(**values)
    except (TypeError, ValueError) as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """Return the message alone: the errors of attrs' own validators have further arguments."""
    return str(error.args[0] if error.args else error)


def load(cls: type[T], prefix: str, environ: Mapping[str, str] | None = None) -> T:
    """Make an instance of ``cls``, an attrs class, from ``<prefix>*`` variables and its defaults.

    Fields may be ``bool``, ``int``, ``float``, ``str``, ``Path`` or ``list[str]``, each also with
    ``| None``. Raises :class:`ConfigError` for values that cannot be read or are refused.
    """
    source = os.environ if environ is None else environ
    try:
        return cls(**environment(cls, prefix, source))
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{prefix}*: {_reason(error)}") from error


def load_plugin(cls: type[T], name: str, given: Mapping[str, str] | None = None) -> T:
    """Read what the plugin ``name`` declares as its settings from ``TRACELET_<NAME>_*``; raises as :func:`load` does.

    ``given`` are texts by field, which go before the variables.
    """
    prefix = prefix_of(name)
    own = {f"{prefix}{field.upper()}": text for field, text in (given or {}).items()}
    return load(cls, prefix, {**os.environ, **own})


def prefix_of(plugin: str) -> str:
    """Return what the variables of a plugin begin with."""
    return f"TRACELET_{plugin.upper().replace('-', '_')}_"


@attrs.frozen
class NoSettings:
    """The settings of a plugin that has none."""
