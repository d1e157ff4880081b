"""One open backend and what core asks of it; on the far side of a lane, or in the same process."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.backend import PROTOCOLS, Abilities, Backend, Deletes, Discovers, abilities_of
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.plugins.shapes import misfit
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact, flaw_of
from tracelet.core.system.files import FileChanged
from tracelet.exceptions import (
    ArtifactError,
    BackendError,
    IntegrityError,
    NewerFormat,
    PluginError,
    TraceletError,
    UnsafePath,
    VersionConflict,
)

__all__ = ["BackendService", "Delivered"]

_LOG = logging.getLogger("tracelet.artifacts")
#: What reading a version raises that was changed, or that a later release wrote.
_DAMAGED = (IntegrityError, UnsafePath, NewerFormat)
#: The end of an answer.
_END = object()


@attrs.frozen
class Delivered:
    """A version that has the artifact, and whether this delivery made it."""

    stored: StoredArtifact
    created: bool
    #: Whether the run has begun here, for this delivery or before it: what was stored before needs none.
    begun: bool = True


def _calls(protocol: type) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield how core calls each method of a protocol: its name, its arguments in their order, and those by name."""
    for name, method in vars(protocol).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            _, *parameters = inspect.signature(method).parameters.values()
            named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
            yield name, [one.name for one in parameters if one.name not in named], named


def _checked(spec: BackendSpec, backend: Any) -> tuple[Backend, Abilities]:
    """Return a backend that can be called as core does, and what it can do; raises :class:`PluginError` for any other."""
    able = abilities_of(backend)
    declared = [protocol for capability, protocol in PROTOCOLS.items() if capability in spec.capabilities]
    # What is declared and not there is told, too: core goes by the declaration before it opens a backend.
    for method, arguments, named in chain.from_iterable(map(_calls, (Backend, *able.protocols, *declared))):
        wrong = misfit(getattr(backend, method, None), arguments, named)
        if wrong:
            raise PluginError(
                f"the plugin of the backend {spec.name!r} is broken: {type(backend).__name__}.{method} cannot be called: "
                f"{wrong}. Repair it, or choose another backend."
            )
    return backend, able


