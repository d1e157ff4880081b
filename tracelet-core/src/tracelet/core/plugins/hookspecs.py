"""The four hooks of a plugin. They declare and do nothing; the specs that they return do the work."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.detector import DetectorSpec
from tracelet.core.plugins.routing import RoutingSpec
from tracelet.core.plugins.serializers import SerializerSpec

__all__ = ["PROJECT", "hookimpl", "hookspec"]

#: The entry-point group, and pluggy's name for the project.
PROJECT = "tracelet"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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
