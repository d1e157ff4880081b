"""A backend for anything that is a bag of blobs: a directory, a bucket, any fsspec filesystem.

Give it five small methods and inherit versions, labels, aliases, commit order and lookup. Keys, under
the experiment's own prefix (names are safe as they are; the experiment's is encoded):

    blobs/sha256/ab/abcd…                the bytes, once for each content, shared by all experiments
    <experiment>/catalogue.json          the schema of all this, and the experiment's name
    <experiment>/claims/<name>/v3        made exclusively: who may write v3
    <experiment>/puts/<put-id>           the claim of a put, so that a second delivery finds the first
    <experiment>/digests/<name>/<digest>/v3
    <experiment>/inputs.json             the versions of all releases are in the next
    <experiment>/inputs/<digest>/<name>/v3 a version that has this digest among its inputs
    <experiment>/labels/<name>/<label>   made exclusively: the version and digest that the label is; the digest for ever
    <experiment>/labelled/<name>/v3/<label>
    <experiment>/versions/<name>/v3.json the manifest, written last: what has none does not exist
    <experiment>/aliases/<name>/<alias>  overwritten: the versions that it was moved to, newest first; it is the first that exists
    <experiment>/latest/<name>           a hint where to begin looking for the newest version
"""

from __future__ import annotations

import abc
import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import attrs

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.damage import Damage, or_damage, sound
from tracelet.core.plugins.version_refs import Ref, look_up, parse_ref
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
from tracelet.core.storage.blob_store import blob_key
from tracelet.core.storage.notes import Notes
from tracelet.core.storage.paths import physical_name, target_path
from tracelet.core.storage.pointers import Pointers
from tracelet.core.storage.remembered import Remembered
from tracelet.core.storage.verified_stream import VerifiedStream
from tracelet.core.storage.version_catalogue import VersionCatalogue
from tracelet.core.system.files import Stamp, copy_stream
from tracelet.exceptions import ArtifactNotFound

__all__ = ["BlobBackend", "FileBlob", "blob_of", "blobs_of"]

_LOG = logging.getLogger("tracelet.artifacts")

_CHUNK = 1 << 20
#: The newest version of a name is remembered where it has no more files.
_FEW_FILES = 100


@attrs.frozen
class FileBlob:
    """A file whose bytes are to be the blob of a key."""

    key: str
    source: Path
    sha256: str
    #: How the file looked when it was hashed; None where it cannot change any more.
    stamp: Stamp | None


