"""Discovery: what is installed, from which distribution, and what is broken.

Every entry point is loaded by itself, so that a broken plugin that nobody names costs nothing.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points, metadata
from typing import Any, Generic, TypeVar

import attrs
import pluggy

from tracelet.core import hookspecs
from tracelet.core.backend import BackendSpec
from tracelet.core.detector import DetectorSpec
from tracelet.core.routing import RoutingSpec
from tracelet.core.serializers import SerializerSpec
from tracelet.exceptions import PluginLoadError, UnknownPlugin

__all__ = ["Catalogue", "PluginRecord", "Registry", "discover", "registry"]

Spec = TypeVar("Spec", BackendSpec, DetectorSpec, RoutingSpec, SerializerSpec)


@attrs.frozen
class PluginRecord:
    """One entry point: where it came from, what it provides, or why it does not load."""

    name: str
    distribution: str
    version: str
    target: str
    provides: tuple[str, ...] = ()
    error: Exception | None = None


@attrs.frozen
class Catalogue(Generic[Spec]):
    """The usable specs of one kind, by name, and the names that cannot be used."""

    kind: str
    specs: Mapping[str, Spec]
    broken: Mapping[str, PluginLoadError]

    def __iter__(self) -> Any:
        return iter(self.specs.values())

    def get(self, name: str) -> Spec:
        """Return the spec called ``name``.

        Raises :class:`PluginLoadError` where its plugin does not load, :class:`UnknownPlugin` with what
        is installed and the nearest name where there is none.
        """
        if name in self.broken:
            raise self.broken[name].with_traceback(None)
        if name in self.specs:
            return self.specs[name]
        near = difflib.get_close_matches(str(name), self.specs, n=1)
        if name in (metadata("tracelet-core").get_all("Provides-Extra") or ()):
            hint = f"Install it: pip install 'tracelet-core[{name}]'"
        elif near:
            hint = f"Did you mean {near[0]!r}?"
        else:
            hint = "Install the distribution that provides it, or choose one of these."
        raise UnknownPlugin(
            f"no {self.kind} {name!r} is installed; there is {', '.join(sorted(self.specs)) or 'none'}. {hint}"
        )


@attrs.frozen
class Registry:
    """Everything that the installed plugins provide."""

    records: tuple[PluginRecord, ...]
    backends: Catalogue[BackendSpec]
    detectors: Catalogue[DetectorSpec]
    routing: Catalogue[RoutingSpec]
    serializers: Catalogue[SerializerSpec]


_HOOKS: Mapping[str, tuple[str, type[Any]]] = {
    "tracelet_backends": ("backend", BackendSpec),
    "tracelet_detectors": ("detector", DetectorSpec),
    "tracelet_routing": ("routing policy", RoutingSpec),
    "tracelet_serializers": ("serializer", SerializerSpec),
}


def _load(name: str, plugin: object) -> dict[str, list[Any]]:
    """Return the specs that one plugin gives, by hook; raises whatever is wrong with it."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    manager.check_pending()
    if not manager.get_hookcallers(plugin):
        raise TypeError(f"{plugin!r} has no hook of Tracelet's: decorate one with @tracelet.plugin.hookimpl")
    return {
        hook: [
            spec
            # One by one: pluggy would pass over a hook that returns None in silence.
            for implementation in getattr(manager.hook, hook).get_hookimpls()
            for spec in _returned(hook, spec_type, implementation.function())
        ]
        for hook, (_, spec_type) in _HOOKS.items()
    }


def _returned(hook: str, spec_type: type[Any], returned: object) -> list[Any]:
    specs = list(returned) if isinstance(returned, Iterable) and not isinstance(returned, (str, bytes)) else [returned]
    odd = [spec for spec in specs if not isinstance(spec, spec_type)]
    if odd or not isinstance(returned, Iterable):
        raise TypeError(f"{hook} returned {(odd or specs)[0]!r}: it must return a list of {spec_type.__name__}")
    return specs


def _unique(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    """One distribution that is found twice on the path is still one."""
    seen = {(point.name, point.value, _distribution(point)[0]): point for point in points}
    return sorted(seen.values(), key=lambda point: (_distribution(point)[0] != "tracelet-core", point.name))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist is not None else ("unknown", "")


def discover(points: Iterable[EntryPoint]) -> Registry:
    """Load plugins one by one and sort what they provide; what is wrong with one is kept in its record.

    Where two plugins provide the same name, the name cannot be used until one of them is removed.
    """
    records: list[PluginRecord] = []
    failed: dict[str, PluginLoadError] = {}
    specs: dict[str, dict[str, Any]] = {hook: {} for hook in _HOOKS}
    clashes: dict[str, dict[str, PluginLoadError]] = {hook: {} for hook in _HOOKS}
    owners: dict[tuple[str, str], str] = {}
    for point in _unique(points):
        distribution, version = _distribution(point)
        record = PluginRecord(point.name, distribution, version, point.value)
        try:
            found = _load(f"{point.name} of {distribution}", point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a third party's import raises
            failure = PluginLoadError(
                f"the plugin {point.name!r} of {distribution} {version} does not load: {type(error).__name__}: {error}. "
                "Repair it, or uninstall it."
            )
            failure.__cause__ = error
            records.append(attrs.evolve(record, error=failure))
            failed[point.name] = failure
            continue
        provides = []
        for hook, (kind, _) in _HOOKS.items():
            for spec in found[hook]:
                provides.append(f"{kind} {spec.name}")
                first = owners.setdefault((hook, spec.name), distribution)
                if spec.name in specs[hook]:
                    clashes[hook][spec.name] = PluginLoadError(
                        f"{kind} {spec.name!r} is provided by {first} and by {distribution}: uninstall one of them."
                    )
                specs[hook][spec.name] = spec
        records.append(attrs.evolve(record, provides=tuple(provides)))

    def catalogue(hook: str) -> Catalogue[Any]:
        # A name whose own entry point is broken may be provided, whole, by another one.
        absent = {name: error for name, error in failed.items() if name not in specs[hook]}
        good = {name: spec for name, spec in specs[hook].items() if name not in clashes[hook]}
        return Catalogue(_HOOKS[hook][0], good, {**absent, **clashes[hook]})

    return Registry(
        tuple(records),
        catalogue("tracelet_backends"),
        catalogue("tracelet_detectors"),
        catalogue("tracelet_routing"),
        catalogue("tracelet_serializers"),
    )


@functools.cache
def registry() -> Registry:
    """Return what is installed; looked up once a process."""
    return discover(entry_points(group=hookspecs.PROJECT))
