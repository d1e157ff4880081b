"""The routing policies ``by-type`` (the default) and ``all``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracelet.plugin import ArtifactSummary, ArtifactType, RoutingSpec, hookimpl

__all__ = ["BEST", "tracelet_routing"]

#: The backend that suits a type best. A type that is not here goes to all configured backends.
BEST = {
    ArtifactType.MODEL: "mlflow",
    ArtifactType.CHECKPOINT: "mlflow",
    ArtifactType.WEIGHTS: "mlflow",
    ArtifactType.IMAGE: "wandb",
    ArtifactType.AUDIO: "wandb",
    ArtifactType.VIDEO: "wandb",
    ArtifactType.VISUALIZATION: "wandb",
    ArtifactType.DATASET: "clearml",
}


def _by_type(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    best = BEST.get(summary.type)
    return [best] if best is not None and best in configured else configured


def _all(summary: ArtifactSummary, configured: Sequence[str]) -> Sequence[str]:
    return configured


@hookimpl
def tracelet_routing() -> Iterable[RoutingSpec]:
    """Provide ``by-type`` and ``all``."""
    return [RoutingSpec(name="by-type", route=_by_type), RoutingSpec(name="all", route=_all)]
