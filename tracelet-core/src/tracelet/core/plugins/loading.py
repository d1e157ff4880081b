"""Loading one plugin: its entry point and each of its hooks by itself, so that what is broken does not hide the rest."""

from __future__ import annotations

import contextlib
import difflib
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import attrs
import pluggy

from tracelet.core.plugins import hookspecs
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.detector import DetectorSpec
from tracelet.core.plugins.marks import PROJECT
from tracelet.core.plugins.routing import RoutingSpec
from tracelet.core.plugins.serializers import SerializerSpec

__all__ = ["HOOKS", "Found", "load_point"]

#: By hook: the kind of its specs, and their class.
HOOKS: Mapping[str, tuple[str, type[Any]]] = {
    "tracelet_backends": ("backend", BackendSpec),
    "tracelet_detectors": ("detector", DetectorSpec),
    "tracelet_routing": ("routing policy", RoutingSpec),
    "tracelet_serializers": ("serializer", SerializerSpec),
}


@attrs.frozen
class Found:
    """What one entry point provides, by hook, and what is wrong with it."""

    specs: Mapping[str, list[Any]] = attrs.field(factory=lambda: {hook: [] for hook in HOOKS})
    faults: list[BaseException] = attrs.field(factory=list)

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """Keep whatever a plugin's code raises as a fault, except the user's own interruption."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - an import may exit, skip or raise what it likes
            self.faults.append(error)


def load_point(point: EntryPoint) -> Found:
    """Load one entry point and ask its hooks, each by itself."""
    found = Found()
    with found.isolated():
        plugin = point.load()
        markers = pluggy.PluginManager(PROJECT)
        hooks = [name for name in dir(plugin) if markers.parse_hookimpl_opts(plugin, name) is not None]
        for name in hooks:
            with found.isolated():
                _ask_hook(name, getattr(plugin, name), found)
        if not hooks:
            found.faults.append(
                TypeError(f"{plugin!r} has no hook of Tracelet's: decorate one with @tracelet.plugin.hookimpl")
            )
        found.faults.extend(_undecorated(plugin, hooks))
    return found


def _ask_hook(name: str, implementation: Any, found: Found) -> None:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    alone = types.SimpleNamespace(**{name: implementation})
    manager.register(alone, name)
    manager.check_pending()
    for caller in manager.get_hookcallers(alone) or ():
        for one in caller.get_hookimpls():
            if one.hookwrapper or one.wrapper:
                raise TypeError(f"{name} is a wrapper: Tracelet asks every plugin by itself, so return a list")
            # Called directly, since pluggy drops a hook that returns None without a word.
            _take(caller.name, one.function(), found)


def _take(hook: str, returned: object, found: Found) -> None:
    """Keep the specs that a hook returned, also those before it raises; anything else that it returned is a fault."""
    spec_type = HOOKS[hook][1]
    expected = f"it must return a list of {spec_type.__name__}"
    if not isinstance(returned, Iterable) or isinstance(returned, (str, bytes)):
        raise TypeError(f"{hook} returned {returned!r}: {expected}")
    for one in returned:
        if isinstance(one, spec_type):
            found.specs[hook].append(one)
        else:
            found.faults.append(TypeError(f"{hook} returned {one!r}: {expected}"))


def _undecorated(plugin: object, hooks: Collection[str]) -> Iterator[BaseException]:
    """Yield an error for each function that looks like a hook, misspelt or not, and has no mark: pluggy ignores it."""
    for name in dir(plugin):
        meant = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.9)
        if meant and name not in hooks and callable(getattr(plugin, name)):
            yield TypeError(f"{name} has no mark, and is not asked: decorate {meant[0]} with @tracelet.plugin.hookimpl")
