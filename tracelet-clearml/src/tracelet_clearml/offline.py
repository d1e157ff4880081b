"""Offline mode: a catalogue in the tracelet directory, which is listed and read until the server has the artifact.

Its versions are marked as pending, for only the server gives versions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from tracelet.plugin import (
    ArtifactType,
    BlobBackend,
    Labels,
    Manifest,
    RunInfo,
    SealedArtifact,
    Stamp,
    StoredArtifact,
    discard,
)
from tracelet_clearml.offline_session import OfflineSession

__all__ = ["OfflineBackend", "OfflineCatalogue"]


class OfflineCatalogue(BlobBackend):
    """What is not yet on the server, as files; several processes may use it at once."""

    def __init__(self, directory: Path, experiment: str) -> None:
        self._root = directory / "clearml-offline"
        super().__init__(f"clearml-offline://{self._root}", experiment)

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
                shutil.copyfileobj(data, stream, 1 << 20)
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

    def delivered(self, manifest: Manifest) -> None:
        """Forget what the server has by now; :meth:`collect` clears its bytes away."""
        found = self.find(manifest.name, f"put:{manifest.put_id}")
        if found is not None:
            self.delete(found)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: blobs that no manifest names, and interrupted writes."""
        needed = {
            file.sha256
            for path in self._root.glob("*/versions/*/v*.json")
            for file in Manifest.from_json(path.read_bytes()).payload
        }
        for path in [path for path in self._root.rglob("*") if path.is_file()]:
            blob = path.is_relative_to(self._root / "blobs") and path.name not in needed
            freed = discard(path, older_than) if blob or path.name.endswith(".tmp") else None
            if freed is not None:
                yield freed

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


class OfflineBackend:
    """The catalogue, and every artifact also in an offline session of ClearML's own."""

    def __init__(self, experiment: str, directory: Path, user_task: str) -> None:
        """``user_task`` is the id of the offline task that the user's own process has, or empty."""
        self._catalogue = OfflineCatalogue(directory, experiment)
        self._session = OfflineSession(experiment, directory, user_task)
        self._run: RunInfo | None = None

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`. ClearML's session is begun with the first artifact."""
        self._run = run

    def stop(self, *, failed: bool) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._session.end(failed=failed)

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`."""
        stored = self._catalogue.put(sealed, labels)
        if self._run is not None and stored.manifest.put_id == sealed.manifest.put_id:
            self._session.note(sealed, stored, self._run)
        return stored

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        return self._catalogue.find(name, ref)

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`."""
        return self._catalogue.list(name=name, type=type)

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._catalogue.fetch(stored, paths, dest)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        return self._catalogue.relabel(stored, labels)

    def delete(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.Deletes`. What ClearML's offline session has of it stays there."""
        self._catalogue.delete(stored)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`."""
        return self._catalogue.collect(older_than)

    def record_input(self, stored: StoredArtifact) -> None:
        """ClearML notes no inputs offline; what is logged from now on names the digest in its manifest."""
