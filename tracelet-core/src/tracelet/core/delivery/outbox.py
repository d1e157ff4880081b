"""Deliveries not yet made, on disk, so that any later process can make them.

outbox/<experiment>/<backend>/<order>~<put-id>~<name>.json   one delivery; its bytes are blobs of the store
outbox/<experiment>/<backend>/<…>.lease                      who is on it
outbox/<experiment>/<backend>/<…>.rendered/                  the tracker's own form of its models
outbox/<experiment>/<backend>/<…>.refused                    one that the backend will never take, and why
outbox/<experiment>/~drafts/<…>.json                          snapshots that are not hashed yet
outbox/<experiment>/~drafts/<…>.lease                         who is finishing one
outbox/<experiment>/~drafts/<session>.lease                   whose drafts nobody else finishes as long as it is there
clock/<experiment>                                            the last order that was given out

The order is the time in nanoseconds, or more where the clock has stepped back: see :mod:`tracelet.core.delivery.clock`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import attrs

from tracelet.core.artifacts.entries import check_name, count_field, time_field
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.plain import converter
from tracelet.core.delivery.clock import Clock, clock_of
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.sealing.draft import Draft
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.files import atomic_write, create, hash_blob, make_folder
from tracelet.core.system.links import check_tree, check_way, read_own
from tracelet.core.system.processes import ProcessId, alive, current
from tracelet.core.system.redaction import redact
from tracelet.core.system.schemas import SCHEMA, check_schema, is_newer
from tracelet.exceptions import IntegrityError, NewerFormat, TraceletError

__all__ = ["Damaged", "DraftFile", "Outbox", "Parcel", "drafted_name", "without_secrets"]

#: No backend has this name: it holds a character that names do not.
_DRAFTS = "~drafts"
_LOG = logging.getLogger("tracelet.outbox")
T = TypeVar("T")
#: Seconds.
_SECOND_LOOK = 0.2
_ORDER = re.compile(r"[0-9]{1,20}")
#: Who holds what this release cannot read; on no machine that could be asked.
_NOBODY = ProcessId("", 0, "")
_SESSION = re.compile(r"[A-Za-z0-9_.~-]{0,255}")


@attrs.frozen
class Parcel:
    """One artifact on its way to one backend."""

    backend: str
    run: RunInfo
    labels: Labels
    #: What ``BackendSpec.context`` found in the process that logged it, without secrets.
    sdk: dict[str, Any]
    manifest: Manifest
    #: Seconds since the epoch.
    queued_at: float = attrs.field(validator=time_field)
    attempts: int = attrs.field(default=0, validator=count_field)
    error: str = ""
    #: Its place in the order of submission; None where an earlier release wrote it, and the time is its place.
    order: int | None = attrs.field(default=None, validator=attrs.validators.optional(count_field))

    @property
    def key(self) -> str:
        """Its file's name without suffix; keys sort by age."""
        place = int(self.queued_at * 1e9) if self.order is None else self.order
        return f"{place:020d}~{self.manifest.put_id}~{self.manifest.name}"


@attrs.frozen
class _Lease:
    holders: tuple[ProcessId, ...]
    #: Seconds since the epoch, for holders on another machine, which cannot be asked.
    until: float = attrs.field(validator=time_field)

    def held(self, host: str) -> bool:
        local = [holder for holder in self.holders if holder.host == host]
        elsewhere = len(local) < len(self.holders)
        return any(alive(holder) for holder in local) or (elsewhere and time.time() < self.until)


@attrs.frozen
class Damaged:
    """Something unfinished that cannot be read, as far as its place tells what it is."""

    path: Path
    experiment: str
    #: Empty where it is for all of a run's backends.
    backend: str
    name: str
    reason: str = "is damaged"
    #: Whether a later release wrote it: then it is whole.
    newer: bool = False

    @property
    def advice(self) -> str:
        """What is wrong, and what to do."""
        if self.newer:
            return f"{self.path} was written by a later Tracelet: upgrade tracelet with its plugins."
        return f"{self.path} {self.reason}: put back a good copy, or delete it, and what it was to deliver with it."


