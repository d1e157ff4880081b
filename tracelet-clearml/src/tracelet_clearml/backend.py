"""The backend that core calls: it claims a version, stores the files, and then commits the record."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs
from clearml.backend_api import Session

from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    NewerFormat,
    TraceletError,
    VersionConflict,
)
from tracelet.plugin import (
    ArtifactType,
    BackendContext,
    FileChanged,
    ForeignArtifact,
    Labels,
    Manifest,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    hash_blob,
    or_damage,
    sound,
    target_path,
)
from tracelet_clearml.api import Api
from tracelet_clearml.artifacts import TaskArtifacts
from tracelet_clearml.blobs import Rollback, Uploads, download, extract, remove, scratch_folder, upload
from tracelet_clearml.dataset_lines import delete_unneeded
from tracelet_clearml.datasets import Datasets, Parent
from tracelet_clearml.discovering import Discovery, fetch
from tracelet_clearml.display import VersionName, send_samples
from tracelet_clearml.errors import translated
from tracelet_clearml.experiments import experiments
from tracelet_clearml.index import Claim, Index, NumberTaken, Record
from tracelet_clearml.models import MODELS, OutputModels
from tracelet_clearml.offline import OfflineCatalogue
from tracelet_clearml.projects import Projects
from tracelet_clearml.records import Blob, Body, Place, read_body
from tracelet_clearml.runs import Runs, RunTask
from tracelet_clearml.settings import ClearmlSettings

__all__ = ["ClearmlBackend"]

_LOG = logging.getLogger("tracelet.clearml")

#: Longer records are stored as a file, for one request may return many records.
_INLINE = 250_000
#: So many inputs of a run become parents of a dataset.
_PARENTS = 4


class ClearmlBackend:
    """Artifacts in ClearML: as artifacts of a task, as output models, or as datasets."""

    def __init__(self, api: Api, experiment: str, settings: ClearmlSettings, context: BackendContext) -> None:
        self._api = api
        self._settings = settings
        self._directory = context.directory
        self._projects = Projects(api, experiment)
        self._runs = Runs(api, self._projects, experiment, context.sdk)
        self._index = Index(api, self._projects)
        destination = settings.output_uri or str(Session.get_files_server_host())
        self._uploads = Uploads(destination, self._projects.name, context.directory)
        self._tasks = TaskArtifacts(api, self._uploads, self._runs)
        self._models = OutputModels(api, self._uploads, self._runs)
        self._datasets = Datasets(api, self._uploads, settings.output_uri)
        self._waiting = OfflineCatalogue(context.directory, experiment)
        self._run: RunInfo | None = None

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        with translated():
            self._projects.forget()
            self._runs.task_of(run)
        self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        with translated():
            self._runs.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        with translated():
            self._projects.forget()
            rollback = Rollback()
            try:
                found = self._put(sealed, labels, rollback)
            except NumberTaken:
                found = self._put(sealed, labels, rollback)
            except (ArtifactError, BackendError) as error:
                if isinstance(error, (VersionConflict, BackendUnavailable, BackendAuthError)):
                    raise
                if not self._projects.have_changed():
                    raise
                # Somebody has deleted or renamed the project meanwhile: there is another one now, or none.
                rollback.run()
                found = self._put(sealed, labels, rollback)
            else:
                if self._projects.have_changed():
                    # The project was renamed, and what was stored is under the new name: nobody would find it here.
                    if found.head.put_id == sealed.manifest.put_id:
                        self._index.abandon(found.head)
                        rollback.run()
                    found = self._put(sealed, labels, rollback)
            self._waiting.forget(sealed.manifest.name, sealed.manifest.put_id)
            return self._stored(found)

    def _put(self, sealed: SealedArtifact, labels: Labels, rollback: Rollback) -> Record:
        manifest = sealed.manifest
        claim = self._index.claim(manifest, labels)
        if isinstance(claim, Record):
            return claim
        with self._giving_up(claim, rollback), translated():
            run_task = self._runs.task_of(self._begun())
            place = self._store(sealed, labels, claim, run_task, rollback)
            body = self._body(manifest, place, run_task, rollback)
            found = self._index.commit(claim, manifest, labels, body)
        if found.head.id != claim.head.id:
            # Another writer has stored the same content under the same label meanwhile.
            self._give_up(claim, rollback)
        else:
            self._show(found, manifest, place)
        return found

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        with translated():
            self._projects.forget()
            found = self._index.find(name, ref)
            return None if found is None else self._stored(found)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        with translated():
            self._projects.forget()
            yield from sound(
                map(
                    or_damage(self._stored, lambda one: f"{one.head.name!r} v{one.head.number}"),
                    self._index.every(name, type),
                )
            )

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        sizes = {file.artifact_path: file.size_bytes for file in stored.manifest.payload}
        place = Place.from_plain(stored.locator["place"])
        wanted = set(paths)
        with translated(), scratch_folder(self._directory) as scratch:
            for number, blob in enumerate(place.blobs):
                inside = [path for path in blob.paths if path in wanted]
                wanted -= set(inside)
                if blob.zipped and inside:
                    archive = scratch / f"{number}.zip"
                    download(blob, archive)
                    extract(archive, {path: sizes[path] for path in inside}, dest)
                    archive.unlink()
                for path in () if blob.zipped else inside:
                    download(blob, target_path(dest, path))
        if wanted:
            raise ArtifactNotFound(f"ClearML has no bytes of {sorted(wanted)[0]!r} of {stored.manifest.name!r}.")

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        with translated():
            self._projects.forget()
            return self._stored(self._index.relabel(self._found(stored).head, labels))

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        with translated():
            self._projects.forget()
            return self._stored(self._index.take_aliases(self._found(stored).head, aliases))

    def experiments(self) -> Iterator[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`."""
        with translated():
            yield from experiments(self._api)

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        with translated():
            self._projects.forget()
            read = or_damage(partial(self._user, digest), lambda one: f"{one.head.name!r} v{one.head.number}")
            yield from (one for one in sound(map(read, self._index.users(digest))) if one is not None)

    def _user(self, digest: str, found: Record) -> StoredArtifact | None:
        """Return a version with its aliases, or None if it was not made from a digest."""
        stored = self._stored(found)
        if digest not in stored.manifest.inputs:
            return None
        return attrs.evolve(stored, aliases=self._index.aliases(found.head))

    def delete(self, stored: StoredArtifact) -> int:
        """See :class:`~tracelet.plugin.Deletes`. A ClearML dataset stays while others come from it."""
        (freed,) = self.delete_many([stored])
        return freed

    def delete_many(self, stored: Sequence[StoredArtifact]) -> Iterator[int]:
        """See :class:`~tracelet.plugin.DeletesMany`: which datasets come from which is asked once."""
        with translated():
            self._projects.forget()
            freed: list[int] = []
            datasets: dict[str, int] = {}
            try:
                for one in stored:
                    place = Place.from_plain(one.locator["place"])
                    freed.append(self._delete(one, place))
                    if place.kind == "dataset":
                        datasets[place.entity] = len(freed) - 1
            finally:
                # Also if one of them could not be deleted: nobody would look for the others' again.
                if datasets:
                    freed[max(datasets.values())] += delete_unneeded(self._api, datasets)
                yield from freed

    def _delete(self, stored: StoredArtifact, place: Place) -> int:
        """Delete the record of a version, and then what it names but a dataset. It is no error if something is gone already."""
        found = self._found(stored)
        body = read_body(found.task)
        self._index.forget(found.head)
        freed = sum(map(remove, filter(None, (body.whole, body.aside))))
        if place.kind == "dataset":
            return freed
        if place.kind == "model":
            self._api.call_unless_gone("models", "delete", model=place.entity, force=True)
        elif place.keys and not self._tasks.drop(place.task, place.keys):
            _LOG.warning(
                "%r v%d is deleted, but the ClearML task %s still lists it: the task has ended, and ClearML does not change "
                "ended tasks. The files are gone.",
                *(stored.manifest.name, stored.number, place.task),
            )
        return freed + sum(map(remove, place.blobs))

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`."""
        with translated():
            self._projects.forget()
            self._runs.note_input(self._begun(), stored, Place.from_plain(stored.locator["place"]))

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: bytes of an offline mode that the server has by now."""
        return self._waiting.collect(older_than)

    def discover(self, place: str) -> Iterator[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`."""
        with translated():
            yield from Discovery(self._api, self._directory).discover(place)

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        with translated():
            fetch(self._api, found, self._directory, dest)

    # -- storing

    def _store(
        self, sealed: SealedArtifact, labels: Labels, claim: Claim, run_task: RunTask, rollback: Rollback
    ) -> Place:
        manifest, version_name = sealed.manifest, VersionName.of(claim, labels)
        if manifest.type is ArtifactType.DATASET:
            return self._datasets.store(sealed, version_name, run_task, rollback, self._parents(manifest))
        if manifest.type in MODELS and manifest.payload:
            return self._models.store(sealed, version_name, run_task, rollback)
        return self._tasks.store(sealed, version_name, run_task, rollback)

    def _show(self, found: Record, manifest: Manifest, place: Place) -> None:
        """Show media as debug samples. The version is stored by now, so a failure is only a warning."""
        if place.kind != "artifacts" or not self._settings.samples:
            return
        try:
            with translated():
                send_samples(self._api, manifest, place, found.head.number)
        except TraceletError as error:
            _LOG.warning("%r is stored, but ClearML does not show it as a debug sample: %s", manifest.name, error)

    def _parents(self, manifest: Manifest) -> tuple[Parent, ...]:
        """Return the version before, and the datasets that the run used."""
        before = self._index.find(manifest.name, "latest")
        used = self._index.by_digests(manifest.inputs[:_PARENTS], ArtifactType.DATASET)
        found: dict[str, Parent] = {}
        for one in [*used, *([before] if before is not None else [])]:
            stored = self._stored(one)
            place = Place.from_plain(stored.locator["place"])
            if place.kind == "dataset":
                found[place.entity] = Parent(stored.manifest, place)
        return tuple(found.values())

    def _body(self, manifest: Manifest, place: Place, run_task: RunTask, rollback: Rollback) -> Body:
        body = Body(place.to_plain(), manifest=manifest.to_dict())
        text = body.text
        if len(text) <= _INLINE:
            return body
        with scratch_folder(self._directory) as scratch:
            note = scratch / "tracelet.json"
            note.write_text(text, encoding="utf-8")
            uri = f"{self._uploads.folder(run_task, manifest, manifest.name)}/tracelet.json"
            blob = Blob(uri, note.stat().st_size, hash_blob(note), ())
            rollback.add(lambda: remove(blob))
            blob = attrs.evolve(blob, uri=upload(note, uri))
        return Body(attrs.evolve(place, blobs=(), keys=()).to_plain(), whole=blob)

    @contextlib.contextmanager
    def _giving_up(self, claim: Claim, rollback: Rollback) -> Iterator[None]:
        """If the block fails for good, take back the claim and what was stored. Otherwise the next attempt uses both."""
        try:
            yield
        except (FileChanged, OSError, TraceletError, ValueError) as error:
            passes = isinstance(error, NewerFormat) or (isinstance(error, BackendError) and error.retryable)
            if isinstance(error, NumberTaken) or not passes:
                self._give_up(claim, rollback)
            raise

    def _give_up(self, claim: Claim, rollback: Rollback) -> None:
        rollback.run()
        self._index.abandon(claim.head)

    def _begun(self) -> RunInfo:
        if self._run is None:
            raise BackendError("ClearML's backend has no run: call start first.", retryable=False)
        return self._run

    # -- reading

    def _stored(self, found: Record) -> StoredArtifact:
        found.head.check()
        body = read_body(found.task)
        if body.whole is not None:
            body = Body.of(self._beside(body.whole))
        place = Place.from_plain(body.place)
        uri = self._api.task_page(place.project, place.task)
        if place.kind == "model":
            uri = f"{self._api.web}/projects/{place.project}/models/{place.entity}"
        if place.kind == "dataset":
            uri = f"{self._api.web}/datasets/simple/{place.project}/experiments/{place.entity}"
        locator = {"record": found.head.id, "place": body.place}
        return StoredArtifact(self._manifest(body), found.head.number, uri, found.head.label, found.aliases, locator)

    def _manifest(self, body: Body) -> Manifest:
        if body.manifest is not None:
            return Manifest.from_dict(body.manifest)
        if body.aside is None:
            raise IntegrityError("a record in ClearML has no manifest.")
        return Manifest.from_json(self._beside(body.aside))

    def _beside(self, blob: Blob) -> bytes:
        """Download the text, or the manifest, that a record names."""
        with scratch_folder(self._directory) as scratch:
            target = scratch / "tracelet.json"
            download(blob, target)
            return target.read_bytes()

    def _found(self, stored: StoredArtifact) -> Record:
        found = self._index.find(stored.manifest.name, f"put:{stored.manifest.put_id}")
        if found is None:
            raise ArtifactNotFound(f"{stored.manifest.name!r} {stored.version} is gone from ClearML.")
        return found
