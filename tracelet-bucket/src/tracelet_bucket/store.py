"""The bucket as Tracelet's store: where the bytes of large files go, for other backends too."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from tracelet.exceptions import ArtifactNotFound, BackendError
from tracelet.plugin import Stamp, redact
from tracelet_bucket.blobs import places
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.keys import OBJECTS, blob_key, note_key, ref_key

__all__ = ["BucketStore"]


class BucketStore:
    """See :class:`~tracelet.plugin.Store`."""

    portable = True

    def __init__(self, url: str, opened: Callable[[], Bucket]) -> None:
        """``opened`` is called when something is stored or fetched, and not before."""
        self._url = redact(url).rstrip("/")
        self._opened = opened

    @cached_property
    def _bucket(self) -> Bucket:
        return self._opened()

    def uri(self, sha256: str) -> str:
        """See :class:`~tracelet.plugin.Store`."""
        return f"{self._url}/{blob_key(sha256)}"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet.plugin.Store`."""
        return self._bucket.holds(blob_key(sha256), sha256, size_bytes)

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        size_bytes = source.stat().st_size
        if not self.has(sha256, size_bytes):
            self._bucket.upload(blob_key(sha256), source, sha256, size_bytes, replace=True)

    def fetch(self, sha256: str, dest: Path) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        for key in places(self._bucket, sha256):
            size_bytes = self._bucket.size_of(key)
            if size_bytes is not None and self._bucket.download(key, dest, size_bytes):
                return
        raise ArtifactNotFound(f"the store at {self._bucket.url} has no blob {sha256}.")

    def record(self, sha256: str, put_id: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        self._bucket.put(ref_key(sha256, put_id), b"")

    def put_note(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        self._bucket.put(note_key(key), data)

    def get_note(self, key: str) -> bytes | None:
        """See :class:`~tracelet.plugin.Store`."""
        found = self._bucket.get(note_key(key))
        return None if found is None else found.data

    def remove_note(self, key: str) -> None:
        """See :class:`~tracelet.plugin.Store`."""
        self._bucket.remove(note_key(key))

    def probe(self) -> None:
        """See :class:`~tracelet.plugin.Store`: everything is tried that the backend needs."""
        folder = f"{OBJECTS}/probe-{uuid.uuid4().hex}"
        key = f"{folder}/it"
        try:
            self._bucket.put(key, b"probe")
            self._bucket.check_conditions(key, b"probe")
            found = self._bucket.get(key)
            listed = [one.key for one in self._bucket.below(folder)]
        finally:
            self._bucket.remove(key)
        if found is None or listed != [key]:
            raise BackendError(
                f"{self._bucket.url} does not give, or not list, what was just written: use a store that does.",
                retryable=False,
            )