def _damaged(path: Path, reason: str = "is damaged", *, newer: bool = False) -> Damaged:
    """Describe a delivery, or a draft, that cannot be read."""
    backend = "" if path.parent.name == _DRAFTS else path.parent.name
    return Damaged(path, unquote(path.parent.parent.name), backend, drafted_name(path), reason, newer)


@attrs.frozen
class DraftFile:
    """A draft and what is to become of it; only its owner works on it, in a session, until that ends."""

    draft: Draft
    owner: ProcessId
    labels: Labels
    run: RunInfo
    targets: dict[str, dict[str, Any]]
    #: None where an earlier release wrote it: then it is its owner's as long as that lives.
    session: str | None = None
    #: Seconds since the epoch; None where an earlier release wrote it, and its file's name tells the time.
    queued_at: float | None = None


def without_secrets(value: Any) -> Any:
    """Return plain data with the secrets taken out of every URI in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def drafted_name(path: Path) -> str:
    """Return the artifact's name that the name of a draft's or a delivery's file holds."""
    return path.stem.split("~", 2)[-1]


def _names(folder: Path) -> list[str]:
    """The names of what waits in a folder, oldest first."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if name.endswith(".json"))


def _parsed(path: Path, kind: type[T]) -> T:
    """Read one of the outbox's own files.

    Raises :class:`IntegrityError` where it is damaged, or a link, and :class:`NewerFormat` where a later release wrote it.
    """
    try:
        plain = json.loads(read_own(path))
        check_schema(plain, SCHEMA, str(path))
        return converter().structure(plain, kind)
    except IntegrityError as error:
        raise _Unusable(_damaged(path, "is a link, or no regular file")) from error
    except (AttributeError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _Unusable(_damaged(path)) from error


def _text(record: Any) -> bytes:
    return json.dumps({"schema": SCHEMA, **converter().unstructure(record)}).encode()


class _Unusable(IntegrityError):
    """A file of the outbox that is none, or should not be there."""

    def __init__(self, damaged: Damaged) -> None:
        super().__init__(damaged.advice)
        self.damaged = damaged


def _astray(path: Path) -> _Unusable:
    return _Unusable(_damaged(path, "names a place that is not its own"))


def _check_names(path: Path, run: RunInfo, backends: Iterable[str]) -> None:
    """Raise ``ValueError`` where the name of something could be a path."""
    if not _ORDER.fullmatch(path.name.partition("~")[0]):
        raise _astray(path)
    check_name(run.id, "run")
    for backend in backends:
        check_name(backend, "backend")


def _paths(manifest: Manifest) -> set[str | None]:
    """The paths of everything that has a source before it is sealed."""
    of_models = {file.artifact_path for model in manifest.models for file in model.files}
    return of_models | {one.artifact_path for one in manifest.files} | {one.artifact_path for one in manifest.objects}


def _inside(draft: Draft, path: Path) -> Path:
    """Return the place of a draft's file in its staging folder; raises ``ValueError`` where it is not in it."""
    inside = path.relative_to(draft.staging)
    if not inside.parts or ".." in inside.parts:
        raise ValueError(path)
    return inside


