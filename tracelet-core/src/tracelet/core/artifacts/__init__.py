"""What an artifact is: its types, entries and rules, the builder, the manifest, and what a call returns."""

from tracelet.core.artifacts.entries import ArtifactType

__all__ = ["ArtifactType"]
