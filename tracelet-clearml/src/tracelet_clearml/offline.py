"""Offline mode: a catalogue in the tracelet directory, which is listed and read until the server has the artifact.

Its versions are marked as pending, for only the server gives versions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from tracelet.plugin import (
    ArtifactType,
    Labels,
    PendingCatalogue,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
)
from tracelet_clearml.offline_session import OfflineSession

__all__ = ["OfflineBackend", "OfflineCatalogue"]


class OfflineCatalogue(PendingCatalogue):
    """What ClearML's server is still to get."""

    def __init__(self, directory: Path, experiment: str) -> None:
        root = directory / "clearml-offline"
        super().__init__(f"clearml-offline://{root}", root, experiment)


class OfflineBackend:
    """The catalogue, and every artifact also in an offline session of ClearML's own."""

    def __init__(self, experiment: str, directory: Path, user_task: str) -> None:
        """``user_task`` is the id of the offline task that the user's own process has, or empty."""
        self._catalogue = OfflineCatalogue(directory, experiment)
        self._session = OfflineSession(experiment, directory, user_task)
        self._run: RunInfo | None = None

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. ClearML's session is begun with the first artifact."""
        self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._session.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        stored = self._catalogue.put(sealed, labels)
        if self._run is not None and stored.manifest.put_id == sealed.manifest.put_id:
            self._session.note(sealed, stored, self._run)
        return stored

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        return self._catalogue.find(name, ref)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        return self._catalogue.list(name=name, type=type)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._catalogue.fetch(stored, paths, dest)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        return self._catalogue.relabel(stored, labels)

    def delete(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.Deletes`. What ClearML's offline session has of it stays there."""
        self._catalogue.delete(stored)

    def take_back(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.TakesBack`."""
        self._catalogue.take_back(stored)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`."""
        return self._catalogue.collect(older_than)

    def record_input(self, stored: StoredArtifact) -> None:
        """ClearML notes no inputs offline; what is logged from now on names the digest in its manifest."""
