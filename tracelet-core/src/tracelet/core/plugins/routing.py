"""What a routing policy is: it says which backends an artifact goes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.shapes import takes

__all__ = ["ArtifactSummary", "RoutingSpec"]


@attrs.frozen
class ArtifactSummary:
    """What a routing policy is told about an artifact, before it is sealed."""

    name: str
    type: ArtifactType
    size_bytes: int
    metadata: dict[str, Any]


@attrs.frozen(kw_only=True)
class RoutingSpec:
    """A routing policy; what a plugin's ``tracelet_routing`` hook returns.

    ``route(summary, configured)`` returns some of the configured backends' names, in any order. It is
    pure and does no I/O.

    Example:
        >>> def models_to_mlflow(summary, configured):
        ...     return [name for name in configured if name != "mlflow" or summary.type is ArtifactType.MODEL]
        >>> spec = RoutingSpec(name="models-to-mlflow", route=models_to_mlflow)
        >>> spec.route(ArtifactSummary("table", ArtifactType.DATASET, 1_000, {}), ["local", "mlflow"])
        ['local']

    """

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "routing policy"))
    route: Callable[[ArtifactSummary, Sequence[str]], Sequence[str]] = attrs.field(
        validator=takes("summary", "configured")
    )
