"""A bag of blobs that is a directory; and one that keeps what a server is still to get."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.versions import Labels, SealedArtifact, StoredArtifact
from tracelet.core.storage.blob_backend import BlobBackend, FileBlob, blob_of, blobs_of
from tracelet.core.storage.blob_folder import NewBlob, bring
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.system.durability import Disk
from tracelet.core.system.files import (
    create,
    create_own,
    discard,
    is_whole,
    limit_readers,
    make_folder,
    open_regular,
    read_small,
)
from tracelet.core.system.filesystems import link_or_refuse
from tracelet.core.system.links import check_parts, check_way
from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath

__all__ = ["FolderBackend", "PendingCatalogue"]

_LOG = logging.getLogger("tracelet.artifacts")
#: Notes that only save a search: they need not outlive a power cut.
_FOUND_AGAIN = frozenset({"catalogue.json", "claims", "digests", "labelled", "latest", "puts"})
#: How the name of a blob ends that a deletion has taken aside.
_ASIDE = ".aside"


class FolderBackend(BlobBackend):
    """Blobs as files of a directory; several processes may use it at once."""

    #: Whether a source that cannot change any more is a file of Tracelet's own, and is linked: that costs nothing.
    links_own = False

    def __init__(self, uri: str, root: Path, experiment: str) -> None:
        """``uri`` is what people read; ``root`` is the directory, which is made when something is put into it."""
        super().__init__(uri, experiment)
        self._root = root
        #: The same as text: a path is made for each note of each put, and paths of :mod:`pathlib` take longer than the notes.
        self._top = str(root)
        #: Folders with new names in them that a power cut could still take away.
        self._grown: set[str] = set()
        #: What is being put.
        self._storing: SealedArtifact | None = None

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: a hard link appears whole, or not at all."""
        target = self._made(key)
        if os.path.lexists(target):
            return False
        partial = _partial(target)
        try:
            self._fill(partial, io.BytesIO(data), key)
            link_or_refuse(partial, target)
        except FileExistsError:
            return False
        finally:
            _unlink(partial)
        self._named(key)
        return True

    def write(self, key: str, data: BinaryIO) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        target = self._made(key)
        partial = _partial(target)
        try:
            self._fill(partial, data, key)
            if self._storing is not None and _is_manifest(key):
                # From here on a deletion sees what is needed. One that looked before has taken its blobs before.
                self._bring_again(self._storing)
            os.replace(partial, target)
        except BaseException:
            _unlink(partial)
            raise
        self._named(key)

    def exists(self, key: str) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: a file that is there need not be opened."""
        return os.path.isfile(check_parts(self._top, key.split("/"))) or super().exists(key)

    def write_files(self, files: Iterable[FileBlob]) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`: many are brought to the disk at once."""
        make_folder(self._root)
        self._grown.update(map(str, bring(self._missing(files), self._root)))

    def _missing(self, files: Iterable[FileBlob]) -> Iterator[NewBlob]:
        for file in files:
            size_bytes = file.source.stat().st_size
            if self.holds(file.key, file.sha256, size_bytes):
                limit_readers(self._root / file.key, file.source)
            else:
                is_own = self.links_own and file.stamp is None
                yield NewBlob(file.source, Path(self._place(file.key)), file.sha256, size_bytes, file.stamp, is_own)

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: its bytes are read only where it was touched since it was written.

        One that is whole is marked as young, so that nobody clears it.
        """
        return is_whole(Path(self._place(key)), sha256, size_bytes)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        self._storing = sealed
        try:
            return super().put(sealed, labels)
        finally:
            self._storing = None

    def _bring_again(self, sealed: SealedArtifact) -> None:
        """Write the blobs that a deletion has taken since they were found or written."""
        gone = (one for one in sealed.manifest.payload if not os.path.exists(f"{self._top}/{blob_of(one)}"))
        self.write_files(blobs_of(sealed, gone))
        self._settle_names()

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
        try:
            return self._open(key)
        except FileNotFoundError:
            # A deletion takes a blob aside while it looks for who needs it, and puts it back where somebody does.
            path = self._root / key
            for place in (*_aside_of(path), path) if _is_blob(key) else ():
                with contextlib.suppress(FileNotFoundError):
                    return self._open(self._key_of(place))
            raise

    def _open(self, key: str) -> BinaryIO:
        path = check_parts(self._top, key.split("/"))
        try:
            return open_regular(path)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EISDIR}:
                raise IntegrityError(f"{path} is no regular file: delete it.") from error
            raise

    def small_reader(self, folder: str) -> Callable[[str], bytes | None]:
        """See :class:`~tracelet.plugin.BlobBackend`: the way to the folder is looked at once."""
        if type(self).read is not FolderBackend.read:  # it has its own way, and nothing goes past that
            return super().small_reader(folder)
        place = check_parts(self._top, folder.split("/"))
        return lambda name: read_small(f"{place}/{name}")

    def folders_below(self, prefix: str) -> list[str]:
        """See :class:`~tracelet.plugin.BlobBackend`: one folder is listed."""
        place = check_parts(self._top, prefix.removesuffix("/").split("/"))
        return [entry.name for entry in _entries(place) if entry.is_dir(follow_symlinks=False)]

    def keys(self, prefix: str) -> Iterator[str]:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        start = len(self._top) + 1
        folders = [check_parts(self._top, prefix.removesuffix("/").split("/"))]
        while folders:
            folder = folders.pop()
            inside = folder[start:]
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.name.startswith(".") and not (entry.is_symlink() and Path(entry.path).is_dir()):
                    yield f"{inside}/{entry.name}"

    def remove(self, key: str) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        _unlink(self._place(key))

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: blobs that no manifest names, and interrupted writes.

        What an interrupted deletion has taken aside and a manifest names gets its name back.

        Where a manifest is damaged, nobody knows which blobs it names: all stay, and a WARNING names its file.
        """
        needed = self._needed({})
        for folder, _, files in os.walk(self._root):
            for path in (Path(folder, name) for name in files):
                digest = _taken_aside(path)
                if digest and (needed is None or digest in needed):
                    _put_back(path, path.with_name(digest))
                    continue
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

    def delete(self, stored: StoredArtifact) -> int | None:
        """See :class:`~tracelet.plugin.Deletes`: blobs that no manifest of any experiment names any more go at once."""
        (freed,) = self.delete_many([stored])
        return freed

    def delete_many(self, stored: Sequence[StoredArtifact]) -> Iterator[int | None]:
        """See :class:`~tracelet.plugin.DeletesMany`: who needs which blobs is looked for once.

        What several of them shared becomes free with the last one.
        """
        gone: list[StoredArtifact] = []
        try:
            for one in stored:
                self._forget_version(one)
                gone.append(one)
        finally:
            # Also where one of them could not be deleted: nobody would look for the others' again.
            last = {str(file.sha256): number for number, one in enumerate(gone) for file in one.manifest.payload}
            freed = [0] * len(gone)
            keys = {str(file.sha256): blob_of(file) for one in gone for file in one.manifest.payload}
            for digest, size_bytes in self._free(keys) if keys else ():
                freed[last[digest]] += size_bytes
            yield from freed

    def _free(self, keys: dict[str, str]) -> Iterator[tuple[str, int]]:
        """Delete those of these blobs, by digest, that no manifest names; give for each the bytes that become free.

        Others may be storing meanwhile. A put writes its manifest aside, looks whether its blobs are there, and gives the manifest
        its name then. Where it was aside by the second look here, that sees what the put needs; where it was not, the put looks
        after the blobs were taken aside here, and brings them again.
        """
        known: dict[str, frozenset[str]] = {}
        needed = self._needed(known)
        if needed is None:
            return
        aside = [(digest, self._take_aside(key)) for digest, key in keys.items() if digest not in needed]
        needed = self._needed(known)
        for digest, path in aside:
            if path is None:
                continue
            if needed is None or digest in needed:
                _put_back(path, path.with_name(digest))
                continue
            with contextlib.suppress(FileNotFoundError):  # gc was faster
                status = path.lstat()
                path.unlink()
                yield digest, status.st_size if status.st_nlink == 1 else 0

    def _take_aside(self, key: str) -> Path | None:
        """Give a blob a name under which nobody but :meth:`read` and :meth:`collect` looks; None where it is not there."""
        path = Path(self._place(key))
        aside = path.with_name(f".{path.name}~{uuid.uuid4().hex}{_ASIDE}")
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            path.rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def _needed(self, known: dict[str, frozenset[str]]) -> set[str] | None:
        """Return the blobs that the manifests of all experiments name; None where a manifest cannot be read.

        ``known`` has those of each manifest that was read before, by its key, and gets those of the others: a manifest never
        changes.
        """
        readable = True
        for path in self._root.glob("*/catalogue.json"):
            try:
                self._versions.check_at(self._key_of(path))
            except (IntegrityError, NewerFormat) as error:
                _LOG.warning("bytes are kept that may be garbage: %s", error)
                readable = False
        needed: set[str] = set()
        # First those that a put is about to name: by the second loop they have their names, or are still here.
        for path in self._root.glob("*/versions/*/.*.tmp"):
            try:
                needed |= self._named_by(self._key_of(path))
            except (IntegrityError, UnsafePath):
                continue  # it is not whole yet
            except NewerFormat as error:
                _LOG.warning("bytes are kept that may be garbage: %s", error)
                readable = False
        for path in self._root.glob("*/versions/*/v*.json"):
            key = self._key_of(path)
            try:
                if key not in known:
                    known[key] = self._named_by(key)
                needed |= known[key]
            except (IntegrityError, UnsafePath, NewerFormat) as error:
                _LOG.warning("bytes are kept that may be garbage: %s", error)
                readable = False
        return needed if readable else None

    def _named_by(self, key: str) -> frozenset[str]:
        manifest = self._versions.read_manifest(key)
        return frozenset(str(file.sha256) for file in manifest.payload) if manifest is not None else frozenset()

    def _key_of(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _place(self, key: str) -> str:
        """Return where a key is, or would be; raises :class:`~tracelet.IntegrityError` where a link leads elsewhere."""
        folder, _, name = key.rpartition("/")
        return f"{check_parts(self._top, folder.split('/'))}/{name}"

    def _made(self, key: str) -> str:
        """Return where a key is, and make its folder."""
        target = self._place(key)
        grown = make_folder(os.path.dirname(target))
        if grown and _outlives_a_power_cut(key):
            self._grown.update(map(str, grown))
        return target

    def _fill(self, partial: str, data: BinaryIO, key: str) -> None:
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
            self._grown.add(f"{self._top}/{key.rpartition('/')[0]}")
            if not _is_blob(key):
                self._settle_names()

    def _settle_names(self) -> None:
        if not self._grown:
            return
        with Disk(self._root, len(self._grown)) as disk:
            disk.settle_names(self._grown)
        self._grown.clear()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing where there is none. One that cannot be listed is not an empty one."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _partial(target: str) -> str:
    """Return a new name beside a file's, under which it is written."""
    return f"{os.path.dirname(target)}/.{uuid.uuid4().hex}.tmp"


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _taken_aside(path: Path) -> str:
    """Return the digest of a blob that a deletion has taken aside; an empty text for any other file."""
    return path.name[1:].partition("~")[0] if path.name.endswith(_ASIDE) else ""


def _aside_of(path: Path) -> Iterator[Path]:
    """Yield where deletions have taken a blob to."""
    return path.parent.glob(f".{path.name}~*{_ASIDE}")


def _put_back(aside: Path, path: Path) -> None:
    """Give a blob its name again, unless it has been brought anew."""
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        os.link(aside, path)
    aside.unlink(missing_ok=True)


def _is_blob(key: str) -> bool:
    return key.startswith("blobs/")


def _is_manifest(key: str) -> bool:
    return key.split("/")[1] == "versions"


def _outlives_a_power_cut(key: str) -> bool:
    return key.split("/")[1] not in _FOUND_AGAIN


class PendingCatalogue(FolderBackend):
    """The versions of an offline mode, which no server has yet: they are marked as pending.

    Each delivery stays in the outbox, so its bytes are brought there, and linked here: they are on the disk once.
    """

    links_own = True

    def __init__(self, uri: str, root: Path, experiment: str, directory: Path) -> None:
        """See :class:`FolderBackend`; ``root`` is in the tracelet directory ``directory``, and no link there."""
        super().__init__(uri, check_way(root.parent, root), experiment)
        self._outbox = LocalStore(directory)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        self._outbox.bring(sealed)
        return attrs.evolve(super().put(self.as_kept(sealed), labels), pending=True)

    def as_kept(self, sealed: SealedArtifact) -> SealedArtifact:
        """Return an artifact that was put, with the outbox's files in place of the user's: those do not change any more."""
        return attrs.evolve(sealed, sources=self._outbox.places(sealed.manifest.payload), stamps={})

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
            self._forget_version(found)
