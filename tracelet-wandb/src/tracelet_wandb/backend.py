"""Artifacts in W&B. Each version is an artifact version of W&B's own, with the manifest as a file in it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import wandb

from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    VersionConflict,
)
from tracelet.plugin import (
    ArtifactType,
    Backend,
    BackendContext,
    ForeignArtifact,
    Labels,
    Manifest,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    label_conflict,
    make_folder,
    parse_ref,
)
from tracelet_wandb import offline_runs
from tracelet_wandb.connection import Place, connect, is_offline, set_up
from tracelet_wandb.discovering import discover
from tracelet_wandb.downloads import bring, is_noted
from tracelet_wandb.errors import is_conflict, is_upload, translated
from tracelet_wandb.experiments import experiments
from tracelet_wandb.foreign_files import fetch
from tracelet_wandb.media import show
from tracelet_wandb.names import project_name
from tracelet_wandb.notes import with_label
from tracelet_wandb.offline import Catalogue, OfflineBackend
from tracelet_wandb.program import served_program
from tracelet_wandb.runs import Runs
from tracelet_wandb.settings import WandbSettings
from tracelet_wandb.staging import recorded, sweep
from tracelet_wandb.uploads import build
from tracelet_wandb.versions import Versions

__all__ = ["WandbBackend", "open_backend"]

#: Seconds that the SDK waits for an upload, where the lane's own limit does not end it before.
_LONGEST = 86_400
#: Attempts at a version that other writers' versions conflict with: each conflict is one that somebody else won.
_CONFLICTS = 10


def open_backend(experiment: str, settings: WandbSettings, context: BackendContext) -> Backend:
    """Log in to W&B, or open the offline catalogue, as W&B's mode says."""
    own = set_up(context.sdk)
    folder = context.directory / "wandb"
    rows, files = (settings.table_rows, settings.media_files) if settings.media else (0, 0)
    make_folder(folder)
    if is_offline(own, context.sdk):
        return OfflineBackend(experiment, folder, context.sdk, files=files, rows=rows)
    place = connect(own, settings.entity, project_name(experiment))
    return WandbBackend(place, experiment, folder, context.sdk, files=files, rows=rows)