def _opened(spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> Any:
    try:
        return spec.open(experiment, settings, context)
    except TypeError as error:
        # A class without one of its abstract methods, which no later attempt has either.
        if "instantiate abstract class" not in str(error):
            raise
        raise PluginError(
            f"the plugin of the backend {spec.name!r} is broken: {error}. Repair it, or choose another backend."
        ) from error


class BackendService:
    """An open backend. Its public methods are the requests that a lane carries."""

    def __init__(self, spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> None:
        self.name = spec.name
        self._backend, self._able = _checked(spec, _opened(spec, experiment, settings, context))
        self._run: RunInfo | None = None

    def ping(self) -> None:
        """Answer; an open backend has proved all there is to prove."""

    def begin(self, run: RunInfo) -> None:
        """Start or attach to a run, unless it is the one at hand."""
        if self._run != run:
            self._backend.start(run)
            self._run = run

    def deliver(self, sealed: SealedArtifact, labels: Labels, run: RunInfo, again: bool) -> Delivered:
        """Store an artifact once, whatever happened before.

        ``again`` says that an earlier attempt may have got further than its caller knows. The same content as
        the newest version, or as the label's, is not sent; only its labels move.
        """
        return attrs.evolve(self._deliver(sealed, labels, run, again), begun=self._run == run)

    def _deliver(self, sealed: SealedArtifact, labels: Labels, run: RunInfo, again: bool) -> Delivered:
        manifest = sealed.manifest
        if again:
            stored = self._readable(manifest.name, f"put:{manifest.put_id}")
            if stored is not None:
                return self._healed(self._relabelled(stored, labels), sealed, created=True)
        if labels.version:
            stored = self._labelled(manifest, labels.version)
            if stored is not None:
                return self._healed(self._relabelled(stored, labels), sealed, created=False)
        holders = self._holders(manifest.name, labels.aliases)
        stored = self._put_next(sealed, labels, run)
        if stored is None:
            latest = self._latest(manifest)
            if latest is not None and self._covers(latest, manifest, labels):
                return self._healed(self._relabelled(latest, labels), sealed, created=False)
            _check_sources(sealed)
            self.begin(run)
            stored = self._version("put", self._backend.put(sealed, labels), manifest.name)
        self._check_unchanged(sealed, stored, holders)
        return Delivered(stored, stored.manifest.put_id == manifest.put_id)

    def store_copy(self, sealed: SealedArtifact, labels: Labels, run: RunInfo) -> StoredArtifact:
        """Store a version that another backend holds, once: as a version of its own, whatever the newest one here has."""
        manifest = sealed.manifest
        stored = self._readable(manifest.name, f"put:{manifest.put_id}")
        if stored is not None and stored.manifest.digest != manifest.digest:
            raise VersionConflict(
                f"{manifest.name!r} {stored.version} has the id of the same put, {manifest.put_id}, and other content: one "
                "of the two was changed. Verify both, and log what is right again."
            )
        if stored is None and labels.version:
            stored = self._labelled(manifest, labels.version)
        if stored is not None:
            return self._relabelled(stored, labels)
        holders = self._holders(manifest.name, labels.aliases)
        self._latest(manifest)
        self.begin(run)
        stored = self._version("put", self._backend.put(sealed, labels), manifest.name)
        self._check_unchanged(sealed, stored, holders)
        return stored

    def _put_next(self, sealed: SealedArtifact, labels: Labels, run: RunInfo) -> StoredArtifact | None:
        """Put an artifact without looking, where the newest version is remembered to have other content; else return None."""
        manifest = sealed.manifest
        recalls = self._able.recalls
        if recalls is None:
            return None
        recalled = self._version_or_none("recall", recalls.recall(manifest.name), manifest.name)
        if recalled is None or recalled.manifest.type is not manifest.type:
            return None
        if recalled.manifest.digest == manifest.digest:
            return None
        _check_sources(sealed)
        self.begin(run)
        return self._version_or_none("put_next", recalls.put_next(sealed, labels), manifest.name)

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """Return the version that ``ref`` means, or None."""
        return self._version_or_none("find", self._backend.find(name, ref), name)

    def list(self, name: str | None, type: ArtifactType | None) -> tuple[StoredArtifact, ...]:
        """Return every version, or those of a name or type; an error has what came before it in its ``answers``."""
        found: list[StoredArtifact] = []
        try:
            # What came before an error stays in it.
            found.extend(
                stored
                for stored in self._versions("list", self._backend.list(name=name, type=type))
                if (name is None or name == stored.manifest.name) and (type is None or type is stored.manifest.type)
            )
        except TraceletError as error:
            error.answers = tuple(found)
            raise
        return tuple(found)

    def used_by(self, digest: str) -> tuple[StoredArtifact, ...]:
        """Return the versions whose inputs have this digest; where the backend has no index of them, all are looked at."""
        users = self._able.finds_users
        found = self.list(None, None) if users is None else self._versions("used_by", users.used_by(digest))
        return tuple(stored for stored in found if digest in stored.manifest.inputs)

    def experiments(self) -> tuple[str, ...]:
        """Return the names of the experiments that the backend holds."""
        lists = self._able.lists_experiments
        if lists is None:
            raise self._cannot("cannot say which experiments it holds: name yours")
        found = lists.experiments()
        names = tuple(found) if isinstance(found, Iterable) else (None,)
        if not all(isinstance(name, str) for name in names):
            raise self._wrong(f"experiments must return an iterable of text, and returned {found!r}")
        return tuple(sorted({str(name) for name in names}))

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """Move aliases to a version, and give it a label that it does not have yet."""
        self._holders(stored.manifest.name, labels.aliases)
        return self._relabelled(stored, labels)

    def remove_aliases(self, stored: StoredArtifact, aliases: tuple[str, ...]) -> StoredArtifact:
        """Take aliases away from a version."""
        removes = self._able.removes_aliases
        if removes is None:
            raise self._cannot("cannot take an alias away: move it to another version")
        return self._version("remove_aliases", removes.remove_aliases(stored, aliases), stored.manifest.name)

    def delete_many(self, stored: tuple[StoredArtifact, ...]) -> tuple[int | None, ...]:
        """Delete versions, and return for each the bytes that became free, or None where the backend does not know.

        There are fewer answers where one could not be deleted, which says why where it is the first: then this raises.
        """
        deletes, many = self._deletes(), self._able.deletes_many
        freed: list[int | None] = []
        try:
            answer: object = map(deletes.delete, stored) if many is None else many.delete_many(stored)
            if not isinstance(answer, Iterable):
                raise self._wrong(f"delete_many must return an iterable of bytes, and returned {answer!r}")
            left = iter(answer)
            while (one := call_plugin(self.name, next, left, _END)) is not _END:
                freed.append(_bytes_of(one))
            if len(freed) != len(stored):
                raise self._wrong(f"delete_many was given {len(stored)} versions, and answered about {len(freed)}")
        except TraceletError:
            if not 0 < len(freed) < len(stored):
                raise
        return tuple(freed)

    def _deletes(self) -> Deletes:
        if self._able.deletes is None:
            raise self._cannot("cannot delete a version: delete it in the tracker itself")
        return self._able.deletes

    def fetch(self, stored: StoredArtifact, paths: tuple[str, ...], dest: Path) -> None:
        """Write files of a version under an empty folder."""
        self._backend.fetch(stored, paths, dest)

    def discover(self, place: str) -> tuple[ForeignArtifact, ...]:
        """Return what was logged at a place of the tracker without Tracelet; those of one name oldest first."""
        answer = self._discovers().discover(place)
        found = tuple(answer) if isinstance(answer, Iterable) else (answer,)
        if wrong := next((one for one in found if not isinstance(one, ForeignArtifact)), None):
            raise self._wrong(f"discover must return an iterable of ForeignArtifact, and one of them is {wrong!r}")
        return found

    def fetch_foreign(self, found: ForeignArtifact, dest: Path) -> None:
        """Write the files of what was logged without Tracelet under an empty folder."""
        self._discovers().fetch_foreign(found, dest)

    def _discovers(self) -> Discovers:
        if self._able.discovers is None:
            raise self._cannot(
                "cannot say what was logged without Tracelet: download it, and use `tracelet import dir`"
            )
        return self._able.discovers

    def fetch_rendered(self, stored: StoredArtifact, dest: Path) -> bool:
        """Write the tracker's own form of a version's models into an empty folder; say whether there is one of each."""
        gives = self._able.gives_rendered
        return gives is not None and bool(gives.fetch_rendered(stored, dest))

    def remedy(self, stored: StoredArtifact, path: str) -> str:
        """Say where the damaged bytes at a path of a version are, and what puts them right."""
        place = self._able.heals.place(stored, path) if self._able.heals is not None else ""
        if place:
            return f"They are {place}: log the same content again, which puts them right"
        return "Log it again with another description, which makes a new version"

    def places(self, stored: StoredArtifact) -> dict[str, str]:
        """Say where the bytes of each file of a version are; an empty text where the backend does not say it."""
        heals = self._able.heals
        paths = [file.artifact_path for file in stored.manifest.payload]
        return {path: heals.place(stored, path) if heals is not None else "" for path in paths}

    def record_input(self, stored: StoredArtifact, run: RunInfo) -> None:
        """Note in the backend, where it can, that the run uses this version."""
        if self._able.records_inputs is not None:
            self.begin(run)
            self._able.records_inputs.record_input(stored)

    def collect(self, older_than: float) -> int:
        """Clear the backend's own garbage, where it can; return the bytes."""
        return sum(self._able.collects.collect(older_than)) if self._able.collects is not None else 0

    def stop(self, failed: bool) -> None:
        """End the run, and with it the use of the backend."""
        self._backend.stop(failed=failed)

    def _version(self, method: str, answer: object, name: str) -> StoredArtifact:
        """Return what a method answered, where it is a version of that name; what is not will not be one later."""
        if not isinstance(answer, StoredArtifact):
            raise self._wrong(f"{method} must return a StoredArtifact, and returned {answer!r}")
        if flaw := flaw_of(answer):
            raise self._wrong(f"{method} returned a StoredArtifact whose {flaw}")
        if answer.manifest.name != name:
            raise self._wrong(f"{method} was asked about {name!r}, and answered about {answer.manifest.name!r}")
        return answer

    def _version_or_none(self, method: str, answer: object, name: str) -> StoredArtifact | None:
        return None if answer is None else self._version(method, answer, name)

    def _versions(self, method: str, answer: object) -> Iterator[StoredArtifact]:
        if not isinstance(answer, Iterable):
            raise self._wrong(f"{method} must return an iterable of StoredArtifact, and returned {answer!r}")
        for one in answer:
            if not isinstance(one, StoredArtifact):
                raise self._wrong(f"{method} must return an iterable of StoredArtifact, and one of them is {one!r}")
            if flaw := flaw_of(one):
                raise self._wrong(f"{method} gave a StoredArtifact whose {flaw}")
            yield one

    def _cannot(self, what: str) -> BackendError:
        return BackendError(f"{self.name} {what}.", backend=self.name, retryable=False)

    def _wrong(self, what: str) -> BackendError:
        return BackendError(
            f"the plugin of the backend {self.name!r} is broken: {what}. Repair it, or choose another backend.",
            backend=self.name,
            retryable=False,
        )

    def _healed(self, stored: StoredArtifact, sealed: SealedArtifact, *, created: bool) -> Delivered:
        """Repair what the version lost meanwhile, or what was damaged; nothing else is sent."""
        if self._able.heals is not None:
            self._able.heals.heal(stored, sealed)
        return Delivered(stored, created)

    def _readable(self, name: str, ref: str) -> StoredArtifact | None:
        """Find a version; one whose manifest is damaged counts as absent, so that it stops no delivery."""
        try:
            return self._ask(name, ref)
        except _DAMAGED as error:
            _LOG.warning("%r %s is passed over: %s", name, ref, error)
            return None

    def _ask(self, name: str, ref: str) -> StoredArtifact | None:
        """Find a version; an answer that cannot be read may have been changed on its way, and is asked for once more."""
        try:
            return self.find(name, ref)
        except _DAMAGED:
            return self.find(name, ref)

    def _latest(self, manifest: Manifest) -> StoredArtifact | None:
        """Return the newest version of a name, or None where it is damaged; raises where the name is of another type."""
        name = manifest.name
        try:
            latest = known = self._ask(name, "latest")
        except _DAMAGED as error:
            _LOG.warning("the newest version of %r is passed over: %s", name, error)
            latest, known = None, self._newest_readable(name)
        if known is not None and known.manifest.type is not manifest.type:
            raise ArtifactError(
                f"{name!r} is a {known.manifest.type.value} in this experiment, and this is a "
                f"{manifest.type.value}: a name has one type. Choose another name."
            )
        return latest

    def _newest_readable(self, name: str) -> StoredArtifact | None:
        found: Sequence[StoredArtifact]
        try:
            found = self.list(name, None)
        except _DAMAGED as error:
            found = error.answers
        return max(found, key=lambda stored: stored.number, default=None)

    def _labelled(self, manifest: Manifest, label: str) -> StoredArtifact | None:
        stored = self.find(manifest.name, label)
        if stored is None:
            return None
        if stored.label != label:
            raise VersionConflict(f"{label!r} is an alias of {manifest.name!r}: choose another label.")
        if stored.manifest.digest != manifest.digest:
            raise VersionConflict(
                f"{manifest.name!r} {label!r} is stored with other content: a label belongs to one content for ever. "
                "Choose a new label, or use an alias, which moves. (Some frameworks write an equal model in other bytes each "
                'time: see "What an artifact holds" in the documentation.)'
            )
        return stored

    def _holders(self, name: str, aliases: Iterable[str]) -> dict[str, StoredArtifact]:
        """Return which version has each alias now; raises :class:`VersionConflict` where one is a label."""
        found = {alias: self._readable(name, alias) for alias in aliases}
        for alias, stored in found.items():
            if stored is not None and stored.label == alias:
                raise VersionConflict(
                    f"{alias!r} is a version label of {name!r}, which never moves: choose another alias."
                )
        return {alias: stored for alias, stored in found.items() if stored is not None}

    def _covers(self, latest: StoredArtifact, manifest: Manifest, labels: Labels) -> bool:
        """Tell whether the newest version has this very content, and can take the label."""
        if latest.manifest.digest != manifest.digest or not latest.manifest.as_complete_as(manifest):
            return False
        return labels.version is None or (latest.label is None and self._able.moves_aliases is not None)

    def _relabelled(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        missing = set(labels.aliases) - set(stored.aliases)
        if not missing and labels.version in {None, stored.label}:
            return stored
        if self._able.moves_aliases is None:
            raise BackendError(
                f"{self.name} has this content as {stored.version} and cannot name it "
                f"{', '.join(sorted(missing))} afterwards: get it by {stored.version}.",
                backend=self.name,
                retryable=False,
            )
        return self._version("relabel", self._able.moves_aliases.relabel(stored, labels), stored.manifest.name)

    def _check_unchanged(
        self, sealed: SealedArtifact, stored: StoredArtifact, holders: Mapping[str, StoredArtifact]
    ) -> None:
        """A file that changed before the end of the upload may be stored as something it is not."""
        try:
            _check_sources(sealed)
        except FileChanged:
            # What another delivery had stored under the label is not this one's to delete.
            if stored.manifest.put_id == sealed.manifest.put_id:
                self._undo(stored, holders)
            raise

    def _undo(self, stored: StoredArtifact, holders: Mapping[str, StoredArtifact]) -> None:
        """Undo a put as far as the backend can; aliases go back to the versions that had them before it."""
        able = self._able
        if able.takes_back is not None:
            able.takes_back.take_back(stored)
        elif able.deletes is not None:
            able.deletes.delete(stored)
            if able.moves_aliases is not None:
                for alias, holder in holders.items():
                    # Another process may have moved it meanwhile.
                    if self.find(holder.manifest.name, alias) is None:
                        able.moves_aliases.relabel(holder, Labels(None, (alias,)))


def _bytes_of(answer: object) -> int | None:
    """Return what a plugin answered where it is a number of bytes."""
    return answer if isinstance(answer, int) else None


def _check_sources(sealed: SealedArtifact) -> None:
    """Raise :class:`FileChanged` where a file is not the one that was hashed any more; one that is gone is told by who reads it."""
    for path, known in sealed.stamps.items():
        try:
            same = known.matches(sealed.sources[path].stat())
        except FileNotFoundError:
            continue
        if not same and path in {file.artifact_path for file in sealed.manifest.payload}:
            raise FileChanged(f"{str(sealed.sources[path])!r} changed while it was stored.")
