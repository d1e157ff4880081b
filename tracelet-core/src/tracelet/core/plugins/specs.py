"""What the installed plugins provide: their specs by kind and name, where each comes from, and what cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from tracelet.exceptions import PluginLoadError, UnknownPlugin

if TYPE_CHECKING:
    from tracelet.core.plugins.backend_spec import BackendSpec
    from tracelet.core.plugins.detector import DetectorSpec
    from tracelet.core.plugins.routing import RoutingSpec
    from tracelet.core.plugins.serializers import SerializerSpec

__all__ = ["CORE", "Installed", "PluginRecord", "SpecSet"]

#: The distribution whose extras are Tracelet's own plugins.
CORE = "tracelet-core"
Spec = TypeVar("Spec", "BackendSpec", "DetectorSpec", "RoutingSpec", "SerializerSpec")


@attrs.frozen
class PluginRecord:
    """One entry point: where it comes from, what it provides, and what is wrong with it."""

    name: str
    distribution: str
    version: str
    target: str
    provides: tuple[str, ...] = ()
    error: PluginLoadError | None = None
    #: What it provides that is not used, such as ``backend local``, and why.
    refused: Mapping[str, PluginLoadError] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@attrs.frozen
class SpecSet(Generic[Spec]):
    """The specs of one kind that can be used, by name, and the names that cannot."""

    kind: str
    specs: Mapping[str, Spec]
    broken: Mapping[str, PluginLoadError]
    #: By name: the distribution that provides it, with its version.
    origins: Mapping[str, str] = attrs.field(factory=dict)
    #: The names that Tracelet's own distributions provide.
    own: Collection[str] = frozenset()

    def __iter__(self) -> Any:
        return iter(self.specs.values())

    def get(self, name: str) -> Spec:
        """Return the spec called ``name``.

        Raises :class:`PluginLoadError` where its plugin does not load, and :class:`UnknownPlugin` where no plugin
        provides it; that error names what is installed, and the nearest name.
        """
        if name in self.specs:
            return self.specs[name]
        if name in self.broken:
            raise self.broken[name].with_traceback(None)
        from importlib.metadata import metadata

        near = difflib.get_close_matches(str(name), self.specs, n=1)
        if name in (metadata(CORE).get_all("Provides-Extra") or ()):
            hint = f"Install it: pip install 'tracelet-core[{name}]'"
        elif "," in str(name):
            hint = "Give each name by itself."
        elif near:
            hint = f"Did you mean {near[0]!r}?"
        else:
            hint = "Install the distribution that provides it, or choose one of these."
        raise UnknownPlugin(
            f"no {self.kind} {name!r} is installed; there is {', '.join(sorted(self.specs)) or 'none'}. {hint}"
        )

    def whose(self, name: str) -> str:
        """Return the end of a message, which names the distribution of a spec; an empty text for Tracelet's own specs."""
        return f" {name!r} is of {self.origins[name]}." if name not in self.own and name in self.origins else ""


@attrs.frozen
class Installed:
    """Everything that the installed plugins provide."""

    records: tuple[PluginRecord, ...]
    backends: SpecSet[BackendSpec]
    detectors: SpecSet[DetectorSpec]
    routing: SpecSet[RoutingSpec]
    serializers: SpecSet[SerializerSpec]
