"""The libraries that users' values are of: their classes by name, which needs no import, and their releases."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from tracelet.exceptions import UnsafeContent

__all__ = ["ancestry", "check_version", "class_path", "release_of"]


def class_path(cls: type) -> str:
    """Name a class as ``module:Qualified.Name``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def ancestry(value: Any) -> frozenset[str]:
    """Name the classes that a value is an instance of, which needs no import of them."""
    return frozenset(map(class_path, type(value).__mro__))


def release_of(library: ModuleType) -> tuple[int, ...]:
    """Return the numbers of a library's version."""
    return tuple(int(number) for number in re.findall(r"\d+", library.__version__.partition("+")[0]))


def check_version(library: ModuleType, safe_since: tuple[int, ...], trust: bool) -> None:
    """Refuse a library whose own safe loading has known holes; raises :class:`UnsafeContent`."""
    if release_of(library) < safe_since and not trust:
        needed = ".".join(map(str, safe_since))
        raise UnsafeContent(
            f"A file made for it can run code while {library.__name__} {library.__version__} loads it: upgrade to "
            f"{library.__name__} {needed} or later, or pass trust=True if you know where it comes from."
        )