class Outbox:
    """The deliveries of one tracelet directory; several processes may work on it at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.root = directory / "outbox"
        self.store = LocalStore(directory)
        self._clocks: dict[str, Clock] = {}
        self._sessions: set[str] = set()
        #: What the log has told of.
        self._told: set[Path] = set()

    def clock(self, experiment: str) -> Clock:
        """Return what gives each submission to an experiment its place in their order."""
        return self._clocks.setdefault(experiment, clock_of(self._directory, experiment))

    def add(self, sealed: SealedArtifact, parcel: Parcel, holders: Sequence[ProcessId] = ()) -> Parcel:
        """Keep a delivery and its bytes. With ``holders`` it is theirs from the first moment on.

        Raises :class:`~tracelet.plugin.FileChanged` where a file is not the one that was hashed any more.
        """
        for file in sealed.manifest.payload:
            assert file.sha256 is not None
            path = file.artifact_path
            if path in sealed.stamps:
                self.store.put(sealed.sources[path], file.sha256, sealed.stamps[path])
            else:
                self.store.adopt(sealed.sources[path], file.sha256)
        target = self._file(parcel)
        make_folder(target.parent)
        if sealed.rendered is not None and not target.with_suffix(".rendered").exists():
            partial = target.with_name(f"{target.stem}~{uuid.uuid4().hex}.rendered")
            shutil.copytree(check_tree(sealed.rendered), partial)
            partial.rename(target.with_suffix(".rendered"))
        if holders:
            self._write_lease(target.with_suffix(".lease"), holders, parcel.queued_at + 86400)
        self._write(target, self._plain(parcel))
        return parcel

    def waiting(self, experiment: str, backend: str, name: str | None = None) -> list[str]:
        """Return the keys of the deliveries to one backend, oldest first; of one artifact's name if given."""
        keys = [entry.removesuffix(".json") for entry in _names(self._folder(experiment, backend))]
        return [key for key in keys if name is None or key.split("~", 2)[2] == name]

    def holds(self, parcel: Parcel) -> bool:
        """Tell whether a delivery waits, or was refused."""
        return self._file(parcel).exists() or self.refusal(parcel).exists()

    def everything(self) -> Iterator[Parcel]:
        """Yield every delivery of the directory, of all experiments, oldest first; see also :meth:`damaged`."""
        files = [path for path in self.root.glob("*/*/*.json") if path.parent.name != _DRAFTS]
        yield from self._readable(files)

    def _readable(self, files: Iterable[Path]) -> Iterator[Parcel]:
        for path in sorted(files, key=lambda path: path.name):
            with contextlib.suppress(IntegrityError, NewerFormat):
                parcel = self._read(path)
                if parcel is not None:
                    yield parcel

    def damaged(self) -> Iterator[Damaged]:
        """Yield the deliveries and drafts that cannot be read, and are not made for that; then :meth:`newer`."""
        for path in sorted(self.root.glob("*/*/*"), key=lambda path: path.name):
            read = self._followed_nowhere if path.parent.name == _DRAFTS else self._read
            try:
                if path.suffix in {".json", ".refused", ".damaged"}:
                    read(path)
            except _Unusable as error:
                yield error.damaged
            except NewerFormat:
                yield _damaged(path, newer=True)
            else:
                if path.suffix == ".damaged":
                    yield _damaged(path)
        yield from self.newer()

    def newer(self) -> Iterator[Damaged]:
        """Yield the interrupted puts and the journals of captures that a later release wrote."""
        puts, journals = self._directory.glob("puts/*/*.json"), self._directory.glob("captured/*/*.jsonl")
        for path in sorted((*puts, *journals), key=lambda path: path.name):
            if is_newer(path):
                yield Damaged(path, unquote(path.parent.name), "", drafted_name(path), newer=True)

    def size_bytes(self) -> int:
        """Return how many bytes wait; what several backends wait for is there once."""
        drafts = [found.draft.manifest for path in self.every_draft() if (found := self._draft(path)) is not None]
        manifests = {one.put_id: one for one in [*drafts, *(parcel.manifest for parcel in self.everything())]}
        return sum(file.size_bytes for one in manifests.values() for file in one.payload)

    def refused(self) -> Iterator[Parcel]:
        """Yield the deliveries that their backends will never take; ``error`` says why."""
        yield from self._readable(self.root.glob("*/*/*.refused"))

    def refusal(self, parcel: Parcel) -> Path:
        """Where a refused delivery is kept; deleting the file forgets it."""
        return self._file(parcel).with_suffix(".refused")

    def leftovers(self) -> Iterator[Path]:
        """Yield what interrupted processes left here: nobody's leases, and renderings that no delivery has any more."""
        for path in self.root.glob("*/*/*"):
            alone = not any(path.with_suffix(suffix).exists() for suffix in (".json", ".refused"))
            if (path.suffix == ".lease" and alone and not self._is_held(path)) or (
                path.suffix == ".rendered" and alone
            ):
                yield path

    def _is_held(self, lease: Path) -> bool:
        held = self._lease(lease)
        return held is not None and held.held(current().host)

    def load(self, experiment: str, backend: str, key: str) -> Parcel | None:
        """Return a delivery, or None where another process has made it meanwhile.

        One that is damaged is put aside, and one of a later release is left as it is, so that those behind it go on.
        """
        return self._or_aside(self._folder(experiment, backend) / f"{key}.json", self._read)

    def _or_aside(self, path: Path, read: Callable[[Path], T | None]) -> T | None:
        try:
            return read(path)
        except NewerFormat as error:
            if path not in self._told:
                self._told.add(path)
                _LOG.warning("%s", error)
            return None
        except IntegrityError as error:
            _LOG.error("%s It is put aside, as %s.", error, path.with_suffix(".damaged"))
            path.rename(path.with_suffix(".damaged"))
            return None

    def take(self, parcel: Parcel, holders: Sequence[ProcessId], seconds: float) -> bool:
        """Lease a delivery to these processes; say whether it is theirs.

        ``seconds`` is how long other machines, which cannot ask whether the holders live, respect it.
        """
        return self._take(self._file(parcel), holders, seconds)

    def _take(self, file: Path, holders: Sequence[ProcessId], seconds: float) -> bool:
        lease = file.with_suffix(".lease")
        if not self._write_lease(lease, holders, time.time() + seconds):
            held = self._lease(lease)
            if held is not None and held.held(holders[0].host):
                return False
            # Only one of several that find a dead lease gets to move it away.
            aside = lease.with_name(f".{uuid.uuid4().hex}.lease")
            with contextlib.suppress(FileNotFoundError):
                lease.rename(aside)
                if self._lease(aside) != held:
                    with contextlib.suppress(FileExistsError):
                        os.link(aside, lease)
                    aside.unlink()
                    return False
                aside.unlink()
            if not self._write_lease(lease, holders, time.time() + seconds):
                return False
        if file.exists():
            return True
        lease.unlink(missing_ok=True)
        return False

    def release(self, parcel: Parcel) -> None:
        """Give a delivery back."""
        self._file(parcel).with_suffix(".lease").unlink(missing_ok=True)

    def sealed(self, parcel: Parcel) -> SealedArtifact:
        """Return what is to be stored, its bytes verified.

        Raises :class:`~tracelet.IntegrityError` where they are gone or are not the ones that were queued.
        """
        sources = {}
        for file in parcel.manifest.payload:
            assert file.sha256 is not None
            blob = self.store.path(file.sha256)
            try:
                if not blob.exists():
                    # gc takes a blob aside for a moment to look again, and puts back what is needed.
                    time.sleep(_SECOND_LOOK)
                found = hash_blob(check_way(self.store.root, blob))
            except OSError as error:
                raise IntegrityError(
                    f"the bytes of {file.artifact_path!r} are gone from {self.store.root}: log them again."
                ) from error
            if found != file.sha256:
                raise IntegrityError(f"the bytes of {file.artifact_path!r} in {blob} are damaged: log them again.")
            sources[file.artifact_path] = blob
        rendered = self._file(parcel).with_suffix(".rendered")
        return SealedArtifact(
            parcel.manifest, sources, rendered=check_tree(rendered) if os.path.lexists(rendered) else None
        )

    def done(self, parcel: Parcel) -> None:
        """Forget a delivery that was made; gc takes its bytes."""
        self._file(parcel).unlink(missing_ok=True)
        shutil.rmtree(self._file(parcel).with_suffix(".rendered"), ignore_errors=True)
        self.release(parcel)

    def failed(self, parcel: Parcel, error: TraceletError, *, final: bool) -> None:
        """Note why an attempt failed; a final failure is kept apart, and is not tried again."""
        file = self._file(parcel)
        noted = {**self._plain(parcel), **self._known(file), "attempts": parcel.attempts + 1, "error": str(error)}
        try:
            if final:
                self._write(file.with_suffix(".refused"), noted)
                file.unlink(missing_ok=True)
            else:
                self._write(file, noted)
        finally:
            self.release(parcel)

    def begin_session(self, session: str) -> None:
        """Say that this process finishes the session's drafts itself, until :meth:`end_session`, or its own end."""
        self._sessions.add(session)

    def end_session(self, experiment: str, session: str) -> None:
        """Leave the session's drafts to whoever comes next, however many there are."""
        self._sessions.discard(session)
        with contextlib.suppress(OSError):  # or they are left at the end of this process
            (self._folder(experiment, _DRAFTS) / f"{session}.lease").unlink()

    def add_draft(
        self, draft: Draft, labels: Labels, run: RunInfo, targets: dict[str, dict[str, Any]], session: str | None = None
    ) -> Path:
        """Keep snapshots that are not hashed yet, for these backends; return the draft's file.

        It is this process's to finish in a session, or, without one, whoever's it is that comes first.
        """
        order = self.clock(run.experiment).tick()
        target = (
            self._folder(run.experiment, _DRAFTS) / f"{order:020d}~{draft.manifest.put_id}~{draft.manifest.name}.json"
        )
        content = DraftFile(draft, current(), labels, run, without_secrets(targets), session or "", time.time())
        lease = target.with_name(f"{session}.lease")
        if session in self._sessions and not lease.exists():
            make_folder(target.parent)
            self._write_lease(lease, [current()], time.time() + 86400)
        # Its process may be killed at once; a power cut before it is sealed, some moments later, is not provided for.
        atomic_write(target, _text(content), durable=False)
        return target

    def every_draft(self, experiment: str | None = None) -> list[Path]:
        """Return the files of all drafts, those that a process is working on included, of one experiment or all, oldest first."""
        if experiment is not None:
            folder = self._folder(experiment, _DRAFTS)
            return [folder / name for name in _names(folder)]
        return sorted(self.root.glob(f"*/{_DRAFTS}/*.json"), key=lambda path: path.name)

    def take_draft(self, path: Path, session: str | None = None) -> DraftFile | None:
        """Lease a draft to this process and return it, or None where it is another session's, or finished.

        One that cannot be read is put aside, so that those behind it go on.
        """
        found = self._or_aside(path, self._followed_nowhere)
        free = found is not None and ((session is not None and found.session == session) or self._is_free(found, path))
        return found if free and self._take(path, [current()], 86400) else None

    def _is_free(self, found: DraftFile, path: Path) -> bool:
        lease = path.with_name(f"{found.session}.lease")
        if found.session is not None and not lease.exists():
            return True
        if found.owner.host != current().host or alive(found.owner):
            return False
        lease.unlink(missing_ok=True)
        return True

    def lease(self, path: Path) -> bool:
        """Lease a file that tells of something unfinished to this process; say whether it is this one's to finish."""
        return self._take(path, [current()], 86400)

    def release_draft(self, path: Path) -> None:
        """Give a draft, or another file that tells of something unfinished, back."""
        path.with_suffix(".lease").unlink(missing_ok=True)

    def load_draft(self, path: Path) -> DraftFile | None:
        """Return a draft, or None where another process has finished it meanwhile.

        Its files are those of its folder in this directory's staging, wherever the directory was when they were made.
        Raises :class:`IntegrityError` for one that is damaged, and :class:`NewerFormat` for one of a later release.
        """
        try:
            found = _parsed(path, DraftFile)
        except FileNotFoundError:
            return None
        draft, manifest = found.draft, found.draft.manifest
        named = (
            self._folder(found.run.experiment, _DRAFTS)
            / f"{path.name.partition('~')[0]}~{manifest.put_id}~{manifest.name}"
        )
        staging = self._directory / "staging" / draft.staging.name
        try:
            _check_names(path, found.run, found.targets)
            if (
                named.with_name(f"{named.name}{path.suffix}") != path
                or not _SESSION.fullmatch(found.session or "")
                or not staging.name.startswith(f"{manifest.put_id}~")
                or not draft.sources.keys() >= _paths(manifest)
            ):
                raise _astray(path)
            moved = attrs.evolve(
                draft,
                sources={inside: staging / _inside(draft, source) for inside, source in draft.sources.items()},
                rendered={backend: staging / _inside(draft, folder) for backend, folder in draft.rendered.items()},
                staging=staging,
            )
        except ValueError as error:
            raise _astray(path) from error
        return attrs.evolve(found, draft=moved)

    def _followed_nowhere(self, path: Path) -> DraftFile | None:
        """Return a draft, none of whose files is a link, or behind one."""
        found = self.load_draft(path)
        if found is None:
            return None
        try:
            for source in found.draft.sources.values():
                check_way(self._directory, source)
            for folder in found.draft.rendered.values():
                check_tree(check_way(self._directory, folder))
        except IntegrityError as error:
            raise _Unusable(_damaged(path, "is to deliver what is a link, or lies behind one")) from error
        return found

    def _draft(self, path: Path) -> DraftFile | None:
        try:
            return self.load_draft(path)
        except (IntegrityError, NewerFormat):
            return None

    def blobs(self) -> set[str]:
        """Return the sha256 of every blob that a delivery, waiting or refused, needs.

        Raises :class:`~tracelet.IntegrityError` where one is damaged, for then nobody can tell.
        """
        for one in self.damaged():
            raise IntegrityError(one.advice)
        parcels = [*self.everything(), *self.refused()]
        return {file.sha256 for parcel in parcels for file in parcel.manifest.payload if file.sha256}

    def _folder(self, experiment: str, backend: str) -> Path:
        return self.root / physical_name(experiment) / backend

    def _file(self, parcel: Parcel) -> Path:
        return self._folder(parcel.run.experiment, parcel.backend) / f"{parcel.key}.json"

    def _plain(self, parcel: Parcel) -> dict[str, Any]:
        return {"schema": SCHEMA, **converter().unstructure(attrs.evolve(parcel, sdk=without_secrets(parcel.sdk)))}

    def _write(self, file: Path, delivery: dict[str, Any]) -> None:
        atomic_write(file, json.dumps(delivery).encode())

    def _known(self, file: Path) -> dict[str, Any]:
        """What a delivery's file says, with what a later release has put there; nothing where there is none."""
        with contextlib.suppress(OSError, IntegrityError, RecursionError, ValueError):
            known = json.loads(read_own(file))
            if isinstance(known, dict):
                return known
        return {}

    def _read(self, path: Path) -> Parcel | None:
        try:
            found = _parsed(path, Parcel)
        except FileNotFoundError:
            return None
        try:
            found.manifest.check_sealed()
        except ValueError as error:
            raise _Unusable(_damaged(path)) from error
        try:
            _check_names(path, found.run, [found.backend])
            if self._file(found).with_suffix(path.suffix) != path:
                raise _astray(path)
        except (ArithmeticError, ValueError) as error:
            raise _astray(path) from error
        return found

    def _lease(self, path: Path) -> _Lease | None:
        """Read a lease; one that is not there, or was cut off by the end of its machine, is nobody's.

        One of a later release is somebody's for a day, for it cannot be told whose.
        """
        try:
            return _parsed(path, _Lease)
        except (FileNotFoundError, IntegrityError):
            return None
        except NewerFormat:
            with contextlib.suppress(FileNotFoundError):
                return _Lease((_NOBODY,), path.lstat().st_mtime + 86400)
            return None

    def _write_lease(self, lease: Path, holders: Sequence[ProcessId], until: float) -> bool:
        partial = lease.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            with create(partial) as writer:
                writer.write(_text(_Lease(tuple(holders), until)))
            os.link(partial, lease)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True
