"""Uploads and downloads: to and from ClearML's file server, a bucket or a shared folder, by the SDK's storage layer.

A blob is one file as it is, or a zip of several. Its URL has the put-id in it. So no cache and no other writer's upload
can have the same URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
from clearml import StorageManager
from clearml.storage import helper as storage_helper

from tracelet.exceptions import ArtifactNotFound, BackendError, BackendUnavailable, IntegrityError, TraceletError
from tracelet.plugin import ArtifactFile, FileChanged, Manifest, copy_blob, hash_blob, make_folder, redact, target_path
from tracelet_clearml.connection import check_reachable
from tracelet_clearml.errors import ServerUnavailable
from tracelet_clearml.names import file_name
from tracelet_clearml.records import Blob
from tracelet_clearml.runs import RunTask

__all__ = [
    "Rollback",
    "Uploads",
    "check_source",
    "download",
    "extract",
    "pack",
    "remove",
    "scratch_folder",
    "stage",
    "upload",
]

_LOG = logging.getLogger("tracelet.clearml")
#: The SDK's access to every kind of storage. It has no types.
_STORAGE: Any = storage_helper.StorageHelper
_CHUNK = 1 << 20
#: Seconds since the epoch. A zip cannot hold earlier times; the number has some leeway for time zones.
_OLDEST = 315_619_200.0
_WEB = {"http", "https"}


@contextlib.contextmanager
def scratch_folder(directory: Path) -> Iterator[Path]:
    """Give a temporary folder in the tracelet directory for the block."""
    staging = directory / "staging"
    make_folder(staging)
    with tempfile.TemporaryDirectory(prefix="clearml-", dir=staging, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def check_source(file: ArtifactFile, source: Path) -> None:
    """Raise :class:`~tracelet.plugin.FileChanged` if a file has changed since it was hashed."""
    if hash_blob(source) != file.sha256:
        raise FileChanged(f"{str(source)!r} has changed since it was hashed.")


def pack(target: Path, files: Iterable[ArtifactFile], sources: Mapping[str, Path]) -> None:
    """Write files into a zip, uncompressed. Raise :class:`~tracelet.plugin.FileChanged` if one has changed since it was hashed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            digest = hashlib.sha256()
            # The entry has no time of the file: that may be older than any that a zip can hold.
            info = zipfile.ZipInfo(file.artifact_path)
            info.external_attr = 0o644 << 16
            info.file_size = file.size_bytes
            with sources[file.artifact_path].open("rb") as source, archive.open(info, "w") as entry:
                while block := source.read(_CHUNK):
                    digest.update(block)
                    entry.write(block)
            if digest.hexdigest() != file.sha256:
                raise FileChanged(f"{str(sources[file.artifact_path])!r} has changed since it was hashed.")


def stage(file: ArtifactFile, source: Path, target: Path) -> None:
    """Put a file where the SDK finds it under its path in the artifact, by a link if possible."""
    if source.stat().st_mtime >= _OLDEST:
        target.symlink_to(source.absolute())
    else:
        assert file.sha256 is not None
        copy_blob(source, target, file.sha256, None)


def upload(source: Path, uri: str) -> str:
    """Upload a file and return its URL. Raises :class:`~tracelet.BackendError` if it did not arrive."""
    if urlsplit(uri).scheme in _WEB:
        check_reachable(uri, "file server")
    if _STORAGE.get(uri) is None:
        raise BackendError(
            f"ClearML cannot write to {redact(uri)}: is its package installed (boto3 for s3, google-cloud-storage for "
            "gs, azure-storage-blob for azure), and are there credentials for it in clearml.conf?"
        )
    try:
        stored = StorageManager.upload_file(str(source), uri, wait_for_upload=True, retries=1)
    except ValueError as error:
        raise BackendUnavailable(f"{redact(uri)} was not stored: {redact(str(error))[:300]}") from error
    # A proxy may have answered for the file server.
    if not stored or (urlsplit(uri).scheme in _WEB and not StorageManager.exists_file(stored)):
        raise BackendUnavailable(
            f"{redact(uri)} was uploaded, and is not there: is this the address of ClearML's file server?"
        )
    return str(stored)


