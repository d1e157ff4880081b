"""What an artifact that is being built and a stored one have in common, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference, ArtifactType
from tracelet.core.artifacts.plain import converter
from tracelet.core.artifacts.plain_values import plain_metadata

__all__ = ["AnyArtifact", "plain_artifact"]


class AnyArtifact(Protocol):
    """Either of them."""

    @property
    def name(self) -> str:
        """The name."""
        ...

    @property
    def type(self) -> ArtifactType:
        """The type."""
        ...

    @property
    def description(self) -> str | None:
        """The description, or None."""
        ...

    @property
    def size_bytes(self) -> int:
        """The size of all whose size is known."""
        ...

    @property
    def files(self) -> Iterable[ArtifactFile]:
        """The files."""
        ...

    @property
    def objects(self) -> Iterable[ArtifactObject]:
        """The objects."""
        ...

    @property
    def models(self) -> Iterable[ArtifactModel]:
        """The models."""
        ...

    @property
    def references(self) -> Iterable[ArtifactReference]:
        """The references."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata."""
        ...


def plain_artifact(artifact: AnyArtifact) -> dict[str, Any]:
    """Return name, type, description, metadata, size and entries.

    Raises :class:`~tracelet.ArtifactError` for metadata that has no plain form.
    """
    plain = converter().unstructure
    return {
        "name": artifact.name,
        "type": artifact.type.value,
        "description": artifact.description,
        "size_bytes": artifact.size_bytes,
        "files": [plain(file) for file in artifact.files],
        "objects": [plain(item) for item in artifact.objects],
        "models": [plain(model) for model in artifact.models],
        "references": [plain(ref) for ref in artifact.references],
        "metadata": plain_metadata(artifact.metadata),
    }
