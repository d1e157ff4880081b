"""What the value of a setting can be: how it is read from text, and what is refused."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = [
    "WatchedDirectory",
    "are_directories",
    "are_names",
    "boolean",
    "can_be_path",
    "is_local_folder",
    "is_name",
    "is_not_negative",
    "is_one_of",
    "is_place",
    "is_positive",
    "is_rank",
    "is_seconds",
    "is_share",
    "is_switch",
    "to_directories",
    "to_names",
    "to_place",
    "words",
]

#: Seconds; beyond about three hundred years the operating system's waits overflow.
_LONGEST_TIME = 1_000_000_000

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def boolean(text: str) -> bool:
    """Read ``true``, ``yes``, ``on`` or ``1``, or their opposites, in capitals or not. Raises ``ValueError`` for other text."""
    word = text.strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError("say true or false")


def words(text: str) -> list[str]:
    """Read words with commas between them. Spaces around a word are cut, and empty words are left out."""
    return [word.strip() for word in text.split(",") if word.strip()]


def can_be_path(text: str) -> bool:
    """Return whether a system can have a path of that text: one with NUL or a lone surrogate cannot be."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def to_place(value: Any) -> Any:
    """Return a path or a URL as text, with the home in place of ``~``: no shell does that in variables and programs.

    Any other value is returned as it is: the field's validator refuses it.
    """
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    return os.path.expanduser(path) if isinstance(path, str) else value  # noqa: PTH111 - it may be a URL


def is_place(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Raise :class:`ConfigError` for what is no text, and for text that no system takes as a path."""
    if not isinstance(value, str):
        raise ConfigError(f"{field.name}={value!r} is no path: give text or a pathlib.Path.")
    if not can_be_path(value):
        # It may be a URL with a password.
        raise ConfigError(f"{field.name} has a character that no system takes in a path: correct it.")


def _value(given: str | enum.Enum | None) -> str | None:
    return given.value if isinstance(given, enum.Enum) else given


@attrs.frozen
class WatchedDirectory:
    """A directory to watch, and what is made of the files in it.

    ``type`` is the type of them all, such as ``ArtifactType.CHECKPOINT`` or ``"checkpoint"``; None lets each
    file's content and name tell. ``name`` is a pattern for the artifacts' names, of ``{stem}``, ``{parent}`` (the
    folders between) and ``{type}``; None names by folder, stem and type.
    """

    path: str = attrs.field(converter=to_place, validator=is_place)
    type: str | None = attrs.field(default=None, converter=_value)
    name: str | None = None


def to_names(value: Any) -> Any:
    """Return ``"mlflow,local"`` and ``("mlflow", "local")`` as a list of names; any other value as it is."""
    names = words(value) if isinstance(value, str) else value
    return list(names) if isinstance(names, (list, tuple)) else value


def to_directories(value: Any) -> Any:
    """Return a list of paths and :class:`WatchedDirectory` from a list, from one of either, or from text with commas.

    Any other value is returned as it is.
    """
    given = words(value) if isinstance(value, str) else [value] if isinstance(value, WatchedDirectory) else value
    return [to_place(one) for one in given] if isinstance(given, (list, tuple)) else value


def are_names(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Raise :class:`ConfigError` for what is no list of texts, and for an empty name in it."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"{field.name}={value!r} is no list of names: give one such as ['local'].")


def is_positive(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise :class:`ConfigError` for anything but a number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{field.name}={value!r} is not a number above zero.")


def is_not_negative(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise :class:`ConfigError` for anything but a number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST_TIME:
        raise ConfigError(f"{field.name}={value!r} is not a number from 0 on.")


def is_share(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise :class:`ConfigError` for anything but a number above 0, and 1 at most."""
    is_positive(instance, field, value)
    if value > 1:
        raise ConfigError(f"{field.name}={value!r} is no share: give a number above 0, and 1 at most.")


def is_seconds(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise :class:`ConfigError` for anything but a number of seconds above zero that the operating system can wait."""
    is_positive(instance, field, value)
    if not value <= _LONGEST_TIME:
        raise ConfigError(f"{field.name}={value!r} is too long: give up to {_LONGEST_TIME} seconds.")


def is_switch(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Raise :class:`ConfigError` for anything but True and False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{field.name}={value!r} is neither True nor False.")


def is_one_of(*choices: str) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Return a validator that raises :class:`ConfigError` for anything but these choices."""

    def check(instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            raise ConfigError(f"{field.name}={value!r}: say one of {', '.join(choices)}.")

    return check


def are_directories(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Raise :class:`ConfigError` for anything but a list of paths and of :class:`WatchedDirectory`."""
    if not isinstance(value, list):
        raise ConfigError(f"{field.name}={value!r} is no list of directories: give one such as ['./checkpoints'].")
    for one in value:
        if not isinstance(one, WatchedDirectory):
            is_place(instance, field, one)


def is_local_folder(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    """Raise :class:`ConfigError` for an empty text, a URL, and what :func:`is_place` refuses."""
    is_place(instance, field, value)
    if not value or "://" in value:
        raise ConfigError(f"{field.name}={value!r}: the tracelet directory is a local folder; a URL may be the store.")


def is_rank(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Raise :class:`ConfigError` for anything but None and a whole number from 0 on."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigError(f"{field.name}={value!r} is no rank: give a whole number from 0 on.")


def is_name(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    """Raise :class:`ConfigError` for anything but text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{field.name}={value!r} is no name: give text.")
