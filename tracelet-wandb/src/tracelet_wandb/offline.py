"""Offline mode: a catalogue in the tracelet directory, and beside it W&B's own offline run.

Artifacts are listed and read from the catalogue until the server has them. Its versions are marked as pending, because only
the server numbers versions. W&B's offline run has no versions and cannot be read back. It is there for ``wandb sync``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import wandb

from tracelet.exceptions import BackendError, TraceletError
from tracelet.plugin import ForeignArtifact, Labels, PendingCatalogue, RunInfo, SealedArtifact, StoredArtifact
from tracelet_wandb import offline_runs, runs
from tracelet_wandb.media import show
from tracelet_wandb.names import project_name
from tracelet_wandb.uploads import build

__all__ = ["Catalogue", "OfflineBackend"]

_LOG = logging.getLogger("tracelet.wandb")


class Catalogue(PendingCatalogue):
    """The artifacts that W&B's server does not have yet."""

    def __init__(self, folder: Path, experiment: str) -> None:
        """``folder`` is this plugin's, in the tracelet directory."""
        root = folder / "offline"
        super().__init__(f"wandb-offline://{root}", root, experiment, folder.parent)


class OfflineBackend(Catalogue):
    """The catalogue, and every artifact also in W&B's own offline run."""

    def __init__(self, experiment: str, folder: Path, sdk: dict[str, Any], *, files: int, rows: int) -> None:
        """``folder`` is for the run. ``files`` and ``rows`` limit what is shown of an artifact on it."""
        super().__init__(folder, experiment)
        self._experiment = experiment
        self._project = project_name(experiment)
        self._folder = folder
        self._sdk = sdk
        self._files, self._rows = files, rows
        self._info: RunInfo | None = None
        self._run: wandb.Run | None = None

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. W&B's run begins with the first artifact."""
        self._end(failed=False)
        self._info = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        stored = super().put(sealed, labels)
        if stored.manifest.put_id == sealed.manifest.put_id:
            self._log(self.as_kept(sealed), labels)
        return stored

    def delete_many(self, stored: Sequence[StoredArtifact]) -> Iterator[int | None]:
        """See :class:`~tracelet.plugin.DeletesMany`. The SDK's copies are removed, so ``wandb sync`` stores nothing either."""
        for one, freed in zip(stored, super().delete_many(stored), strict=True):
            copies = offline_runs.withdraw(self._folder / "offline-runs", one.manifest.put_id)
            yield None if freed is None else freed + copies

    def discover(self, place: str) -> NoReturn:
        """Raise: only the server has what was logged without Tracelet."""
        raise _offline()

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> NoReturn:
        """Raise: only the server has it."""
        raise _offline()

    def _log(self, sealed: SealedArtifact, labels: Labels) -> None:
        """Also log the artifact to W&B's offline run. If that fails, the catalogue still has it."""
        try:
            run = self._begun()
            with TemporaryDirectory(dir=self._folder) as made:
                copies: list[str] = []
                artifact = build(sealed, labels.version, self._experiment, copies.append, Path(made))
                run.log_artifact(artifact, aliases=[*filter(None, [labels.version]), *labels.aliases])
            offline_runs.remember(
                self._folder / "offline-runs", Path(run.settings.sync_file), sealed.manifest.put_id, copies
            )
            show(run, sealed, self._folder, files=self._files, rows=self._rows)
        except (wandb.Error, OSError, TypeError, ValueError, TraceletError) as error:
            _LOG.warning("W&B's offline run does not have %r: %s", sealed.manifest.name, error)

    def _begun(self) -> wandb.Run:
        if self._run is None:
            assert self._info is not None
            self._run = runs.begin_offline(self._project, self._info, self._sdk, self._folder)
        return self._run

    def _end(self, *, failed: bool) -> None:
        run, self._run = self._run, None
        if run is not None:
            runs.finish(run, failed=failed)


def _offline() -> BackendError:
    return BackendError(
        "W&B is offline here, and only its server has what was logged without Tracelet: unset WANDB_MODE, or set it to online.",
        retryable=False,
    )
