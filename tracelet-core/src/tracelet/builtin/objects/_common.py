"""What the serializers of objects share: libraries that may be missing, errors, and a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec

from tracelet.builtin.libraries import class_path
from tracelet.exceptions import ArtifactError, ConfigError, TraceletError, UnsafeContent

__all__ = ["called", "check_bytes", "check_values", "library", "most_bytes", "readable", "storable"]

P = ParamSpec("P")

#: How many values a file may stand for, and how many more for each of its bytes: packed, a few bytes stand for billions.
_MOST_VALUES = 10_000_000
_MOST_OF_A_BYTE = 1_000
#: How many bytes of memory a file may stand for, and how many more for each of its own.
_MOST_BYTES = 1_000_000_000
_MOST_BYTES_OF_A_BYTE = 200


def called(value: Any) -> str:
    """Name the class of a value for a message."""
    return f"a {class_path(type(value)).replace(':', '.')}"


def library(module: str, package: str, what: str) -> Any:
    """Import a library; raises :class:`ConfigError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{what} need {package}, which cannot be imported here ({error}): pip install {package}"
        ) from error


def check_values(count: int, size_bytes: int, trust: bool) -> None:
    """Raise :class:`UnsafeContent` where a file of so many bytes stands for so many values that they may fill the memory."""
    if not trust and count > _MOST_VALUES + _MOST_OF_A_BYTE * size_bytes:
        raise UnsafeContent(
            f"its {size_bytes:,} bytes stand for {count:,} values, which may fill the memory: say trust=True if you know "
            "where it comes from."
        )


def most_bytes(size_bytes: int) -> int:
    """Return the bytes of memory that a file of so many bytes may stand for."""
    return _MOST_BYTES + _MOST_BYTES_OF_A_BYTE * size_bytes


def check_bytes(count: int, size_bytes: int, trust: bool) -> None:
    """Raise :class:`UnsafeContent` where a file of so many bytes takes so many of memory that they may fill it."""
    if not trust and count > most_bytes(size_bytes):
        raise UnsafeContent(
            f"its {size_bytes:,} bytes take {count:,} bytes or more of memory, and may fill it: say trust=True if you know "
            "where it comes from."
        )


def readable(load: Callable[[Path, bool], Any]) -> Callable[[Path, bool], Any]:
    """Turn whatever comes of damaged, made up or foreign content into Tracelet's errors."""

    @functools.wraps(load)
    def loaded(path: Path, trust: bool) -> Any:
        try:
            return load(path, trust)
        except TraceletError:
            raise
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{path.name} needs what cannot be imported here ({error}): install it, or provide the version of the "
                "module that it was stored with."
            ) from error
        except Exception as error:
            raise ArtifactError(
                f"{path.name} does not hold an object that can be loaded: {type(error).__name__}: {error}. It is damaged, "
                "or was made by something else: look at it with download()."
            ) from error

    return loaded


def storable(write: Callable[P, None]) -> Callable[P, None]:
    """Turn what a library raises about a value that it cannot write into a ``TypeError``."""

    @functools.wraps(write)
    def written(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            write(*arguments, **named)
        except (OSError, TraceletError):
            raise
        except Exception as error:
            # An error about text has that text, which need not be fit to be printed; its own words are.
            words = error.args if all(isinstance(part, str) for part in error.args) else [error]
            told = "; ".join(map(str, words)) or "it gives no reason"
            kind = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
            raise TypeError(kind + told) from error

    return written
