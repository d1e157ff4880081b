"""The bytes of versions in a bucket, through Aim's own artifact storage."""

from __future__ import annotations

import concurrent.futures
import re
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from aim.storage.artifacts import registry
from aim.storage.artifacts.s3_storage import S3ArtifactStorage_clientconfig
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from tracelet.exceptions import ArtifactNotFound, BackendAuthError, BackendError, BackendUnavailable
from tracelet.plugin import (
    MANIFEST_NAME,
    ArtifactFile,
    FileChanged,
    Manifest,
    SealedArtifact,
    Stamp,
    hash_blob,
    make_folder,
    redact,
    target_path,
)
from tracelet_aim.errors import said
from tracelet_aim.storage import check_manifest, object_name, still_there

__all__ = ["BucketStorage"]

T = TypeVar("T")

_THREADS = 8
#: Seconds to connect, and to wait for data, each tried twice. So a hang is an error before core ends the lane.
_LIMITS = {"connect_timeout": 5, "read_timeout": 12}
#: ``An error occurred (AccessDenied) when calling …``, as botocore says it.
_CODE = re.compile(r"\((\w+)\) when calling")
_MISSING = frozenset({"404", "NoSuchKey"})
_CLOSED = frozenset({"401", "403", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}) | frozenset(
    {"SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
)

# Aim's own way to configure its storage. boto's limits are a minute, and no variable changes them.
S3ArtifactStorage_clientconfig(config=_LIMITS)


class BucketStorage:
    """Objects under ``<uri>/<run>/<name>/v3/``. Every method waits for the bucket's answer."""

    def __init__(self, uri: str, scratch: Path) -> None:
        """``scratch`` is a folder for temporary files."""
        self.uri = uri.rstrip("/")
        self._scratch = scratch

    def shown(self, folder: str) -> str:
        """See :class:`~tracelet_aim.storage.Storage`."""
        return redact(f"{self.uri}/{folder}")

    def upload(self, folder: str, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet_aim.storage.Storage`."""

        def one(file: ArtifactFile) -> None:
            source = sealed.sources[file.artifact_path]
            name = f"{folder}/{object_name(file.artifact_path)}"
            # Without `block` Aim uploads on a thread that ends with the program, and reports nothing.
            with still_there(source):
                store.upload_artifact(str(source), name, block=True)
                _check_unchanged(source, file, sealed.stamps.get(file.artifact_path))

        with self._translated():
            store = self._store()
            _at_once(one, sealed.manifest.payload)
            make_folder(self._scratch)
            with tempfile.TemporaryDirectory(dir=self._scratch) as name:
                temporary = Path(name)
                (temporary / MANIFEST_NAME).write_text(sealed.manifest.to_json())
                store.upload_artifact(str(temporary / MANIFEST_NAME), f"{folder}/{MANIFEST_NAME}", block=True)

    def download(self, folder: str, manifest: Manifest, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet_aim.storage.Storage`."""
        targets = {path: target_path(dest, path) for path in paths}
        # On the same disk as `dest`, so that the files can be moved.
        with self._translated(), tempfile.TemporaryDirectory(prefix=".tracelet-", dir=dest) as name:
            temporary, store = Path(name), self._store()
            beside = Path(store.download_artifact(f"{folder}/{MANIFEST_NAME}", str(temporary)))
            check_manifest(beside.read_bytes(), manifest, self.shown(folder))
            _at_once(
                lambda path: _bring(store, f"{folder}/{object_name(path)}", temporary).replace(targets[path]), paths
            )

    def fetch(self, objects: Mapping[str, str], dest: Path) -> list[str]:
        """Write objects under ``dest``, by their paths there. Return the paths of those that are not in the bucket."""
        targets = {path: target_path(dest, path) for path in objects}
        gone: list[str] = []

        def one(path: str) -> None:
            try:
                _bring(store, objects[path], temporary).replace(targets[path])
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                gone.append(path)

        with self._translated(), tempfile.TemporaryDirectory(prefix=".tracelet-", dir=dest) as name:
            temporary, store = Path(name), self._store()
            _at_once(one, objects)
        return gone

    def remove(self, folder: str, manifest: Manifest) -> None:
        """See :class:`~tracelet_aim.storage.Storage`."""
        names = [*(object_name(file.artifact_path) for file in manifest.payload), MANIFEST_NAME]
        with self._translated():
            store = self._store()
            _at_once(lambda name: store.delete_artifact(f"{folder}/{name}"), names)

    def _store(self) -> Any:
        # Not on several threads at once: boto's default session is not thread-safe when it makes a client.
        return registry.get_storage(self.uri)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        place, words = redact(self.uri), said(error)
        code = _code(error)
        if code in _MISSING:
            return ArtifactNotFound(f"bytes are gone from {place} ({words}): take the artifact from another backend.")
        if code in _CLOSED or isinstance(error, (NoCredentialsError, PartialCredentialsError)):
            return BackendAuthError(
                f"the artifact store {place} does not let us in ({words}): give this machine credentials for it, such as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        if code == "NoSuchBucket":
            return BackendError(
                f"the artifact store {place} has no such bucket: make it, or correct TRACELET_AIM_ARTIFACTS_URI."
            )
        return BackendUnavailable(f"the artifact store {place} failed ({words}): it is tried again.")


def _code(error: Exception) -> str:
    match = _CODE.search(str(error))
    return match[1] if match else ""


def _bring(store: Any, name: str, temporary: Path) -> Path:
    # Aim drops all but the last part of a name: each file gets a folder of its own.
    return Path(store.download_artifact(name, str(temporary / uuid.uuid4().hex)))


def _check_unchanged(source: Path, file: ArtifactFile, known: Stamp | None) -> None:
    """Raise :class:`~tracelet.plugin.FileChanged` where a file may have changed during its upload."""
    if known is None or (not known.racy and known.matches(source.stat())):
        return
    if hash_blob(source) != file.sha256:
        raise FileChanged(f"{str(source)!r} is not the file that was hashed any more.")


def _at_once(call: Callable[[T], object], items: Iterable[T]) -> None:
    """Call for every item, several at a time. The first error is raised, and calls that have not begun are dropped."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
