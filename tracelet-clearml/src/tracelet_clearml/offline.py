"""Offline mode: a catalogue in the tracelet directory, which is listed and read until the server has the artifact.

Its versions are marked as pending, for only the server gives versions.
"""

from __future__ import annotations

from pathlib import Path

from tracelet.plugin import Labels, PendingCatalogue, RunInfo, SealedArtifact, StoredArtifact
from tracelet_clearml.offline_session import OfflineSession

__all__ = ["OfflineBackend", "OfflineCatalogue"]


class OfflineCatalogue(PendingCatalogue):
    """What ClearML's server is still to get."""

    def __init__(self, directory: Path, experiment: str) -> None:
        root = directory / "clearml-offline"
        super().__init__(f"clearml-offline://{root}", root, experiment)


class OfflineBackend(OfflineCatalogue):
    """The catalogue, and every artifact also in an offline session of ClearML's own."""

    def __init__(self, experiment: str, directory: Path, user_task: str) -> None:
        """``user_task`` is the id of the offline task that the user's own process has, or empty."""
        super().__init__(directory, experiment)
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
        stored = super().put(sealed, labels)
        if self._run is not None and stored.manifest.put_id == sealed.manifest.put_id:
            self._session.note(sealed, stored, self._run)
        return stored
