"""The installed plugins, which are looked for when one is needed that is not built in.

To look for them reads the entry points of every distribution and imports every plugin. Most programs need a backend, a
policy and JSON, and mostly those that are built in: no other distribution can take their names.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tracelet.core.plugins.specs import Installed, PluginRecord, SpecSet

if TYPE_CHECKING:
    from tracelet.core.plugins.backend_spec import BackendSpec
    from tracelet.core.plugins.detector import DetectorSpec
    from tracelet.core.plugins.routing import RoutingSpec
    from tracelet.core.plugins.serializers import SerializerSpec

__all__ = ["BUILT_IN", "Registry", "registry"]

#: By hook and name: the module whose hook gives it, of what can be had without looking for plugins.
BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "tracelet_backends": {"local": "tracelet.builtin.local"},
    "tracelet_routing": {"by-type": "tracelet.builtin.routing", "all": "tracelet.builtin.routing"},
    "tracelet_serializers": {"json": "tracelet.builtin.objects"},
}
Value = TypeVar("Value")


class _Found(Mapping[str, Value]):
    """What the plugins give by name. They are looked for when it is asked for a name that is not at hand."""

    def __init__(self, look: Callable[[], Mapping[str, Value]], at_hand: Callable[[str], Value | None]) -> None:
        self._look = look
        self._at_hand = at_hand

    def __getitem__(self, name: str) -> Value:
        found = self._at_hand(name)
        return self._look()[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._look())

    def __len__(self) -> int:
        return len(self._look())


class Registry:
    """Everything that the installed plugins provide."""

    def __init__(self, look: Callable[[], Installed]) -> None:
        """``look`` finds all of it."""
        self._look = look
        self._seen: Installed | None = None
        self.backends: SpecSet[BackendSpec] = self._specs("tracelet_backends", "backend", lambda seen: seen.backends)
        self.detectors: SpecSet[DetectorSpec] = self._specs(
            "tracelet_detectors", "detector", lambda seen: seen.detectors
        )
        self.routing: SpecSet[RoutingSpec] = self._specs(
            "tracelet_routing", "routing policy", lambda seen: seen.routing
        )
        self.serializers: SpecSet[SerializerSpec] = self._specs(
            "tracelet_serializers", "serializer", lambda seen: seen.serializers
        )

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """The entry points, with what each provides."""
        return self.look().records

    def look(self) -> Installed:
        """Look for everything that is installed, if nobody has."""
        # No lock: of two threads that look at once, both see the same.
        if self._seen is None:
            self._seen = self._look()
        return self._seen

    def _specs(self, hook: str, kind: str, of: Callable[[Installed], SpecSet[Any]]) -> SpecSet[Any]:
        def at_hand(name: str) -> Any:
            return _built_in(hook, name) if self._seen is None else None

        def nothing(name: str) -> None:
            return None

        return SpecSet(
            kind,
            _Found(lambda: of(self.look()).specs, at_hand),
            _Found(lambda: of(self.look()).broken, nothing),
            _Found(lambda: of(self.look()).origins, nothing),
            _Found(lambda: dict.fromkeys(of(self.look()).own, True), nothing),
        )


@functools.cache
def _built_in(hook: str, name: str) -> Any:
    module = BUILT_IN.get(hook, {}).get(name)
    if module is None:
        return None
    specs = getattr(importlib.import_module(module), hook)()
    return next(spec for spec in specs if spec.name == name)


@functools.cache
def registry() -> Registry:
    """Return what is installed. A process looks once, at most."""
    return Registry(_look)


def _look() -> Installed:
    from tracelet.core.plugins.discovery import discover_installed

    return discover_installed()
