"""Told once a module has been imported: a finder that costs other imports one look into a dict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ImportWatch"]


class ImportWatch(MetaPathFinder):
    """Stands first among the finders while there are modules to wait for, and calls ``imported`` after each."""

    def __init__(self, imported: Callable[[str], None]) -> None:
        self._imported = imported
        self._expected: frozenset[str] = frozenset()

    def expect(self, modules: frozenset[str]) -> None:
        """Wait for these from now on; for none, the finder is taken off."""
        self._expected = modules
        if modules and self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        elif not modules and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that tells when it is done; None for other modules."""
        if fullname not in self._expected:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _TellingLoader(spec, spec.loader, self._imported)
                return spec
        return None


class _TellingLoader(Loader):
    """The module's own loader, which it puts back before the module runs."""

    def __init__(self, spec: ModuleSpec, loader: Loader, imported: Callable[[str], None]) -> None:
        self._spec = spec
        self._loader = loader
        self._imported = imported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._imported(module.__name__)
