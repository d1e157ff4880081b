"""The four hooks of a plugin. They declare and do nothing; the specs that they return do the work."""

from __future__ import annotations

from collections.abc import Iterable

from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.detector import DetectorSpec
from tracelet.core.plugins.marks import hookspec
from tracelet.core.plugins.routing import RoutingSpec
from tracelet.core.plugins.serializers import SerializerSpec

__all__ = ["tracelet_backends", "tracelet_detectors", "tracelet_routing", "tracelet_serializers"]


@hookspec
def tracelet_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Return the backends that the plugin provides."""


@hookspec
def tracelet_detectors() -> Iterable[DetectorSpec]:  # type: ignore[empty-body]
    """Return the detectors that the plugin provides."""


@hookspec
def tracelet_routing() -> Iterable[RoutingSpec]:  # type: ignore[empty-body]
    """Return the routing policies that the plugin provides."""


@hookspec
def tracelet_serializers() -> Iterable[SerializerSpec]:  # type: ignore[empty-body]
    """Return the serializers that the plugin provides."""
