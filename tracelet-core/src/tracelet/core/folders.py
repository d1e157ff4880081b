"""A bag of blobs that is a directory; and one that keeps what a server is still to get."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.core.backend import Labels, SealedArtifact, StoredArtifact
from tracelet.core.blobs import BlobBackend
from tracelet.core.entries import ArtifactType
from tracelet.core.files import Stamp, discard
from tracelet.core.manifest import Manifest

__all__ = ["FolderBackend", "PendingCatalogue"]


class FolderBackend(BlobBackend):
    """Blobs as files of a directory; several processes may use it at once."""

    def __init__(self, uri: str, root: Path, experiment: str) -> None:
        """``uri`` is what people read; ``root`` is the directory, which is made when something is put into it."""
        super().__init__(uri, experiment)
        self._root = root

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: a hard link appears whole, or not at all."""
        with self._partial(key) as partial:
            partial.write_bytes(data)
            try:
                os.link(partial, self._root / key)
            except FileExistsError:
                return False
        return True

    def write(self, key: str, data: BinaryIO) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        with self._partial(key) as partial:
            with partial.open("xb") as stream:
                shutil.copyfileobj(data, stream)
                if self._outlives_a_power_cut(key):
                    stream.flush()
                    os.fsync(stream.fileno())
            partial.replace(self._root / key)

    def write_file(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`: one that is there is marked as young, so that nobody clears it."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._root / key)
        super().write_file(key, source, sha256, stamp)

    def read(self, key: str) -> BinaryIO:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        return (self._root / key).open("rb")

    def keys(self, prefix: str) -> Iterator[str]:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        for folder, _, files in os.walk(self._root / prefix, onerror=_raise_unless_gone):
            inside = Path(folder).relative_to(self._root).as_posix()
            yield from (f"{inside}/{name}" for name in files if not name.startswith("."))

    def remove(self, key: str) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        (self._root / key).unlink(missing_ok=True)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: blobs that no manifest names, and interrupted writes."""
        needed = {
            file.sha256
            for path in self._root.glob("*/versions/*/v*.json")
            for file in Manifest.from_json(path.read_bytes()).payload
        }
        for folder, _, files in os.walk(self._root):
            for path in (Path(folder, name) for name in files):
                garbage = path.name.endswith(".tmp") or (self._is_blob(path) and path.name not in needed)
                freed = discard(path, older_than) if garbage else None
                if freed is not None:
                    yield freed

    def _outlives_a_power_cut(self, key: str) -> bool:
        """Whether a key has to be on the disk when it is written."""
        return True

    def _is_blob(self, path: Path) -> bool:
        return path.is_relative_to(self._root / "blobs")

    @contextlib.contextmanager
    def _partial(self, key: str) -> Iterator[Path]:
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def _raise_unless_gone(error: OSError) -> None:
    """What cannot be listed is not empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


class PendingCatalogue(FolderBackend):
    """What is not yet on a server, for an offline mode: its versions are marked as pending, for only the server gives any."""

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

    def forget(self, name: str, put_id: str) -> None:
        """Take out what the server has by now; :meth:`collect` clears its bytes away."""
        found = self.find(name, f"put:{put_id}")
        if found is not None:
            self.delete(found)
