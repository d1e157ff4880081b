"""The store: content-addressed blobs in a directory or at any fsspec URL."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import socket
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.storage.blob_folder import NewBlob, bring
from tracelet.core.system.durability import Disk
from tracelet.core.system.files import (
    FileChanged,
    Stamp,
    atomic_write,
    copy_file,
    discard,
    hash_file,
    is_whole,
    limit_readers,
    make_folder,
)
from tracelet.core.system.links import check_parts, check_way, entries
from tracelet.core.system.places import Places
from tracelet.core.system.redaction import redact
from tracelet.core.system.uris import etag_of, filesystem, reaching
from tracelet.exceptions import ArtifactError, ArtifactNotFound, BackendUnavailable, ConfigError

__all__ = ["NOTES", "LocalStore", "RemoteStore", "blob_key", "open_store"]

_LOG = logging.getLogger("tracelet.artifacts")
_CHUNK = 1 << 20
#: The folders of a store above that of a blob: those of all blobs, and the store's own.
_ABOVE = 3
_LEAST_PART = 8 * _CHUNK
_PARTS = 9_000
#: The folder of the notes that processes of one job leave each other.
NOTES = "jobs"
_SCHEME_ALONE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def blob_key(sha256: str) -> str:
    """Return the key of a blob: ``sha256/ab/abcdef…``."""
    return f"sha256/{sha256[:2]}/{sha256}"


class LocalStore:
    """Blobs in a directory. What is written there never changes."""

    portable = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be. Raises :class:`~tracelet.IntegrityError` where a link leads elsewhere."""
        return Path(self._place(sha256, {}))

    def places(self, files: Iterable[ArtifactFile]) -> Places:
        """Say where the blobs of files are, or would be, by their paths in the artifact. Raises as :meth:`path` does."""
        known: dict[str, str] = {}
        return Places({file.artifact_path: self._place(str(file.sha256), known) for file in files})

    def _place(self, sha256: str, known: dict[str, str]) -> str:
        """The path as text, which is made for each of many files; ``known`` gets the folders that are no links."""
        folder, _, name = blob_key(sha256).rpartition("/")
        if folder not in known:
            known[folder] = check_parts(str(self.root), ("objects", *folder.split("/")))
        return f"{known[folder]}/{name}"

    def uri(self, sha256: str) -> str:
        """``file://<host>/<path>``, so that a reader elsewhere learns where the bytes are."""
        return f"file://{socket.gethostname()}{quote(self.path(sha256).as_posix())}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether the blob is there, whole; it is marked as young then, so that gc leaves it alone."""
        return is_whole(self.path(sha256), sha256, size_bytes)

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`~tracelet.plugin.Store`. A blob that is there is marked as young; one that is damaged is replaced."""
        self._bring([NewBlob(source, self.path(sha256), sha256, source.stat().st_size, known)])

    def adopt(self, source: Path, sha256: str) -> Path:
        """Take in a file of Tracelet's own that never changes: by a hard link where possible.

        The blob is marked as young, also one that is there, so that gc leaves it alone.
        """
        target = self.path(sha256)
        self._bring([NewBlob(source, target, sha256, source.stat().st_size, is_own=True)])
        return target

    def keep(self, *artifacts: SealedArtifact) -> None:
        """Take in the files of artifacts, many at once: :meth:`put` those that may change, and :meth:`adopt` the others."""
        self._bring(self._blobs(artifacts))

    def bring(self, artifact: SealedArtifact) -> None:
        """Take in the files of an artifact that somebody is about to :meth:`keep`, who waits for their names to be on the disk."""
        self._make_root()
        bring(self._missing(self._blobs([artifact]), set()), self.root)

    def _blobs(self, artifacts: Iterable[SealedArtifact]) -> Iterator[NewBlob]:
        known: dict[str, str] = {}
        for one in artifacts:
            for file in one.manifest.payload:
                path, sha256 = file.artifact_path, str(file.sha256)
                target, stamp = Path(self._place(sha256, known)), one.stamps.get(path)
                yield NewBlob(one.sources[path], target, sha256, file.size_bytes, stamp, is_own=stamp is None)

    def _bring(self, blobs: Iterable[NewBlob]) -> None:
        self._make_root()
        #: Whoever brought what is there may have been killed before its name was on the disk.
        named: set[Path] = set()
        named |= bring(self._missing(blobs, named), self.root)
        with Disk(self.root, len(named)) as disk:
            disk.settle_names(named)

    def _missing(self, blobs: Iterable[NewBlob], found: set[Path]) -> Iterator[NewBlob]:
        """Yield the blobs that are not there, whole; ``found`` gets the folders that have names of the others in them."""
        for blob in blobs:
            if is_whole(blob.target, blob.sha256, blob.size_bytes):
                with contextlib.suppress(FileNotFoundError):  # what is there needs no source
                    limit_readers(blob.target, blob.source)
                if (folder := blob.target.parent) not in found:
                    found.update([folder, *folder.parents[:_ABOVE]])
            else:
                yield blob

    def _make_root(self) -> None:
        """One that is not there yet becomes this user's alone, also in a folder that a group shares."""
        make_folder(self.root, shared=False)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        try:
            copy_file(check_way(self.root, self.path(sha256)), dest, durable=False)
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"the store at {self.root} has no blob {sha256}.") from error
        except OSError as error:
            if str(error.filename) != str(self.path(sha256)):
                raise
            raise ArtifactError(
                f"{error.filename} cannot be read: {error.strerror}. Mend that, then do it again."
            ) from error

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        self._make_root()
        atomic_write(check_way(self.root, self.root / "refs" / sha256 / put_id), b"")

    def put_note(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        self._make_root()
        atomic_write(check_way(self.root, self.root / NOTES / key), data)

    def get_note(self, key: str) -> bytes | None:
        """See :class:`~tracelet.plugin.Store`."""
        try:
            return check_way(self.root, self.root / NOTES / key).read_bytes()
        except FileNotFoundError:
            return None

    def remove_note(self, key: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        check_way(self.root, self.root / NOTES / key).unlink(missing_ok=True)

    def probe(self) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        target = self.root / f".{uuid.uuid4().hex}.tmp"
        self._make_root()
        atomic_write(target, b"probe")
        target.unlink()

    def recorded(self) -> set[str]:
        """Return the sha256 of every blob that a reference points at."""
        return {entry.name for entry in entries(self.root / "refs")}

    def collect(self, keep: Collection[str], older_than: float) -> Iterator[tuple[Path, int]]:
        """Delete blobs that are not in ``keep`` and were last needed before ``older_than``, and old notes.

        Yields path and bytes of each. Times are seconds since the epoch.
        """
        for folder in entries(self.root / "objects" / "sha256"):
            for blob in entries(folder):
                freed = None if blob.name in keep else discard(blob, older_than)
                if freed is not None:
                    yield blob, freed
        for place, _, names in os.walk(self.root / NOTES):
            for note in (Path(place, name) for name in names):
                freed = discard(note, older_than)
                if freed is not None:
                    yield note, freed


class RemoteStore:
    """Blobs under an fsspec URL; what a scheme needs is for its own package and environment to say.

    Whatever its client raises comes out as a :class:`~tracelet.BackendError`.
    """

    portable = True

    def __init__(self, url: str) -> None:
        with reaching(url):
            self._fs, root = filesystem(url)
        if set(root) & set("*?["):
            raise ConfigError(
                f"store={redact(url)!r}: a store's path may not hold * ? or [, which fsspec would expand."
            )
        self._root = root.rstrip("/")
        scheme, _, rest = redact(url).partition("://")
        self._url = f"{scheme}://{rest.rstrip('/')}"

    def _key(self, sha256: str) -> str:
        return f"{self._root}/objects/{blob_key(sha256)}"

    def uri(self, sha256: str) -> str:
        """See :class:`~tracelet.plugin.Store`."""
        return f"{self._url}/objects/{blob_key(sha256)}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether the blob is there, whole.

        It is read, unless its place gives it the etag that it had when it was last read, and that is noted beside it.
        """
        key, note = self._key(sha256), f"{self._root}/whole/{sha256}"
        try:
            with reaching(self._url):
                info = self._fs.info(key)
                etag, sized = etag_of(info), info["size"] in {None, size_bytes}
                if sized and etag and self._fs.exists(note) and self._fs.cat_file(note) == etag.encode():
                    return True
                whole = sized and self._hash(key) == sha256
        except ArtifactNotFound:
            return False
        if not whole:
            _LOG.warning("%s does not hold the bytes of its name any more. They are brought anew.", self.uri(sha256))
            return False
        if etag:
            with reaching(self._url):
                self._fs.makedirs(note.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(note, etag.encode())
        return True

    def _hash(self, key: str) -> str:
        found = hashlib.sha256()
        with self._fs.open(key, "rb", block_size=_LEAST_PART) as stream:
            while block := stream.read(_LEAST_PART):
                found.update(block)
        return found.hexdigest()

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`~tracelet.plugin.Store`. The source is compared with its stamp after the upload, or hashed again."""
        if self.has(sha256, source.stat().st_size):
            return
        key = self._key(sha256)
        partial = f"{key}.{uuid.uuid4().hex}.tmp"
        with source.open("rb") as reader, reaching(self._url):
            self._fs.makedirs(key.rpartition("/")[0], exist_ok=True)
            # Some clients' own ways of putting and getting a file hold hundreds of megabytes of it at once.
            with self._fs.open(partial, "wb", block_size=_block_size(source)) as writer:
                shutil.copyfileobj(reader, writer, _CHUNK)
        try:
            same = known is not None and not known.racy and known.matches(source.stat())
            if not same and hash_file(source)[0] != sha256:
                raise FileChanged(f"{str(source)!r} changed while it was uploaded.")
        except (OSError, FileChanged):
            with reaching(self._url):
                self._fs.rm_file(partial)
            raise
        with reaching(self._url):
            # Where a folder has the key's name, some clients move into it, and say nothing.
            self._fs.mv(partial, key)
            if self._fs.info(key)["size"] not in {None, source.stat().st_size}:
                raise BackendUnavailable(f"{self.uri(sha256)} does not take a file: delete what is in its place.")

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        try:
            with (
                reaching(self._url),
                self._fs.open(self._key(sha256), "rb", block_size=_LEAST_PART) as reader,
                dest.open("wb") as writer,
            ):
                shutil.copyfileobj(reader, writer, _LEAST_PART)
        except ArtifactNotFound as error:
            raise ArtifactNotFound(f"the store at {self._url} has no blob {sha256}.") from error

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        folder = f"{self._root}/refs/{sha256}"
        with reaching(self._url):
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.pipe_file(f"{folder}/{put_id}", b"")

    def put_note(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        target = f"{self._root}/{NOTES}/{key}"
        with reaching(self._url):
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(target, data)

    def get_note(self, key: str) -> bytes | None:
        """See :class:`~tracelet.plugin.Store`."""
        try:
            with reaching(self._url):
                # What was not there a moment ago may be remembered so.
                self._fs.invalidate_cache()
                found: bytes = self._fs.cat_file(f"{self._root}/{NOTES}/{key}")
                return found
        except ArtifactNotFound:
            return None

    def remove_note(self, key: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        target = f"{self._root}/{NOTES}/{key}"
        with reaching(self._url):
            if self._fs.exists(target):
                self._fs.rm_file(target)

    def probe(self) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        target = f"{self._root}/probe-{uuid.uuid4().hex}.tmp"
        with reaching(self._url):
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(target, b"probe")
            self._fs.rm_file(target)


def _block_size(source: Path) -> int:
    """Bytes to send at a time: S3 takes 10,000 parts at most, none but the last under 5 MiB."""
    wanted = source.stat().st_size // _PARTS
    return max(_LEAST_PART, (wanted // _CHUNK + 1) * _CHUNK)


def open_store(place: str, directory: Path) -> LocalStore | RemoteStore:
    """Return the store of a setting: a directory, an fsspec URL, or (empty) inside ``directory``.

    Raises :class:`ConfigError` for a URL that cannot be spoken here.
    """
    if not place:
        return LocalStore(directory)
    scheme, mark, rest = place.partition("://")
    if not mark and _SCHEME_ALONE.match(place):
        raise ConfigError(f"store={redact(place)!r}: a URL has two slashes after its scheme, as s3://bucket/prefix.")
    if not mark:
        return LocalStore(Path(os.path.abspath(place)))
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"store={place!r}: a file URL here has three slashes, as file:///data/store.")
        return LocalStore(Path(os.path.abspath(unquote(rest))))
    return RemoteStore(place)