class BlobBackend(abc.ABC):
    """Versions, labels and aliases on top of a bag of blobs.

    Keys are relative paths of safe characters. A missing key is a ``FileNotFoundError``; what fails for
    another reason raises :class:`~tracelet.BackendError` or one of its kind.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        """``uri`` is where the blobs are, for people to read; it holds no credentials."""
        self._uri = uri.rstrip("/")
        self._prefix = physical_name(experiment)
        self._notes = Notes(self, self._prefix)
        self._versions = VersionCatalogue(self, self._notes, self._uri, experiment)
        self._pointers = Pointers(self._notes, self._versions, self._uri)
        #: The newest version of each name as it was last seen; those of few names, and of few files.
        self._seen = Remembered[StoredArtifact]()
        #: The number that is reserved for what is being put.
        self._reserved: int | None = None

    @abc.abstractmethod
    def create_exclusive(self, key: str, data: bytes) -> bool:
        """Write a small blob unless the key is taken; say whether it was written. Two callers never both do."""

    @abc.abstractmethod
    def write(self, key: str, data: BinaryIO) -> None:
        """Write a blob, in place of what was there, all at once: where reading ``data`` raises, nothing is."""

    @abc.abstractmethod
    def read(self, key: str) -> BinaryIO:
        """Open a blob for reading. Raises ``FileNotFoundError`` where there is none."""

    @abc.abstractmethod
    def keys(self, prefix: str) -> Iterable[str]:
        """Return every key that begins with ``prefix``, which ends in ``/``, at any depth."""

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Delete a blob; one that is not there is no error."""

    def small_reader(self, folder: str) -> Callable[[str], bytes | None]:
        """Return what reads a small blob of a folder by its name there; None means that :meth:`read` is to be asked.

        A listing reads thousands. A place that can look once whether a folder is sound, and read then, overrides it.
        """
        return lambda name: None

    def folders_below(self, prefix: str) -> Iterable[str]:
        """Return what comes next in the keys that begin with ``prefix``, which ends in ``/``, where a ``/`` follows: each once.

        All keys are looked at. A place that has folders overrides it.
        """
        return {
            next_part
            for key in self.keys(prefix)
            for next_part, slash, _ in [key[len(prefix) :].partition("/")]
            if slash
        }

    def exists(self, key: str) -> bool:
        """Tell whether there is a blob: it is opened. A place that knows without that overrides it."""
        try:
            self.read(key).close()
        except FileNotFoundError:
            return False
        return True

    def write_files(self, files: Iterable[FileBlob]) -> None:
        """Write the blobs of files, except those that are there; a place that knows better overrides it.

        Raises :class:`~tracelet.plugin.FileChanged`, and writes no blob of that file, where the bytes are others.
        """
        for file in files:
            if not self.holds(file.key, file.sha256, file.source.stat().st_size):
                if self.exists(file.key):
                    _LOG.warning("%s/%s is damaged. It is replaced by the right bytes.", self._uri, file.key)
                self.write_verified(file.key, file.source, file.sha256)

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """Tell whether the blob of a file is there, and whole: it is read. A place that knows without that overrides it."""
        found = hashlib.sha256()
        try:
            with self.read(key) as stream:
                while block := stream.read(_CHUNK):
                    found.update(block)
        except FileNotFoundError:
            return False
        return found.hexdigest() == sha256

    def write_verified(self, key: str, source: Path, sha256: str) -> None:
        """Write the blob of a file, hashed as it passes; where the bytes are others, nothing is written."""
        with source.open("rb") as stream:
            self.write(key, cast(BinaryIO, io.BufferedReader(VerifiedStream(stream, sha256, source), 1 << 20)))

    def start(self, run: RunInfo) -> None:
        """Runs leave no trace of their own here: each manifest has its run's id."""

    def stop(self, *, failed: bool) -> None:
        """Nothing is held open."""

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        manifest = sealed.manifest
        self._versions.begin()
        number = self._versions.claim(manifest) if self._reserved is None else self._reserved
        self.write_files(blobs_of(sealed, manifest.payload))
        if labels.version:
            taken = self._pointers.settle_label(manifest, number, labels.version)
            if taken is not None:
                return self._stored(*taken, labels.version, self._pointers.aliases(manifest.name).get(taken[1]))
        self._versions.note_digest(manifest, number)
        self._versions.note_inputs(manifest, number)
        for alias in labels.aliases:
            self._pointers.move_with(manifest.name, alias, number)
        self._versions.commit(manifest, number)
        stored = self._stored(manifest, number, labels.version, labels.aliases)
        self._remember(stored)
        return stored

    def recall(self, name: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`."""
        return self._seen.of(name)

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`: the next number is reserved before anything is sent."""
        seen = self._seen.of(sealed.manifest.name)
        self._reserved = None if seen is None else self._versions.claim_after(sealed.manifest, seen.number)
        if self._reserved is None:
            return None
        try:
            return self.put(sealed, labels)
        finally:
            self._reserved = None

    def _remember(self, newest: StoredArtifact) -> None:
        name = newest.manifest.name
        if len(newest.manifest.payload) <= _FEW_FILES:
            self._seen.keep(name, newest)
        else:
            self._seen.forget(name)

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet.plugin.Heals`: equal bytes have the same key. The sources of what is there are not touched."""
        held = {file.sha256 for file in stored.manifest.payload}
        lost = (
            file
            for file in sealed.manifest.payload
            if file.sha256 in held and not self.holds(blob_of(file), str(file.sha256), file.size_bytes)
        )
        self.write_files(blobs_of(sealed, lost))

    def place(self, stored: StoredArtifact, path: str) -> str:
        """See :class:`~tracelet.plugin.Heals`."""
        (file,) = (file for file in stored.manifest.payload if file.artifact_path == path)
        return f"{self._uri}/{blob_of(file)}"

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._versions.check()
        wanted = parse_ref(ref)
        number = look_up(
            wanted,
            latest=partial(self._versions.newest, name),
            number=lambda number: number,
            label=partial(self._pointers.number_of, name),
            digest=partial(self._versions.number_of_digest, name),
            put_id=self._versions.number_of_put,
        )
        manifest = None if number is None else self._versions.manifest(name, number)
        if manifest is None or number is None or manifest.name != name:
            return None
        # A put-id is noted without its name, and its claim may not have been the one that was filled.
        if wanted.put_id not in {None, manifest.put_id}:
            return None
        label, aliases = self._pointers.labels(name, number).get(number), self._pointers.aliases(name).get(number)
        stored = self._stored(manifest, number, label, aliases)
        if wanted == Ref():
            self._remember(stored)
        return stored

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`: where manifests are damaged, it gives the others first, and raises then."""
        yield from sound(self._every(name, type))

    def _every(self, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact | Damage]:
        self._versions.check()
        versions = self._versions.numbers(name)
        labels, aliases = self._pointers.of_all(name, {owner: frozenset(found) for owner, found in versions.items()})
        for owner, found in versions.items():
            read = or_damage(self._versions.manifests(owner), partial("{0!r} v{1}".format, owner))
            for number in sorted(found, reverse=True):
                manifest = read(number)
                if not isinstance(manifest, Manifest):
                    if manifest is not None:
                        yield manifest
                elif type is None or type is manifest.type:
                    place = owner, number
                    yield self._stored(manifest, number, labels.get(place), aliases.get(place))

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        files = {file.artifact_path: file for file in stored.manifest.payload}
        for path in paths:
            try:
                source = self.read(blob_of(files[path]))
            except FileNotFoundError as error:
                raise ArtifactNotFound(
                    f"the bytes of {path!r} are gone: there is no {self.place(stored, path)}. Log the same content "
                    "again, which brings them back, or get it from another backend."
                ) from error
            with source, target_path(dest, path).open("wb") as target:
                copy_stream(source, target)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        manifest, number = stored.manifest, stored.number
        if labels.version and labels.version != stored.label:
            self._pointers.settle_label(manifest, number, labels.version)
        for alias in labels.aliases:
            self._pointers.move(manifest.name, alias, number)
        return self._changed(stored)

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        name, number = stored.manifest.name, stored.number
        held = self._pointers.aliases(name).get(number, ())
        self._pointers.remove(name, [alias for alias in aliases if alias in held])
        return self._changed(stored)

    def _changed(self, stored: StoredArtifact) -> StoredArtifact:
        """Return a version as it is now; raises :class:`~tracelet.ArtifactNotFound` where it was deleted meanwhile."""
        name, number = stored.manifest.name, stored.number
        found = self.find(name, f"v{number}")
        if found is None:
            raise ArtifactNotFound(f"{name!r} v{number} was deleted meanwhile: list_artifacts() shows what there is.")
        return found

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        self._versions.check()
        for one in sound(self._versions.users(digest)):
            found = self.find(one[0], f"v{one[1]}")
            if found is not None:
                yield found

    def delete(self, stored: StoredArtifact) -> int | None:
        """See :class:`~tracelet.plugin.Deletes`. Its bytes stay, for anything may share them, and its label means nothing else."""
        self._forget_version(stored)
        return None

    def _forget_version(self, stored: StoredArtifact) -> None:
        name, number = stored.manifest.name, stored.number
        held = self._pointers.aliases(name).get(number, ())
        self._versions.remove(name, number)
        self._pointers.forget_label(name, number)
        self._pointers.remove(name, held)

    def take_back(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.TakesBack`: aliases are where they were before."""
        self._versions.remove(stored.manifest.name, stored.number)
        self._pointers.free_labels(stored.manifest.name, stored.number)

    def _stored(
        self, manifest: Manifest, number: int, label: str | None, aliases: tuple[str, ...] | None
    ) -> StoredArtifact:
        uri = self._versions.uri(manifest.name, number)
        return StoredArtifact(manifest, number, uri, label, aliases or ())


def blob_of(file: ArtifactFile) -> str:
    """Return the key of the blob of a sealed file."""
    assert file.sha256 is not None
    return f"blobs/{blob_key(file.sha256)}"


def blobs_of(sealed: SealedArtifact, files: Iterable[ArtifactFile]) -> Iterator[FileBlob]:
    """Yield these files of an artifact as blobs."""
    for file in files:
        path = file.artifact_path
        yield FileBlob(blob_of(file), sealed.sources[path], str(file.sha256), sealed.stamps.get(path))