def download(blob: Blob, target: Path) -> None:
    """Download a blob. Raises :class:`~tracelet.ArtifactNotFound` if it is gone.

    ClearML's cache is not used: it knows a file by its URL alone, and returns old bytes for new ones.
    """
    if blob.size_bytes == 0:
        target.touch()  # ClearML takes an empty answer for a failure
        return
    parts = urlsplit(blob.uri)
    if parts.scheme in {"", "file"}:
        _copy(Path(unquote(parts.path)), target, blob)
        return
    if parts.scheme in _WEB:
        check_reachable(blob.uri, "file server")
    storage = _STORAGE.get(blob.uri)
    if storage is None:
        raise BackendError(
            f"ClearML cannot read {redact(blob.uri)}: is its package installed, with credentials for it?"
        )
    try:
        blocks = storage.download_as_stream(blob.uri, chunk_size=_CHUNK)
        if blocks is None:
            raise ArtifactNotFound(f"{redact(blob.uri)} is gone: was its task deleted?")
        with target.open("wb") as stream:
            stream.writelines([blocks] if isinstance(blocks, bytes) else blocks)
    except ValueError as error:
        raise ArtifactNotFound(f"{redact(blob.uri)} is not there any more: {redact(str(error))[:300]}") from error


def _copy(source: Path, target: Path, blob: Blob) -> None:
    try:
        shutil.copy(source, target)
    except FileNotFoundError as error:
        raise ArtifactNotFound(
            f"{redact(blob.uri)} is gone, or is in a folder that this machine does not have."
        ) from error


def extract(archive: Path, sizes: Mapping[str, int | None], dest: Path) -> None:
    """Unpack files of a zip: their paths there, and the sizes that they must have, or None where nobody knows."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for path, size in sizes.items():
                info = opened.getinfo(path)
                if info.is_dir() or size not in {None, info.file_size}:
                    raise IntegrityError(f"{path!r} is not in its zip as it was stored there.")
                with opened.open(info) as source, target_path(dest, path).open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityError(f"a zip of the artifact is damaged ({error}): get it from another backend.") from error


def remove(blob: Blob) -> int:
    """Delete a blob, and return its bytes. It is no error if it is not there."""
    helper = _STORAGE.get(blob.uri)
    return blob.size_bytes if helper is not None and helper.delete(blob.uri, silent=True) else 0


class Rollback:
    """How to take back what a put has left on the servers so far, if the put fails for good."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        """Remember how to take back something that is about to be made."""
        self._steps.append(step)

    def run(self) -> None:
        """Take everything back, the last step first. Log what cannot be taken back."""
        while self._steps:
            try:
                self._steps.pop()()
            except (ServerUnavailable, OSError, TraceletError) as error:
                _LOG.warning("a part of an artifact that was not stored stays in ClearML: %s", error)


@attrs.frozen
class Uploads:
    """Uploads of an artifact's files, to URLs as the SDK makes them, with the put-id in them."""

    destination: str
    project: str
    #: Where temporary files may be.
    directory: Path

    def folder(self, run_task: RunTask, manifest: Manifest, key: str) -> str:
        """Return the URL of the folder of one put."""
        project = "/".join(map(file_name, self.project.split("/")))
        own = f"{file_name(run_task.name)}.{run_task.task_id}"
        return f"{self.destination.rstrip('/')}/{project}/{own}/artifacts/{key}.{manifest.put_id}"

    def one(self, file: ArtifactFile, source: Path, uri: str, rollback: Rollback) -> Blob:
        """Store one file as it is."""
        check_source(file, source)
        assert file.sha256 is not None
        blob = Blob(uri, file.size_bytes, file.sha256, (file.artifact_path,))
        rollback.add(lambda: remove(blob))
        return attrs.evolve(blob, uri=upload(source, uri))

    def packed(self, files: Iterable[ArtifactFile], sources: Mapping[str, Path], uri: str, rollback: Rollback) -> Blob:
        """Store several files as one zip."""
        files = list(files)
        with scratch_folder(self.directory) as scratch:
            target = scratch / "pack.zip"
            pack(target, files, sources)
            paths = tuple(file.artifact_path for file in files)
            blob = Blob(uri, target.stat().st_size, hash_blob(target), paths, zipped=True)
            rollback.add(lambda: remove(blob))
            return attrs.evolve(blob, uri=upload(target, uri))
