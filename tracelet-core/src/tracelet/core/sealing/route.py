"""Where an artifact goes: what its metadata prefers, or what the routing policy chooses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.plain_values import plain_metadata
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.calling import choose
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.routing import ArtifactSummary
from tracelet.exceptions import ArtifactError

__all__ = ["backends_for"]

_LOG = logging.getLogger("tracelet.artifacts")


def backends_for(
    artifact: TraceletArtifact, specs: Mapping[str, BackendSpec], policy_name: str, plugins: Registry
) -> list[BackendSpec]:
    """Return the backends, of those in ``specs``, that an artifact goes to: at least one.

    Raises :class:`~tracelet.ArtifactError` for what is no artifact and for preferences that are none,
    :class:`~tracelet.exceptions.UnknownPlugin` for a preferred backend that is not installed, and
    :class:`~tracelet.exceptions.PluginError` for a policy that chooses nothing, or others.
    """
    if not isinstance(artifact, TraceletArtifact):
        raise ArtifactError(f"{artifact!r} is no TraceletArtifact: make one with create_artifact.")
    configured = list(specs)
    preferred = artifact.metadata.get("preferred_backends")
    if preferred is not None:
        return [specs[name] for name in _preferred(preferred, configured, plugins)]
    # Of its own, so that a policy that changes what it is given changes nothing.
    metadata = plain_metadata(artifact.metadata)
    summary = ArtifactSummary(artifact.name, artifact.type, artifact.size_bytes, metadata)
    chosen = choose(plugins.routing, policy_name, summary, tuple(configured))
    return [specs[name] for name in configured if name in chosen]


def _preferred(preferred: Any, configured: list[str], plugins: Registry) -> list[str]:
    if not isinstance(preferred, (list, tuple)) or not all(isinstance(name, str) for name in preferred):
        raise ArtifactError(f"metadata['preferred_backends'] is {preferred!r}: give a list of backends' names.")
    for name in preferred:
        plugins.backends.get(name)
    absent = [name for name in preferred if name not in configured]
    if absent:
        _LOG.warning("preferred_backends names %s, which this experiment does not use.", ", ".join(absent))
    return [name for name in configured if name in preferred] or configured
