"""A bag of blobs that is a directory; and one that keeps what a server is still to get."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.versions import Labels, SealedArtifact, StoredArtifact
from tracelet.core.storage.blob_backend import BlobBackend, blob_of
from tracelet.core.system.files import (
    Stamp,
    create,
    create_own,
    discard,
    is_whole,
    limit_readers,
    make_folder,
    make_names_durable,
    make_way,
    mark,
    open_regular,
    same_readers,
)
from tracelet.core.system.links import check_way
from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath

__all__ = ["FolderBackend", "PendingCatalogue"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Notes that only save a search: they need not outlive a power cut.
_FOUND_AGAIN = frozenset({"catalogue.json", "claims", "digests", "labelled", "latest", "puts"})


class FolderBackend(BlobBackend):
    """Blobs as files of a directory; several processes may use it at once."""

    def __init__(self, uri: str, root: Path, experiment: str) -> None:
        """``uri`` is what people read; ``root`` is the directory, which is made when something is put into it."""
        super().__init__(uri, experiment)
        self._root = root
        #: Folders with new names in them that a power cut could still take away.
        self._grown: set[Path] = set()

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: a hard link appears whole, or not at all."""
        with self._partial(key) as partial:
            self._fill(partial, io.BytesIO(data), key)
            try:
                os.link(partial, self._root / key)
            except FileExistsError:
                return False
            self._named(key)
        return True

    def write(self, key: str, data: BinaryIO) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        with self._partial(key) as partial:
            self._fill(partial, data, key)
            partial.replace(self._root / key)
            self._named(key)

    def write_file(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`: what is written is marked as whole."""
        path = self._root / key
        if self.holds(key, sha256, source.stat().st_size):
            limit_readers(path, source)
            return
        make_way(path)
        self._bring(key, source, sha256, stamp)
        self._named(key)
        mark(path)

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: its bytes are read only where it was touched since it was written.

        One that is whole is marked as young, so that nobody clears it.
        """
        return is_whole(self._place(key), sha256, size_bytes)

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet.plugin.Heals`."""
        super().heal(stored, sealed)
        self._settle_names()
        for file in sealed.manifest.payload:
            with contextlib.suppress(FileNotFoundError):  # what is there needs no source
                limit_readers(self._root / blob_of(file), sealed.sources[file.artifact_path])

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`: for the readers of the blobs."""
        super().fetch(stored, paths, dest)
        wanted = frozenset(paths)
        for file in stored.manifest.payload:
            if file.artifact_path in wanted:
                with contextlib.suppress(FileNotFoundError):  # it was cleared in this moment
                    limit_readers(dest / file.artifact_path, self._root / blob_of(file))

    def read(self, key: str) -> BinaryIO:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        path = check_way(self._root, self._root / key)
        try:
            return open_regular(path)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EISDIR}:
                raise IntegrityError(f"{path} is no regular file: delete it.") from error
            raise

    def keys(self, prefix: str) -> Iterator[str]:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        start = len(str(self._root)) + 1
        for folder, _, files in os.walk(check_way(self._root, self._root / prefix), onerror=_raise_unless_gone):
            inside = folder[start:]
            yield from (f"{inside}/{name}" for name in files if not name.startswith("."))

    def remove(self, key: str) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        self._place(key).unlink(missing_ok=True)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: blobs that no manifest names, and interrupted writes.

        Where a manifest is damaged, nobody knows which blobs it names: all stay, and a WARNING names its file.
        """
        needed = self._needed()
        for folder, _, files in os.walk(self._root):
            for path in (Path(folder, name) for name in files):
                unneeded = needed is not None and _is_blob(self._key_of(path)) and path.name not in needed
                garbage = path.name.endswith(".tmp") or unneeded
                freed = discard(path, older_than) if garbage else None
                if freed is not None:
                    yield freed

    def experiments(self) -> Iterator[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`: those with a version."""
        for folder in sorted(self._root.glob("*/versions")):
            if any(folder.glob("*/v*.json")):
                yield self._versions.experiment_at(folder.parent.name)

    def _needed(self) -> set[str | None] | None:
        """Return the blobs that the manifests of all experiments name; None where a manifest cannot be read."""
        needed: set[str | None] | None = set()
        for path in self._root.glob("*/catalogue.json"):
            try:
                self._versions.check_at(self._key_of(path))
            except (IntegrityError, NewerFormat) as error:
                _LOG.warning("bytes are kept that may be garbage: %s", error)
                needed = None
        for path in self._root.glob("*/versions/*/v*.json"):
            try:
                manifest = self._versions.read_manifest(self._key_of(path))
            except (IntegrityError, UnsafePath, NewerFormat) as error:
                _LOG.warning("bytes are kept that may be garbage: %s", error)
                needed = None
            else:
                if needed is not None and manifest is not None:
                    needed.update(file.sha256 for file in manifest.payload)
        return needed

    def _bring(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        """Write a blob that is missing or damaged: verified, and all at once."""
        self.write_verified(key, source, sha256)
        same_readers(self._root / key, source)

    def _key_of(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    @contextlib.contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        target = self._made(key)
        partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def _place(self, key: str) -> Path:
        """Return where a key is, or would be; raises :class:`~tracelet.IntegrityError` where a link leads elsewhere."""
        check_way(self._root, (self._root / key).parent)
        return self._root / key

    def _made(self, key: str) -> Path:
        """Return where a key is, and make its folder."""
        target = self._place(key)
        grown = make_folder(target.parent)
        if _outlives_a_power_cut(key):
            self._grown.update(grown)
        return target

    def _fill(self, partial: Path, data: BinaryIO, key: str) -> None:
        with create_own(partial) if _is_blob(key) else create(partial) as stream:
            shutil.copyfileobj(data, stream)
            if _outlives_a_power_cut(key):
                stream.flush()
                os.fsync(stream.fileno())
        if _outlives_a_power_cut(key) and not _is_blob(key):
            self._settle_names()  # what it names comes first

    def _named(self, key: str) -> None:
        """A key has its name now; those of blobs settle together, before what names them."""
        if _outlives_a_power_cut(key):
            self._grown.add((self._root / key).parent)
            if not _is_blob(key):
                self._settle_names()

    def _settle_names(self) -> None:
        while self._grown:
            with contextlib.suppress(FileNotFoundError):  # it went, and its names with it
                make_names_durable(self._grown.pop())


def _is_blob(key: str) -> bool:
    return key.startswith("blobs/")


def _outlives_a_power_cut(key: str) -> bool:
    return key.split("/")[1] not in _FOUND_AGAIN


def _raise_unless_gone(error: OSError) -> None:
    """Raise: a folder that cannot be listed is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


class PendingCatalogue(FolderBackend):
    """The versions of an offline mode, which no server has yet: they are marked as pending."""

    def __init__(self, uri: str, root: Path, experiment: str) -> None:
        """See :class:`FolderBackend`; ``root`` is in the tracelet directory, and no link there."""
        super().__init__(uri, check_way(root.parent, root), experiment)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        return attrs.evolve(super().put(sealed, labels), pending=True)

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        found = super().find(name, ref)
        return None if found is None else attrs.evolve(found, pending=True)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        return (attrs.evolve(one, pending=True) for one in super().list(name=name, type=type))

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        return attrs.evolve(super().relabel(stored, labels), pending=True)

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        return attrs.evolve(super().remove_aliases(stored, aliases), pending=True)

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        return (attrs.evolve(one, pending=True) for one in super().used_by(digest))

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`. The tracker notes nothing offline: manifests name their inputs."""

    def forget(self, name: str, put_id: str) -> None:
        """Take out what the server has by now; :meth:`collect` clears its bytes away."""
        found = self.find(name, f"put:{put_id}")
        if found is not None:
            self.delete(found)
