"""Names of a package that are imported when they are first used, so that importing the package costs next to nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module (PEP 562).

    Args:
        package: The name of the module.
        modules: By module: the names that it gives.

    Returns:
        The function. What is not listed is an AttributeError.
    """
    whose = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in whose:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(whose[name]), name)

    return get
