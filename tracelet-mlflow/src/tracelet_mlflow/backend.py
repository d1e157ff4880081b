"""The backend: versions in MLflow runs, found by an index in MLflow itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from mlflow.exceptions import MlflowException

from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendUnavailable,
    IntegrityError,
    NewerFormat,
    UnsafePath,
)
from tracelet.plugin import (
    ArtifactType,
    Backend,
    BackendContext,
    Collects,
    Damage,
    Deletes,
    Discovers,
    FileChanged,
    FindsUsers,
    ForeignArtifact,
    GivesRendered,
    Heals,
    Labels,
    ListsExperiments,
    Manifest,
    MovesAliases,
    Recalls,
    RecordsInputs,
    Ref,
    RemovesAliases,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    label_conflict,
    look_up,
    of_digest,
    or_damage,
    parse_ref,
    sound,
)
from tracelet_mlflow.absent import note_absent
from tracelet_mlflow.connection import Connection, tracking_uri
from tracelet_mlflow.discovering import discover, fetch
from tracelet_mlflow.errors import code_of, hear_waits, translated
from tracelet_mlflow.experiments import experiments_in
from tracelet_mlflow.files import PackRule, RunFiles, at_once
from tracelet_mlflow.folders import Folders
from tracelet_mlflow.garbage import Garbage
from tracelet_mlflow.giving import give
from tracelet_mlflow.index import Entry, Index, inputs_of, key
from tracelet_mlflow.notes import Notes, note_dataset, note_models
from tracelet_mlflow.places import no_such_place
from tracelet_mlflow.records import Record, digest_of
from tracelet_mlflow.registry import Registry, shared_paths
from tracelet_mlflow.runs import Home, Runs
from tracelet_mlflow.settings import MlflowSettings

__all__ = ["MlflowBackend", "open_backend"]

_LOG = logging.getLogger("tracelet.mlflow")
#: Types that belong in the Model Registry.
_MODELS = frozenset({ArtifactType.MODEL, ArtifactType.CHECKPOINT, ArtifactType.WEIGHTS})


def open_backend(experiment: str, settings: MlflowSettings, context: BackendContext) -> MlflowBackend:
    """Connect to MLflow; raises :class:`~tracelet.BackendUnavailable` where it is not there."""
    hear_waits()
    note_absent()
    uri = tracking_uri(settings.tracking_uri, context.sdk.get("tracking_uri"))
    return MlflowBackend(experiment, settings, context, Connection(uri, settings.read_back_mb * 1_000_000))


@attrs.frozen
class _Parts:
    """The parts of an opened backend."""

    index: Index
    runs: Runs
    registry: Registry
    notes: Notes


class MlflowBackend:
    """The artifacts of one experiment in one MLflow."""

    def __init__(
        self, experiment: str, settings: MlflowSettings, context: BackendContext, connection: Connection
    ) -> None:
        self._experiment = experiment
        self._settings = settings
        self._context = context
        self._connection = connection
        self._run: RunInfo | None = None
        self._parts: _Parts | None = None
        #: Manifests that were too long for the index, by put. They never change.
        self._long: dict[str, Manifest] = {}

    @property
    def _opened(self) -> _Parts:
        if self._parts is None:
            connection, sdk = self._connection, self._context.sdk
            index = Index(connection.client, self._experiment, is_served=connection.is_served)
            self._parts = _Parts(
                index,
                Runs(connection.client, index, self._experiment, sdk, connection.artifact_location),
                Registry(connection.client, self._experiment, self._context.directory, connection.model_repository),
                Notes(connection.client, connection.shown),
            )
        return self._parts

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`: find, attach to or make the MLflow run."""
        with translated(self._connection.shown):
            self._opened.runs.home(run)
            self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`: end the MLflow runs that were made here, and no others."""
        if self._parts is not None:
            self._parts.notes.finish()
            with translated(self._connection.shown):
                self._parts.runs.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        stored = self._put(sealed, labels, next_alone=False)
        assert stored is not None
        return stored

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`."""
        return self._put(sealed, labels, next_alone=True)

    def _put(self, sealed: SealedArtifact, labels: Labels, *, next_alone: bool) -> StoredArtifact | None:
        assert self._run is not None
        parts = self._opened
        index, registry = parts.index, parts.registry
        manifest = sealed.manifest
        with translated(self._connection.shown):
            entry = index.ensure(manifest.name, manifest.type)
            if entry.type is not manifest.type:
                raise ArtifactError(
                    f"{manifest.name!r} is a {entry.type.value} in this experiment, and this is a "
                    f"{manifest.type.value}: a name has one type. Choose another name."
                )
            home, claim = self._claimed(self._run, entry, manifest.put_id, next_alone=next_alone)
            if claim is None:
                return None
            number, resumed = claim
            if resumed and number in entry.records:
                return self._stored(entry, number)
            if resumed:
                index.begin_again(manifest.name, number)
            record = self._record(manifest, home, number, self._folder(manifest, home, number, resumed=resumed))
            registers = self._registers(manifest)
            self._upload(record, sealed, shared_paths(sealed) if registers else ())
            if labels.version:
                taken = self._settle_label(entry, number, manifest.digest, labels.version)
                if taken is not None:
                    return taken
            if registers:
                added = registry.add(sealed, home, number, f"{home.artifact_uri}/{record.folder}", resumed=resumed)
                record = attrs.evolve(record, models=added.models, shared=added.shared)
                registry.name(added.models, labels, number)
            index.commit(
                entry, number, record.to_text(), pointers=self._pointers(number, labels), inputs=manifest.inputs
            )
            parts.notes.add(home.run_id, manifest, number, labels.version)
            parts.notes.add_models(entry.run_id, record.models, manifest, number)
            return _stored(record, number, labels.version, labels.aliases, manifest)

    def _claimed(
        self, run: RunInfo, entry: Entry, put_id: str, *, next_alone: bool
    ) -> tuple[Home, tuple[int, bool] | None]:
        """Claim a number, and see that the run is still there: a server is asked both at once."""
        runs, index = self._opened.runs, self._opened.index
        if not self._connection.is_served:
            # What asks a database itself works for both, one after the other, and a thread only costs time.
            return runs.home(run), index.claim(entry, put_id, next_alone=next_alone)
        with ThreadPoolExecutor(1) as pool:
            looked = pool.submit(runs.home, run)
            claim = index.claim(entry, put_id, next_alone=next_alone)
        return looked.result(), claim

    def _upload(self, record: Record, sealed: SealedArtifact, shared: Collection[str]) -> None:
        try:
            self._files(record).upload(sealed.manifest, sealed.sources, shared)
        except BackendUnavailable:
            # A file that changed during the upload looks like a server that changes bytes.
            _check_unchanged(sealed)
            raise
        _check_unchanged(sealed)

    def recall(self, name: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`: an answer of MLflow's holds every version of a name, which takes long."""
        entry = self._parts.index.recalled(name) if self._parts is not None else None
        number = None if entry is None else next(iter(entry.records), None)
        if entry is None or number is None:
            return None
        try:
            record = Record.from_text(entry.records[number])
        except (IntegrityError, UnsafePath, NewerFormat):
            return None  # core looks, and reports it
        manifest = record.manifest or self._long.get(record.put_id)
        return None if manifest is None else _stored(record, number, None, (), manifest)

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`: one request gives all versions of a name."""
        wanted = parse_ref(ref)
        if self._connection.is_empty:
            return None
        with translated(self._connection.shown):
            entry = self._opened.index.entry(name)
            number = None if entry is None else _number(entry, wanted)
            return None if entry is None or number not in entry.records else self._stored(entry, number)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`: name and type are filtered by MLflow."""
        if self._connection.is_empty:
            return
        with translated(self._connection.shown):
            yield from sound(
                one
                for entry in self._opened.index.entries(name=name, type=type)
                for one in (self._every(entry, entry.records) if isinstance(entry, Entry) else [entry])
            )

    def _every(self, entry: Entry, numbers: Collection[int]) -> Iterable[StoredArtifact | Damage]:
        read = or_damage(partial(self._stored, entry), partial("{0!r} v{1}".format, entry.name))
        return at_once(read, numbers)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        record = Record.from_text(stored.locator)
        with translated(self._connection.shown):
            self._files(record).fetch(stored.manifest.payload, paths, dest)

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet.plugin.Heals`: MLflow's ``gc`` removes the files of a deleted run; the index still has its versions."""
        record, manifest = Record.from_text(stored.locator), stored.manifest
        with translated(self._connection.shown):
            # A file that is a reference by now cannot be brought back.
            brings = {file.artifact_path for file in manifest.payload} <= sealed.sources.keys()
            if not brings or self._files(record).is_there():
                return
            sources = {file.artifact_path: sealed.sources[file.artifact_path] for file in manifest.payload}
            # The files that were shared with MLflow's form of a model may be gone, too.
            whole = attrs.evolve(record, shared={}, manifest=manifest)
            self._files(whole).upload(manifest, sources, manifest_last=True)
            _check_unchanged(sealed)
            index = self._opened.index
            index.commit(index.ensure(manifest.name, manifest.type), stored.number, whole.to_text())

    def place(self, stored: StoredArtifact, path: str) -> str:
        """See :class:`~tracelet.plugin.Heals`: empty, because checking the bytes would mean to fetch them."""
        return ""

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`; the Model Registry's aliases move, too."""
        index, registry = self._opened.index, self._opened.registry
        name, number = stored.manifest.name, stored.number
        with translated(self._connection.shown):
            entry = index.ensure(name, stored.manifest.type)
            if labels.version and labels.version != stored.label:
                self._settle_label(entry, number, stored.manifest.digest, labels.version, keep=True)
            index.set(entry, self._pointers(number, labels))
            registry.name(Record.from_text(stored.locator).models, labels, number)
            now = index.entry(name)
            assert now is not None
            return self._stored(now, number)

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`; the Model Registry's aliases go, too."""
        index, registry = self._opened.index, self._opened.registry
        name, number = stored.manifest.name, stored.number
        with translated(self._connection.shown):
            entry = index.entry(name)
            if entry is not None:
                index.unname(entry, [alias for alias in aliases if entry.aliases.get(alias) == number])
                entry = index.entry(name)
            if entry is None or number not in entry.records:
                raise ArtifactNotFound(f"{name!r} v{number} was deleted: log it again.")
            left = self._stored(entry, number)
            # Also one that an earlier call took from the index alone.
            registry.unname(Record.from_text(stored.locator).models, aliases, keep=(left.label, *left.aliases))
            return left

    def experiments(self) -> Iterable[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`."""
        if self._connection.is_empty:
            return ()
        with translated(self._connection.shown):
            return experiments_in(self._connection.client)

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`: MLflow's search gives the names, and their tags the versions."""
        if self._connection.is_empty:
            return
        with translated(self._connection.shown):
            index = self._opened.index
            yield from sound(self._users(index, digest) if index.is_noted else self._noting(index))

    def _users(self, index: Index, digest: str) -> Iterator[StoredArtifact | Damage]:
        for entry in index.users(digest):
            yield from self._every(entry, entry.users_of(digest)) if isinstance(entry, Entry) else [entry]

    def _noting(self, index: Index) -> Iterator[StoredArtifact | Damage]:
        """Yield every version, and note the inputs of those of an earlier release, once.

        Who may read alone notes nothing, and the next one does.
        """
        is_whole = True
        for entry in index.entries():
            inputs: dict[str, str] = {}
            for one in self._every(entry, entry.records) if isinstance(entry, Entry) else [entry]:
                if isinstance(one, StoredArtifact):
                    inputs |= inputs_of(one.manifest.inputs, one.number)
                else:
                    is_whole = False
                yield one
            if isinstance(entry, Entry):
                is_whole = _permitted(partial(index.note_inputs, entry, inputs)) and is_whole
        if is_whole:
            _permitted(index.mark_noted)

    def delete(self, stored: StoredArtifact) -> int:
        """See :class:`~tracelet.plugin.Deletes`: out of the index first, then its models and files.

        :meth:`collect` completes what is interrupted, and clears later what other models of the registry still need.
        """
        index, registry = self._opened.index, self._opened.registry
        record, number = Record.from_text(stored.locator), stored.number
        with translated(self._connection.shown):
            entry = index.entry(stored.manifest.name)
            if entry is None or number not in entry.claims:
                return 0
            if number in entry.records:
                index.note_left(entry, number, record.run_id)
                index.forget(entry, number)
            removed = registry.remove(f"{entry.name!r} v{number}", record.models, record.put_id, record.addresses)
            folders = Folders(entry.name, number, record.put_id)
            is_shared = record.folder == folders.plain and folders.is_shared(self._connection.client, record.run_id)
            freed = removed.freed
            if is_shared:
                _LOG.warning(
                    "%r v%d is deleted, and another experiment's version has its folder: the files stay.",
                    entry.name,
                    number,
                )
            elif not ("" in record.models and removed.kept):
                freed += self._files(record).delete(record.put_id)
            if not (removed.kept or is_shared):
                index.note_cleared(entry, number)
            return freed

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: what interrupted puts and deletions left, of every experiment."""
        if self._connection.is_empty:
            return
        with translated(self._connection.shown):
            yield from Garbage(self._connection, self._context.directory).collect(older_than)

    def discover(self, place: str) -> Iterable[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`: what runs, logged models and the Model Registry hold."""
        if self._connection.is_empty:
            raise no_such_place(f"nothing was ever stored in MLflow at {self._connection.shown}")
        with translated(self._connection.shown):
            return discover(self._connection, place)

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        with translated(self._connection.shown):
            fetch(self._connection, found, dest)

    def fetch_rendered(self, stored: StoredArtifact, dest: Path) -> bool:
        """See :class:`~tracelet.plugin.GivesRendered`: what MLflow holds of the logged models."""
        with translated(self._connection.shown):
            return give(self._connection, Record.from_text(stored.locator), stored, dest)

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`: an input of the MLflow run, a model or a dataset."""
        assert self._run is not None
        with translated(self._connection.shown):
            home = self._opened.runs.home(self._run)
            client = self._connection.client
            models = Record.from_text(stored.locator).models.values()
            known = [model["model_id"] for model in models if "model_id" in model]
            if known or self._registers(stored.manifest):
                note_models(client, home.run_id, known or [self._opened.registry.stand_in(stored, home)])
            else:
                note_dataset(client, home.run_id, stored)

    def _registers(self, manifest: Manifest) -> bool:
        return self._settings.register and manifest.type in _MODELS

    def _folder(self, manifest: Manifest, home: Home, number: int, *, resumed: bool) -> str:
        """Return the folder for a put, the same one each time."""
        assert self._run is not None
        folders = Folders(manifest.name, number, manifest.put_id)
        if home.made_for == self._run.id:
            return folders.plain
        # An earlier release may have stored all files there, and registered them.
        repository = self._connection.repository(home.artifact_uri)
        begun = resumed and RunFiles(repository, folders.plain, None, self._context.directory).is_of(manifest.put_id)
        return folders.plain if begun else folders.own

    def _record(self, manifest: Manifest, home: Home, number: int, folder: str) -> Record:
        rule = None if home.is_local else PackRule(self._settings.pack_over, self._settings.pack_file_kb * 1000)
        return Record(
            digest=manifest.digest,
            put_id=manifest.put_id,
            run_id=home.run_id,
            artifact_uri=home.artifact_uri,
            folder=folder,
            packs=rule,
            models={},
            manifest=manifest,
        )

    def _files(self, record: Record) -> RunFiles:
        connection = self._connection
        return RunFiles(
            connection.repository(record.artifact_uri),
            record.folder,
            record.packs,
            self._context.directory,
            {path: (connection.model_repository(place), name) for path, (place, name) in record.shared.items()},
        )

    def _settle_label(
        self, entry: Entry, number: int, digest: str, label: str, *, keep: bool = False
    ) -> StoredArtifact | None:
        """Give the label to this version, unless a version of the same content has it: return that one.

        With ``keep`` this version exists already, and takes the label over from a version of the same content.
        """
        index = self._opened.index
        owner, content = index.claim_label(entry, label, number, digest)
        if content != digest:
            raise label_conflict(entry.name, label, owner)
        if owner == number or keep:
            return None
        now = index.entry(entry.name)
        return self._stored(now, owner) if now is not None and owner in now.records else None

    def _pointers(self, number: int, labels: Labels) -> dict[str, str]:
        found = {key("alias", alias): f"{number} {alias}" for alias in labels.aliases}
        if labels.version:
            found[key("label", labels.version)] = f"{number} {labels.version}"
        return found

    def _stored(self, entry: Entry, number: int) -> StoredArtifact:
        record = Record.from_text(entry.records[number])
        manifest = record.manifest or self._long.get(record.put_id)
        if manifest is None:
            manifest = self._files(record).read_manifest()
            if manifest.put_id != record.put_id:
                raise IntegrityError(
                    f"the manifest of {entry.name!r} v{number} is another version's: an earlier release stored both in "
                    f"{record.folder} of the MLflow run {record.run_id}. Log the content again, which makes a new version."
                )
            self._long[record.put_id] = manifest
        return _stored(record, number, entry.label_of(number), entry.aliases_of(number), manifest)


def _stored(
    record: Record, number: int, label: str | None, aliases: tuple[str, ...], manifest: Manifest
) -> StoredArtifact:
    uri = f"runs:/{record.run_id}/{record.folder}"
    return StoredArtifact(manifest, number, uri, label, aliases, attrs.evolve(record, manifest=None).to_text())


def _number(entry: Entry, wanted: Ref) -> int | None:
    digests = ((digest_of(text), number) for number, text in entry.records.items())
    return look_up(
        wanted,
        latest=lambda: next(iter(entry.records), None),
        number=lambda number: number,
        label=lambda label: _number_of_label(entry, label),
        digest=lambda beginning: of_digest(entry.name, beginning, digests),
        put_id=lambda wanted: next((number for number, put_id in entry.claims.items() if put_id == wanted), None),
    )


def _permitted(note: Callable[[], None]) -> bool:
    """Note something, and tell whether this user may."""
    try:
        note()
    except MlflowException as error:
        if code_of(error) != "PERMISSION_DENIED":
            raise
        return False
    return True


def _number_of_label(entry: Entry, label: str) -> int | None:
    number = entry.labels.get(label)
    return number if number in entry.records else entry.aliases.get(label)


def _check_unchanged(sealed: SealedArtifact) -> None:
    """Raise :class:`~tracelet.plugin.FileChanged` where a file changed during its upload: the version must not exist."""
    for path, known in sealed.stamps.items():
        source = sealed.sources.get(path)
        # A file that was deleted after its upload was read to its end.
        if source is not None and source.exists() and not known.matches(source.stat()):
            raise FileChanged(f"{str(source)!r} changed while it was stored.")


if TYPE_CHECKING:

    def _fits(
        backend: MlflowBackend,
    ) -> tuple[
        Backend,
        MovesAliases,
        RemovesAliases,
        ListsExperiments,
        FindsUsers,
        Deletes,
        Collects,
        Recalls,
        RecordsInputs,
        Heals,
        Discovers,
        GivesRendered,
    ]:
        return (
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
            backend,
        )