class WandbBackend:
    """One experiment as a project on a W&B server."""

    def __init__(
        self, place: Place, experiment: str, folder: Path, sdk: dict[str, Any], *, files: int, rows: int
    ) -> None:
        """``folder`` is for what the SDK writes. ``files`` and ``rows`` limit what is shown of an artifact on a run."""
        self._place = place
        self._experiment = experiment
        self._versions = Versions(place)
        self._pending = Catalogue(folder, experiment)
        self._folder = folder
        self._files, self._rows = files, rows
        self._runs = Runs(place, served_program(), sdk, folder)

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. W&B's run begins with the first put."""
        self._runs.turn_to(run)
        for _ in sweep(self._folder / "staging"):
            pass

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._runs.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`: W&B numbers the version and shows it when it is complete."""
        manifest = sealed.manifest
        if labels.version and (taken := self._versions.find(manifest.name, parse_ref(labels.version))) is not None:
            if taken.manifest.digest != manifest.digest:
                raise label_conflict(manifest.name, labels.version, taken.number)
            return taken
        artifact = self._runs.write(lambda run: self._logged(run, sealed, labels))
        self._versions.remember(artifact, manifest)
        if labels.version:
            artifact = self._settled(artifact, sealed, labels)
        show(self._runs.begun(), sealed, self._folder, files=self._files, rows=self._rows)
        self._forget(manifest.name, manifest.put_id)
        stored = self._versions.stored(artifact)
        if stored is None:
            raise BackendError(f"W&B at {self._place.server} took {manifest.name!r} and does not give it back.")
        return stored

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        wanted = parse_ref(ref)
        found = self._versions.find(name, wanted)
        if wanted.put_id is not None and found is not None:
            # `wandb sync` or another process has sent it. It waits no longer.
            self._forget(name, wanted.put_id)
        return found

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterable[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        return self._versions.every(name, type)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        artifact = self._of(stored)
        with translated(self._place.server):
            noted = is_noted(artifact, stored.manifest)
        if not noted and self._versions.filed_manifest(artifact) != stored.manifest:
            raise IntegrityError(
                f"the metadata of {artifact.source_name} on W&B describes another artifact than its file "
                "tracelet.json: somebody edited it. Log the artifact again."
            )
        bring(artifact, stored.manifest, paths, dest, self._place.server)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        manifest, artifact = stored.manifest, self._of(stored)
        if labels.version and labels.version != stored.label:
            taken = self._versions.find(manifest.name, parse_ref(labels.version))
            if taken is not None and taken.number != stored.number:
                raise label_conflict(manifest.name, labels.version, taken.number)
            self._save(artifact, metadata=self._with_label(artifact, manifest, labels.version))
            if self._is_lost(stored.number, manifest.name, manifest.digest, labels.version):
                self._save(artifact, metadata=self._with_label(artifact, manifest, stored.label))
                raise VersionConflict(f"{manifest.name!r} {labels.version!r} was given to other content meanwhile.")
        self._save(artifact, aliases=[*filter(None, [labels.version]), *labels.aliases])
        found = self._versions.stored(artifact)
        assert found is not None
        return found

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`. The server keeps ``latest`` and the version's number itself."""
        artifact = self._of(stored)
        held = self._versions.stored(artifact)
        assert held is not None
        gone = {*held.aliases} & {*aliases}
        if not gone:
            return held
        with translated(self._place.server):
            artifact.aliases = [one for one in artifact.aliases if one not in gone]
            artifact.save()
        left = self._versions.stored(artifact)
        assert left is not None
        return left

    def experiments(self) -> Iterator[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`: the projects of the entity that have a version of Tracelet's."""
        return experiments(self._place)

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        return self._versions.users(digest)

    def delete(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.Deletes`. W&B frees the bytes that no other version has, in its own time."""
        artifact = self._of(stored)
        with translated(self._place.server):
            artifact.delete(delete_aliases=True)

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`: W&B draws its own lineage from this."""
        path = self._place.path(stored.manifest.name, f"v{stored.number}")

        def use(run: wandb.Run) -> None:
            with translated(self._place.server):
                run.use_artifact(path)

        try:
            self._runs.write(use)
        except (BackendUnavailable, BackendAuthError):
            raise
        except BackendError:
            # If the version was deleted, this raises a clearer error than W&B's.
            self._of(stored)
            raise

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: copies for killed uploads, and bytes in the offline catalogue."""
        yield from sweep(self._folder / "staging")
        yield from self._pending.collect(older_than)

    def discover(self, place: str) -> Iterator[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`."""
        return discover(self._place, place)

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        fetch(self._place, found, dest)

    # -- steps

    def _logged(self, run: wandb.Run, sealed: SealedArtifact, labels: Labels) -> wandb.Artifact:
        """Upload and commit. Begin again where another writer's version was first with one of the same files."""
        conflicts = 0
        while True:
            with recorded(self._folder / "staging") as record, TemporaryDirectory(dir=self._folder) as made:
                with translated(self._place.server):
                    artifact = build(sealed, labels.version, self._experiment, record.add, Path(made))
                try:
                    return self._committed(run, artifact, sealed, labels)
                except BackendError as error:
                    conflicts += is_conflict(error)
                    if not isinstance(error, BackendUnavailable) or is_upload(error):
                        # Nobody else removes it. If this fails, too, it still is no version: it is not committed.
                        with contextlib.suppress(BackendError):
                            self._versions.undo(artifact)
                    if not is_conflict(error) or conflicts == _CONFLICTS:
                        raise

    def _committed(
        self, run: wandb.Run, artifact: wandb.Artifact, sealed: SealedArtifact, labels: Labels
    ) -> wandb.Artifact:
        """Log a version. With a label, aliases move later, when it is certain that this version has the label."""
        with translated(self._place.server):
            try:
                logged = run.log_artifact(artifact, aliases=[] if labels.version else list(labels.aliases))
            except ValueError as error:
                raise ArtifactError(
                    f"W&B at {self._place.server} cannot take {sealed.manifest.name!r}: {error} Choose another name."
                ) from error
            logged.wait(_LONGEST)
        if logged.state != "COMMITTED" or logged.source_name.partition(":")[0] != sealed.manifest.name:
            raise BackendError(f"W&B at {self._place.server} did not commit {sealed.manifest.name!r} ({logged.state}).")
        return logged

    def _settled(self, artifact: wandb.Artifact, sealed: SealedArtifact, labels: Labels) -> wandb.Artifact:
        """Give the version its label, or delete the version where a simultaneous one was first.

        W&B has no compare-and-swap for aliases. So each writer claims the label in its version's metadata. Versions are
        numbered as they are committed, so the lowest claim is there before any later writer looks.
        """
        manifest, label = sealed.manifest, labels.version
        assert label is not None
        number = int(artifact.source_version[1:])
        if self._is_lost(number, manifest.name, manifest.digest, label):
            with translated(self._place.server):
                artifact.delete(delete_aliases=True)
            raise VersionConflict(
                f"{manifest.name!r} {label!r} was given to other content meanwhile: choose another label."
            )
        self._save(artifact, aliases=[label, *labels.aliases])
        return artifact

    def _is_lost(self, number: int, name: str, digest: str, label: str) -> bool:
        holder = self._versions.named(name, label)
        held = self._versions.stored(holder)
        if held is not None and held.manifest.digest != digest:
            return True
        return any(one.number < number and one.manifest.digest != digest for one in self._versions.claims(name, label))

    def _save(
        self, artifact: wandb.Artifact, *, aliases: Iterable[str] = (), metadata: dict[str, Any] | None = None
    ) -> None:
        with translated(self._place.server):
            if metadata is not None:
                artifact.metadata = metadata
            artifact.aliases = list(dict.fromkeys([*artifact.aliases, *aliases]))
            artifact.save()

    def _with_label(self, artifact: wandb.Artifact, manifest: Manifest, label: str | None) -> dict[str, Any]:
        return with_label(artifact.metadata, manifest, label, self._experiment)

    def _forget(self, name: str, put_id: str) -> None:
        """Note that the server has an artifact: it waits no longer, neither here nor in W&B's own offline run."""
        self._pending.forget(name, put_id)
        offline_runs.forget(self._folder / "offline-runs", put_id)

    def _of(self, stored: StoredArtifact) -> wandb.Artifact:
        found = self._versions.numbered(stored.manifest.name, stored.number)
        own = None if found is None else self._versions.manifest(found)
        if found is None or own is None or own.put_id != stored.manifest.put_id:
            raise ArtifactNotFound(
                f"{stored.manifest.name!r} v{stored.number} is gone from W&B at {self._place.server}, or was replaced."
            )
        return found
