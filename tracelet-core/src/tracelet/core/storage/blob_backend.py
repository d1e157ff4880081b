"""A backend for anything that is a bag of blobs: a directory, a bucket, any fsspec filesystem.

Give it five small methods and inherit versions, labels, aliases, commit order and lookup. Keys, under
the experiment's own prefix (names are safe as they are; the experiment's is encoded):

    blobs/sha256/ab/abcd…                the bytes, once for each content, shared by all experiments
    <experiment>/catalogue.json          the schema of all this
    <experiment>/claims/<name>/v3        made exclusively: who may write v3
    <experiment>/puts/<put-id>           the claim of a put, so that a second delivery finds the first
    <experiment>/digests/<name>/<digest>/v3
    <experiment>/labels/<name>/<label>   made exclusively: the version and digest that the label is; the digest for ever
    <experiment>/labelled/<name>/v3/<label>
    <experiment>/versions/<name>/v3.json the manifest, written last: what has none does not exist
    <experiment>/aliases/<name>/<alias>  overwritten: the versions that it was moved to, newest first; it is the first that exists
    <experiment>/latest/<name>           a hint where to begin looking for the newest version
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import io
import itertools
import json
import logging
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, cast

from tracelet.core.artifacts.entries import ArtifactFile, ArtifactType
from tracelet.core.artifacts.manifest import MOST_BYTES, Manifest
from tracelet.core.plugins.damage import Damage, or_damage, sound
from tracelet.core.plugins.version_refs import label_conflict, look_up, of_digest, parse_ref
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
from tracelet.core.storage.blob_store import blob_key
from tracelet.core.storage.paths import physical_name, target_path
from tracelet.core.system.files import FileChanged, Stamp
from tracelet.core.system.schemas import check_schema
from tracelet.exceptions import (
    ArtifactNotFound,
    BackendError,
    IntegrityError,
    NewerFormat,
    UnsafePath,
)

__all__ = ["BlobBackend", "blob_of"]

_LOG = logging.getLogger("tracelet.artifacts")

_SCHEMA = 1
_CATALOGUE = "catalogue.json"
#: A longer number is nobody's.
_VERSION_KEY = re.compile(r"v([0-9]{1,18})\.json")
_NUMBER = re.compile(r"v?([0-9]{1,18})")
_BLOCK = 1 << 18
_CHUNK = 1 << 20


class BlobBackend(abc.ABC):
    """Versions, labels and aliases on top of a bag of blobs.

    Keys are relative paths of safe characters. A missing key is a ``FileNotFoundError``; what fails for
    another reason raises :class:`~tracelet.BackendError` or one of its kind.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        """``uri`` is where the blobs are, for people to read; it holds no credentials."""
        self._uri = uri.rstrip("/")
        self._prefix = physical_name(experiment)
        #: Whether the catalogue is known to be one that can be read, and to say its schema.
        self._is_known = self._is_begun = False

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

    def write_file(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        """Write the blob of a file whose sha256 is known, unless it is there; a place that knows better overrides it.

        ``stamp`` is how the file looked when it was hashed, None where it cannot change any more. Raises
        :class:`~tracelet.plugin.FileChanged`, and writes nothing, where the bytes are others.
        """
        if not self.holds(key, sha256, source.stat().st_size):
            if self._exists(key):
                _LOG.warning("%s/%s is damaged. It is replaced by the right bytes.", self._uri, key)
            self.write_verified(key, source, sha256)

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
            self.write(key, cast(BinaryIO, io.BufferedReader(_Verified(stream, sha256, source), 1 << 20)))

    def start(self, run: RunInfo) -> None:
        """Runs leave no trace of their own here: each manifest has its run's id."""

    def stop(self, *, failed: bool) -> None:
        """Nothing is held open."""

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        manifest = sealed.manifest
        name = manifest.name
        self._begin_catalogue()
        number = self._claim(manifest)
        self._write_files(sealed, manifest.payload)
        if labels.version:
            taken = self._settle_label(manifest, number, labels.version)
            if taken is not None:
                return taken
        self._note(f"digests/{name}/{manifest.digest}/v{number}")
        for alias in labels.aliases:
            # It moves in the moment in which the version begins to exist, and not at all where that never comes.
            self._note(f"aliases/{name}/{alias}", " ".join(map(str, [number, *self._pointed(name, alias)])))
        self._write(f"versions/{name}/v{number}.json", manifest.to_json().encode())
        self._note(f"latest/{name}", str(number))
        return self._stored(manifest, number, labels.version, labels.aliases)

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet.plugin.Heals`: equal bytes have the same key. The sources of what is there are not touched."""
        held = {file.sha256 for file in stored.manifest.payload}
        self._write_files(
            sealed,
            [
                file
                for file in sealed.manifest.payload
                if file.sha256 in held and not self.holds(blob_of(file), str(file.sha256), file.size_bytes)
            ],
        )

    def place(self, stored: StoredArtifact, path: str) -> str:
        """See :class:`~tracelet.plugin.Heals`."""
        (file,) = (file for file in stored.manifest.payload if file.artifact_path == path)
        return f"{self._uri}/{blob_of(file)}"

    def _write_files(self, sealed: SealedArtifact, files: Iterable[ArtifactFile]) -> None:
        for file in files:
            path = file.artifact_path
            self.write_file(blob_of(file), sealed.sources[path], str(file.sha256), sealed.stamps.get(path))

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._check_catalogue()
        wanted = parse_ref(ref)
        number = look_up(
            wanted,
            latest=partial(self._newest, name),
            number=lambda number: number,
            label=partial(self._number_of_label, name),
            digest=partial(self._number_of_digest, name),
            put_id=lambda put_id: self._number(f"puts/{put_id}"),
        )
        manifest = None if number is None else self._manifest(name, number)
        if manifest is None or number is None or manifest.name != name:
            return None
        # A put-id is noted without its name, and its claim may not have been the one that was filled.
        if wanted.put_id not in {None, manifest.put_id}:
            return None
        return self._stored(manifest, number, self._labels(name, number).get(number), self._aliases(name).get(number))

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`: where manifests are damaged, it gives the others first, and raises then."""
        yield from sound(self._every(name, type))

    def _every(self, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact | Damage]:
        self._check_catalogue()
        numbers: dict[str, list[int]] = {}
        for owner, leaf in self._parts("versions/" if name is None else f"versions/{name}/", 2):
            if match := _VERSION_KEY.fullmatch(leaf):
                numbers.setdefault(owner, []).append(int(match[1]))
        for owner, found in numbers.items():
            labels, aliases = self._labels(owner), self._aliases(owner)
            read = or_damage(partial(self._manifest, owner), partial("{0!r} v{1}".format, owner))
            for number in sorted(found, reverse=True):
                manifest = read(number)
                if not isinstance(manifest, Manifest):
                    if manifest is not None:
                        yield manifest
                elif type in {None, manifest.type}:
                    yield self._stored(manifest, number, labels.get(number), aliases.get(number))

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
                shutil.copyfileobj(source, target, 1 << 20)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        manifest, number = stored.manifest, stored.number
        if labels.version and labels.version != stored.label:
            self._settle_label(manifest, number, labels.version)
        for alias in labels.aliases:
            self._note(f"aliases/{manifest.name}/{alias}", str(number))
        found = self.find(manifest.name, f"v{number}")
        assert found is not None
        return found

    def delete(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.Deletes`. Its bytes stay while anything may share them, and its label means nothing else."""
        name, number = stored.manifest.name, stored.number
        held = self._aliases(name).get(number, ())
        self.remove(f"{self._prefix}/versions/{name}/v{number}.json")
        for key in self._keys(f"labelled/{name}/v{number}/"):
            self.remove(f"{self._prefix}/{key}")
        for alias in held:
            self.remove(f"{self._prefix}/aliases/{name}/{alias}")

    def take_back(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.TakesBack`: aliases are where they were before."""
        name, number = stored.manifest.name, stored.number
        self.remove(f"{self._prefix}/versions/{name}/v{number}.json")
        for label in [key.rpartition("/")[2] for key in self._keys(f"labelled/{name}/v{number}/")]:
            self.remove(f"{self._prefix}/labels/{name}/{label}")
            self.remove(f"{self._prefix}/labelled/{name}/v{number}/{label}")

    def _check_catalogue(self) -> None:
        """Raise :class:`~tracelet.NewerFormat` where a later release keeps versions in another way here."""
        if not self._is_known:
            self.check_catalogue_at(f"{self._prefix}/{_CATALOGUE}")
            self._is_known = True

    def _begin_catalogue(self) -> None:
        self._check_catalogue()
        if not self._is_begun:
            self.create_exclusive(f"{self._prefix}/{_CATALOGUE}", json.dumps({"schema": _SCHEMA}).encode())
            self._is_begun = True

    def check_catalogue_at(self, key: str) -> None:
        """Raise :class:`~tracelet.NewerFormat` where the catalogue of an experiment, with its schema at a key, is a later release's."""
        # Each manifest has a schema of its own: where this file is lost or damaged, nothing else is.
        with (
            contextlib.suppress(FileNotFoundError, AttributeError, RecursionError, ValueError),
            self.read(key) as stream,
        ):
            check_schema(json.loads(stream.read(_BLOCK)), _SCHEMA, f"{self._uri}/{key.rpartition('/')[0]}")

    def _stored(
        self, manifest: Manifest, number: int, label: str | None, aliases: tuple[str, ...] | None
    ) -> StoredArtifact:
        uri = f"{self._uri}/{self._prefix}/versions/{manifest.name}/v{number}.json"
        return StoredArtifact(manifest, number, uri, label, aliases or ())

    def _claim(self, manifest: Manifest) -> int:
        name = manifest.name
        number = self._number(f"latest/{name}") or 0
        # A claim may be lost, to a power cut or a partial restore, and the version that it was for may be there.
        while not self.create_exclusive(
            f"{self._prefix}/claims/{name}/v{number}", manifest.put_id.encode()
        ) or self._has_version(name, number):
            number += 1
        self._note(f"puts/{manifest.put_id}", str(number))
        return number

    def _settle_label(self, manifest: Manifest, number: int, label: str) -> StoredArtifact | None:
        """Take the label for this version; return the version that has it where its content is the same."""
        key = f"{self._prefix}/labels/{manifest.name}/{label}"
        mine = f"{number} {manifest.digest}".encode()
        if not self.create_exclusive(key, mine):
            owner, digest = self._label_owner(key)
            if digest != manifest.digest:
                raise label_conflict(manifest.name, label, owner)
            taken = self._manifest(manifest.name, owner)
            if taken is not None:
                return self._stored(taken, owner, label, self._aliases(manifest.name).get(owner))
            self.write(key, io.BytesIO(mine))
        self._note(f"labelled/{manifest.name}/v{number}/{label}")
        return None

    def _label_owner(self, key: str) -> tuple[int, str]:
        for _ in range(20):
            with self.read(key) as stream:
                text, _, digest = stream.read().decode(errors="replace").partition(" ")
            if digest and (number := _number(text)) is not None:
                return number, digest
            time.sleep(0.05)  # its writer made it and has not filled it yet
        raise BackendError(f"{key} in {self._uri} is empty: its writer was interrupted. Use another label.")

    def _newest(self, name: str) -> int | None:
        hint = self._number(f"latest/{name}")
        number = -1 if hint is None else hint
        newest = number if hint is not None and self._has_version(name, hint) else None
        while self._exists(f"{self._prefix}/claims/{name}/v{number + 1}") or self._has_version(name, number + 1):
            number += 1
            newest = number if self._has_version(name, number) else newest
        if newest is None:
            leaves = (_VERSION_KEY.fullmatch(key.rpartition("/")[2]) for key in self._keys(f"versions/{name}/"))
            newest = max((int(leaf[1]) for leaf in leaves if leaf), default=None)
        return newest

    def _number_of_digest(self, name: str, prefix: str) -> int | None:
        whole = len(prefix) == hashlib.sha256().digest_size * 2
        keys = self._parts(f"digests/{name}/{prefix}/" if whole else f"digests/{name}/", 3)
        numbers = ((digest, _number(version)) for _, digest, version in keys if digest.startswith(prefix))
        found = [
            (digest, number) for digest, number in numbers if number is not None and self._has_version(name, number)
        ]
        return of_digest(name, prefix, sorted(found, key=itemgetter(1), reverse=True))

    def _number_of_label(self, name: str, label: str) -> int | None:
        number = self._number(f"labels/{name}/{label}")
        if number is None or self._manifest(name, number) is None:
            return self._holder(name, self._pointed(name, label))
        return number

    def _aliases(self, name: str) -> dict[int, tuple[str, ...]]:
        found: dict[int, tuple[str, ...]] = {}
        for key in self._keys(f"aliases/{name}/"):
            alias = key.rpartition("/")[2]
            number = self._holder(name, self._pointed(name, alias))
            if number is not None:
                found[number] = (*found.get(number, ()), alias)
        return found

    def _pointed(self, name: str, alias: str) -> tuple[int, ...]:
        """The versions that an alias was moved to, newest first, down to the first that exists."""
        numbers = self._numbers(f"aliases/{name}/{alias}")
        holder = self._holder(name, numbers)
        return numbers if holder is None else numbers[: numbers.index(holder) + 1]

    def _holder(self, name: str, numbers: Iterable[int]) -> int | None:
        return next((number for number in numbers if self._has_version(name, number)), None)

    def _labels(self, name: str, number: int | None = None) -> dict[int, str]:
        prefix = f"labelled/{name}/" if number is None else f"labelled/{name}/v{number}/"
        found = ((_number(version), label) for _, version, label in self._parts(prefix, 3))
        return {owner: label for owner, label in found if owner is not None}

    def _has_version(self, name: str, number: int) -> bool:
        return self._exists(f"{self._prefix}/versions/{name}/v{number}.json")

    def _manifest(self, name: str, number: int) -> Manifest | None:
        return self._read_manifest(f"{self._prefix}/versions/{name}/v{number}.json")

    def _read_manifest(self, key: str) -> Manifest | None:
        try:
            with self.read(key) as stream:
                # One block more than what may be there, so that more is found out.
                blocks = itertools.islice(iter(partial(stream.read, _BLOCK), b""), MOST_BYTES // _BLOCK + 1)
                manifest = Manifest.from_json(b"".join(blocks))
        except FileNotFoundError:
            return None
        except NewerFormat as error:
            raise NewerFormat(f"{error} It is {self._uri}/{key}.") from error
        except (IntegrityError, UnsafePath) as error:
            raise self._damaged(key, error) from error
        if manifest.name != key.split("/")[-2]:
            raise self._damaged(key, IntegrityError(f"the manifest is that of {manifest.name!r}."))
        return manifest

    def _damaged(self, key: str, error: Damage) -> Damage:
        return type(error)(
            f"{error} It is {self._uri}/{key}: restore it, delete it to forget that version, or get another one by its "
            "number, such as version='v0'."
        )

    def _number(self, key: str) -> int | None:
        return next(iter(self._numbers(key)), None)

    def _numbers(self, key: str) -> tuple[int, ...]:
        """The numbers that a note begins with."""
        try:
            with self.read(f"{self._prefix}/{key}") as stream:
                words = stream.read().decode(errors="replace").split(" ")
        except FileNotFoundError:
            return ()
        found = itertools.takewhile(lambda number: number is not None, map(_number, words))
        return tuple(number for number in found if number is not None)

    def _keys(self, prefix: str) -> Iterator[str]:
        start = len(self._prefix) + 1
        return (key[start:] for key in sorted(self.keys(f"{self._prefix}/{prefix}")))

    def _parts(self, prefix: str, count: int) -> Iterator[tuple[str, ...]]:
        """The names below the kind, of the keys that have so many: whatever else lies there is not Tracelet's."""
        found = (tuple(key.split("/")[1:]) for key in self._keys(prefix))
        return (names for names in found if len(names) == count)

    def _exists(self, key: str) -> bool:
        try:
            self.read(key).close()
        except FileNotFoundError:
            return False
        return True

    def _write(self, key: str, data: bytes) -> None:
        self.write(f"{self._prefix}/{key}", io.BytesIO(data))

    def _note(self, key: str, text: str = "") -> None:
        self._write(key, text.encode())


def _number(text: str) -> int | None:
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def blob_of(file: ArtifactFile) -> str:
    """The key of the blob of a sealed file."""
    assert file.sha256 is not None
    return f"blobs/{blob_key(file.sha256)}"


class _Verified(io.RawIOBase):
    """Bytes that are hashed as they pass; their end is given only when the hash is the expected one."""

    def __init__(self, stream: BinaryIO, sha256: str, source: Path) -> None:
        self._stream = stream
        self._expected = sha256
        self._digest = hashlib.sha256()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(buffer))
        if not block and self._digest.hexdigest() != self._expected:
            raise FileChanged(f"{str(self._source)!r} is not the file that was hashed any more.")
        self._digest.update(block)
        buffer[: len(block)] = block
        return len(block)
