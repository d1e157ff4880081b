"""Which type of artifact becomes of what ClearML holds. Its bytes are not looked at."""

from __future__ import annotations

from tracelet.plugin import ArtifactType, tell_type_by_names

__all__ = ["type_of"]

#: By ClearML's own word for what an artifact is.
_KINDS = {
    "image": ArtifactType.IMAGE,
    "pandas": ArtifactType.DATASET,
    "numpy": ArtifactType.DATASET,
    "data-audit-table": ArtifactType.DATASET,
    "dict": ArtifactType.CONFIG,
    "JSON": ArtifactType.CONFIG,
}


def type_of(kind: str, path: str) -> ArtifactType:
    """Return the type for ClearML's own word for an artifact, or else for the name of its file."""
    return _KINDS.get(kind) or tell_type_by_names([path])
