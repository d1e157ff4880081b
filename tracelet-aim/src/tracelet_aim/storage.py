"""Where the bytes of versions are: a folder, or a bucket through Aim's artifact storage.

Aim's own ``log_artifact`` overwrites files of the same name, follows ``../`` out of its folder, and uploads in the
background. So every version has a folder of its own, files have safe names, and a version is noted when it is stored whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from tracelet.exceptions import ArtifactNotFound, IntegrityError
from tracelet.plugin import (
    MANIFEST_NAME,
    FileChanged,
    Manifest,
    SealedArtifact,
    atomic_write,
    copy_blob,
    physical_name,
    target_path,
)

__all__ = ["FolderStorage", "Storage", "check_manifest", "object_name", "still_there"]

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
#: Characters of a file's name. An object's key has at most 1024 bytes, with the store's prefix, the run and the version.
_LONGEST = 600
#: Seconds in which a put that has stored its bytes writes its record. A younger folder is not garbage.
_SETTLED = 60.0


def object_name(path: str) -> str:
    """Return the name under which a file is stored in its version's folder. Different paths have different names."""
    name = "/".join(part if _PLAIN.fullmatch(part) else physical_name(part) for part in path.split("/"))
    return name if len(name) <= _LONGEST else f"%-{hashlib.sha256(path.encode()).hexdigest()}"


def check_manifest(stored: bytes, manifest: Manifest, where: str) -> None:
    """Raise :class:`~tracelet.IntegrityError` where the manifest beside the bytes is not the catalogue's."""
    if Manifest.from_json(stored).digest != manifest.digest:
        raise IntegrityError(f"{where} holds another artifact than Aim's repo says: its bytes are refused.")


@contextlib.contextmanager
def still_there(source: Path) -> Iterator[None]:
    """Raise :class:`~tracelet.plugin.FileChanged` if the artifact's own file is gone, and not the place to store it."""
    try:
        yield
    except FileNotFoundError as error:
        if source.exists():
            raise
        raise FileChanged(f"{str(source)!r} is gone.") from error


class Storage(Protocol):
    """A place for the folders of versions."""

    #: The URI in Aim's form: nothing in it is encoded.
    uri: str

    def shown(self, folder: str) -> str:
        """Return the URI of a version's folder, for people."""
        ...

    def upload(self, folder: str, sealed: SealedArtifact) -> None:
        """Store every file, and then the manifest. Raises :class:`~tracelet.plugin.FileChanged` for a changed file."""
        ...

    def download(self, folder: str, manifest: Manifest, paths: Collection[str], dest: Path) -> None:
        """Write files under ``dest``. Raises :class:`~tracelet.ArtifactNotFound` where they are gone."""
        ...

    def remove(self, folder: str, manifest: Manifest) -> int | None:
        """Delete a version's folder, or what is left of it. Return the bytes, or None where the place does not say how many."""
        ...


class FolderStorage:
    """The folders of versions in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.uri = f"file://{root}"

    def shown(self, folder: str) -> str:
        """See :class:`Storage`."""
        return (self._root / folder).as_uri()

    def upload(self, folder: str, sealed: SealedArtifact) -> None:
        """See :class:`Storage`: each file appears whole and verified, or not at all."""
        own = self._root / folder
        for file in sealed.manifest.payload:
            path = file.artifact_path
            assert file.sha256 is not None
            with still_there(sealed.sources[path]):
                copy_blob(sealed.sources[path], own / object_name(path), file.sha256, sealed.stamps.get(path))
        atomic_write(own / MANIFEST_NAME, sealed.manifest.to_json().encode())

    def download(self, folder: str, manifest: Manifest, paths: Collection[str], dest: Path) -> None:
        """See :class:`Storage`."""
        own = self._root / folder
        try:
            check_manifest((own / MANIFEST_NAME).read_bytes(), manifest, self.shown(folder))
            for path in paths:
                shutil.copy(own / object_name(path), target_path(dest, path))
        except FileNotFoundError as error:
            raise ArtifactNotFound(
                f"the bytes of {manifest.name!r} are not at {self.shown(folder)}: they were deleted, or this machine does "
                "not mount that folder."
            ) from error

    def remove(self, folder: str, manifest: Manifest) -> int:
        """See :class:`Storage`."""
        own = self._root / folder
        before = _size_of(own)
        shutil.rmtree(own, ignore_errors=True)
        freed = before - _size_of(own)
        for above in (own.parent, own.parent.parent):
            with contextlib.suppress(OSError):
                above.rmdir()  # fails where something else is in it
        return freed

    def collect(self, needed: Collection[str], older_than: float) -> Iterator[int]:
        """Delete folders of versions that are not needed and last changed before then; yield the bytes of each."""
        for own in sorted(self._root.glob("*/*/v*")):
            folder = own.relative_to(self._root).as_posix()
            files = {path: path.stat() for path in own.rglob("*") if path.is_file()} if folder not in needed else {}
            newest = max([own.stat().st_mtime, *(status.st_mtime for status in files.values())])
            if folder in needed or newest >= min(older_than, time.time() - _SETTLED):
                continue
            shutil.rmtree(own)
            yield sum(status.st_size for status in files.values())


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
