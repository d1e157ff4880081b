"""What an artifact is: its types, entries and rules, the builder, the manifest, and what a call returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracelet.lazy_names import lazy_names

if TYPE_CHECKING:
    from tracelet.core.artifacts.entries import ArtifactType

__all__ = ["ArtifactType"]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, {"tracelet.core.artifacts.entries": ("ArtifactType",)})
