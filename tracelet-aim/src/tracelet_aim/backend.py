"""Aim as a backend: a catalogue in the repo, bytes beside it or in a bucket, and runs that show what is there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracelet.exceptions import (
    ArtifactNotFound,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    TraceletError,
    VersionConflict,
)
from tracelet.plugin import (
    ArtifactType,
    BackendContext,
    Damage,
    ForeignArtifact,
    Labels,
    Remembered,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    check_name,
    check_path,
    or_damage,
    parse_ref,
    physical_name,
    sound,
)
from tracelet_aim import discovering, index
from tracelet_aim.disk import DiskPlace, own_repo
from tracelet_aim.foreign_bytes import ForeignBytes
from tracelet_aim.index import Entry, Record
from tracelet_aim.runs import AimRun, Runs
from tracelet_aim.server import ServerPlace
from tracelet_aim.storage import FolderStorage, Storage
from tracelet_aim.trees import CATALOGUE, Place, Tree

if TYPE_CHECKING:
    from tracelet_aim.settings import AimSettings

__all__ = ["AimBackend", "open_backend"]

#: Files, and bytes in them, that are stored faster than a catalogue is opened.
_FEW, _SMALL = 10, 1_000_000


class AimBackend:
    """See :class:`~tracelet.plugin.Backend`. One experiment in one Aim repo."""

    def __init__(self, place: Place, experiment: str, settings: AimSettings, context: BackendContext) -> None:
        self._place = place
        self._experiment = experiment
        self._settings = settings
        self._scratch = context.directory / "aim"
        #: The database of this experiment's catalogue.
        self._name = physical_name(experiment)
        self._runs = Runs(place, experiment, str(context.sdk.get("run") or ""))
        self._foreign = ForeignBytes(place.shown, self._scratch, self._shares_files)
        self._run: RunInfo | None = None
        #: The version of few files that this process made last, until another one is seen; of few names.
        self._newest = Remembered[StoredArtifact]()
        #: Whether the catalogue is known to be one that can be read, and to say its schema.
        self._is_known = self._is_begun = False

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. Aim's run is made with the first put."""
        self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        try:
            self._runs.end(failed=failed)
        finally:
            self._place.close()

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        # Whatever becomes of this one: what was the newest before is so no more.
        self._newest.forget(sealed.manifest.name)
        made = self._put(sealed, labels, None)
        assert made is not None, "nothing has to be the newest"
        return made

    def recall(self, name: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`."""
        return self._newest.of(name)

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`."""
        return self._put(sealed, labels, self._newest.forget(sealed.manifest.name))

    def _put(self, sealed: SealedArtifact, labels: Labels, newest: StoredArtifact | None) -> StoredArtifact | None:
        """Put an artifact; or return None where ``newest`` is given, and is not the newest version any more."""
        manifest, run = sealed.manifest, self._runs.of(self._begun())
        storage, base = self._storage_to_write(run.hash)
        is_small = len(manifest.payload) <= _FEW and sum(file.size_bytes for file in manifest.payload) <= _SMALL
        # Others wait during the upload then, but to open the catalogue twice would take longer.
        quick = is_small and isinstance(self._place, DiskPlace) and isinstance(storage, FolderStorage)
        with self._writing() as tree:
            if newest is not None and not index.is_newest(tree, manifest.name, newest.number):
                return None
            taken = index.settle(tree, manifest, labels.version)
            if taken is not None:
                return self._stored(taken)
            number = index.claim(tree, manifest)
            record = Record(manifest, run.hash, f"{run.hash}/{manifest.name}/v{number}", base)
            entry = Entry(record, number, labels.version, tuple(sorted(set(labels.aliases))))
            if quick:
                self._store(sealed, entry, storage, run)
                made, moved = self._commit(tree, entry, storage)
        if not quick:
            self._store(sealed, entry, storage, run)
            with self._writing() as tree:
                made, moved = self._commit(tree, entry, storage)
        if made.number != number:
            self._undo(storage, entry)
        self._renote(moved)
        stored = self._stored(made)
        if made.number == number and len(manifest.payload) <= _FEW:
            self._newest.keep(manifest.name, stored)
        return stored

    def _store(self, sealed: SealedArtifact, entry: Entry, storage: Storage, run: AimRun) -> None:
        """Store the files and what Aim shows of them, without the record that makes the version exist. On errors, undo it."""
        try:
            storage.upload(entry.record.folder, sealed)
            run.show(sealed, entry, self._shown(entry.record), storage.uri, track=self._settings.track_media)
        except (TraceletError, OSError):
            self._undo(storage, entry)
            raise

    def _commit(self, tree: Tree, entry: Entry, storage: Storage) -> tuple[Entry, list[Entry | None]]:
        """Make the version exist. Return it, or the one that has its label, and the versions that lost an alias to it.

        A failure is not undone here: the version may exist, and only the answer be lost.
        """
        name = entry.record.manifest.name
        before = index.owners(tree, name, entry.aliases)
        try:
            made = index.commit(tree, entry.record, entry.number, Labels(entry.label, entry.aliases))
        except VersionConflict:
            self._undo(storage, entry)
            raise
        return made, [index.entry(tree, name, one.number) for one in before]

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        parse_ref(ref)
        with self._reading() as tree:
            found = None if tree is None else index.find(tree, name, ref)
        return None if found is None else self._stored(found)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        with self._reading() as tree:
            found = [] if tree is None else [*index.listed(tree, name, type)]
        return self._sound(found)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        if paths:
            record = _record(stored)
            self._storage_of(record).download(record.folder, record.manifest, paths, dest)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        manifest = stored.manifest
        with self._writing() as tree:
            before = index.owners(tree, manifest.name, labels.aliases)
            found = index.relabel(tree, manifest, stored.number, labels)
            moved = [index.entry(tree, manifest.name, one.number) for one in before if one.number != stored.number]
        return self._renamed(found, stored, moved)

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        with self._writing() as tree:
            found = index.unname(tree, stored.manifest.name, stored.number, aliases)
        return self._renamed(found, stored)

    def _renamed(
        self, found: Entry | None, stored: StoredArtifact, moved: Collection[Entry | None] = ()
    ) -> StoredArtifact:
        if found is None:
            raise ArtifactNotFound(f"{stored.manifest.name!r} v{stored.number} was deleted: log it again.")
        self._renote([found, *moved])
        return self._stored(found)

    def experiments(self) -> Iterator[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`."""
        for database in self._place.databases(CATALOGUE):
            with self._place.reading(CATALOGUE, database) as tree:
                name = None if tree is None else index.experiment(tree, database)
            if name is not None:
                yield name

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        with self._reading() as tree:
            is_noted = tree is None or index.is_noted(tree)
            found = (
                [] if tree is None else [*(index.users(tree, digest) if is_noted else index.listed(tree, None, None))]
            )
        if not is_noted:
            # Who may only read the repo notes nothing, and looks at all versions each time.
            with contextlib.suppress(BackendUnavailable), self._writing() as writable:
                index.note_earlier(writable)
        return self._sound(found)

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`."""
        self._runs.of(self._begun()).use(stored.manifest.name, stored.version, stored.manifest.digest)

    def delete(self, stored: StoredArtifact) -> int | None:
        """See :class:`~tracelet.plugin.Deletes`. The version shares its bytes with no other, and they are deleted."""
        record = _record(stored)
        with self._writing() as tree:
            index.forget(tree, record.manifest.name, stored.number)
        freed = self._storage_of(record).remove(record.folder, record.manifest)
        self._runs.remove(Entry(record, stored.number, stored.label, stored.aliases))
        return freed

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: what interrupted puts left in a repo on disk."""
        if not isinstance(self._place, DiskPlace):
            return
        needed = set()
        for name in self._place.databases(CATALOGUE):
            with self._place.reading(CATALOGUE, name) as tree:
                if tree is None:
                    continue
                index.check(tree)
                found = [*index.entries(tree, None, None)]
            needed |= {entry.record.folder for entry in found if entry.record.base is None}
        yield from FolderStorage(self._own_folder()).collect(needed, older_than)

    def discover(self, place: str) -> Iterable[ForeignArtifact]:
        """See :class:`~tracelet.plugin.Discovers`: the place is an experiment's name, or a run's hash."""
        return discovering.discover(self._place, place, self._foreign)

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Discovers`."""
        discovering.fetch(found, self._foreign, dest)

    @contextmanager
    def _reading(self) -> Iterator[Tree | None]:
        with self._place.reading(CATALOGUE, self._name) as tree:
            if tree is not None and not self._is_known:
                index.check(tree)
                self._is_known = True
            yield tree

    @contextmanager
    def _writing(self) -> Iterator[Tree]:
        with self._place.writing(CATALOGUE, self._name) as tree:
            if not self._is_begun:
                index.begin(tree, self._experiment)
                self._is_begun = self._is_known = True
            yield tree

    def _begun(self) -> RunInfo:
        assert self._run is not None, "start() comes first"
        return self._run

    def _undo(self, storage: Storage, entry: Entry) -> None:
        """Remove what a failed put has left. Errors are dropped here: the reason of the failure is raised."""
        try:
            storage.remove(entry.record.folder, entry.record.manifest)
            self._runs.remove(entry)
        except BackendError:
            return  # collect() removes it later, and nothing finds it

    def _renote(self, entries: Collection[Entry | None]) -> None:
        for entry in entries:
            if entry is not None:
                self._runs.update(entry, self._shown(entry.record))

    def _stored(self, entry: Entry) -> StoredArtifact:
        record = entry.record
        locator = {"run": record.run, "folder": record.folder, "base": record.base}
        return StoredArtifact(record.manifest, entry.number, self._shown(record), entry.label, entry.aliases, locator)

    def _sound(self, found: Iterable[Entry | Damage]) -> Iterator[StoredArtifact]:
        stored = or_damage(self._stored, lambda one: f"{one.record.manifest.name!r} v{one.number}")
        return sound(stored(one) if isinstance(one, Entry) else one for one in found)

    def _own_folder(self) -> Path:
        return self._place.folder() / "tracelet" / "artifacts"

    def _shown(self, record: Record) -> str:
        return self._storage(record.base).shown(record.folder)

    def _storage(self, base: str | None) -> Storage:
        if base is None:
            return FolderStorage(self._own_folder())
        if base.startswith("file:///"):
            return FolderStorage(Path(base.removeprefix("file://")))
        if base.startswith("s3://"):
            from tracelet_aim.bucket import BucketStorage

            return BucketStorage(base, self._scratch)
        raise IntegrityError(
            f"Aim's repo {self._place.shown} says that bytes are at {base!r}, which is no address of a store: it was changed."
        )

    def _storage_to_write(self, run_hash: str) -> tuple[Storage, str | None]:
        base = self._settings.artifacts_uri.rstrip("/") or None
        if (base is None or base.startswith("file:")) and not self._shares_files(run_hash):
            raise BackendError(
                f"{self._place.shown} is on another machine, which does not see the folders of this one: set "
                "TRACELET_AIM_ARTIFACTS_URI to s3://…, or to a folder that all machines mount, with "
                "TRACELET_AIM_SHARED_FILES=true. Until then the delivery waits."
            )
        return self._storage(base), base

    def _storage_of(self, record: Record) -> Storage:
        own = record.base is None or record.base == self._settings.artifacts_uri.rstrip("/")
        if not own and str(record.base).startswith("file:") and not self._shares_files(record.run):
            raise BackendError(
                f"{self._place.shown} says that bytes are in {record.base}, a folder of the machine that logged them. If this "
                "machine mounts it, and you trust the server, set TRACELET_AIM_SHARED_FILES=true.",
                retryable=False,
            )
        return self._storage(record.base)

    def _shares_files(self, run_hash: str) -> bool:
        return self._settings.shared_files or self._place.is_here(run_hash)


def _record(stored: StoredArtifact) -> Record:
    """Read the locator, which has come through other processes."""
    found: dict[str, Any] = stored.locator
    base = found["base"]
    return Record(
        stored.manifest,
        check_name(found["run"], "run"),
        check_path(found["folder"]),
        None if base is None else str(base),
    )


def open_backend(experiment: str, settings: AimSettings, context: BackendContext) -> AimBackend:
    """Open an experiment's artifacts, in the repo that the settings name or Aim itself chooses."""
    here = str(context.sdk.get("folder") or Path.cwd())
    place: Place
    if settings.repo.startswith("aim://"):
        place = ServerPlace(settings.repo)
    else:
        place = DiskPlace(str(Path(here, Path(settings.repo).expanduser())) if settings.repo else own_repo(here))
    return AimBackend(place, experiment, settings, context)
