"""The buckets of S3, Google Cloud Storage and Azure, by obstore: one client for all of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from tracelet.exceptions import ConfigError
from tracelet.plugin import FileChanged
from tracelet_bucket.bucket import PART, SMALL, Etag, Found, Listed
from tracelet_bucket.errors import BehindTheEnd, translated, understood, without_conditions
from tracelet_bucket.settings import endpoint, wants_aws_profile
from tracelet_bucket.together import each

__all__ = ["ObjectBucket", "open_objects"]

#: S3 takes 10,000 parts at most.
_MOST_PARTS = 9_000
_AT_ONCE = 8
#: What has come of a part is written in blocks of so many bytes.
_BLOCK = 1 << 20
#: What no object has.
_NO_ETAG: Etag = {"e_tag": '"0123456789abcdef"'}
#: How S3 ends the names of its directory buckets.
_EXPRESS = "--x-s3"
#: What is written to learn the time of the store.
_CLOCK = "clock"
#: S3 copies no larger object at once: a larger one is copied by who asks for it.
_LARGEST_COPY = 5 << 30
#: The object's own metadata that says what :meth:`ObjectBucket.upload` wrote: whoever overwrites an object loses it.
_SHA256 = "sha256"
#: A failed request is sent again for so long; then the outbox has it.
_RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=30)}
#: A part may take so long; a call that hangs is ended by its lane.
_CLIENT: dict[str, Any] = {"timeout": "300s", "connect_timeout": "10s"}


class ObjectBucket:
    """See :class:`~tracelet_bucket.bucket.Bucket`."""

    def __init__(self, store: Any, url: str, *, is_known: bool) -> None:
        """``store`` is one of obstore's, below its prefix; ``url`` is where that is.

        ``is_known`` says that its server is the cloud's own, and can do what is needed.
        """
        self._store = store
        self._is_known = is_known
        self.url = url.rstrip("/")

    def get(self, key: str) -> Found | None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(FileNotFoundError), self._translated():
            answer = obstore.get(self._store, key)
            # Google's store compares its versions, the others their etags.
            etag = {name: answer.meta[name] for name in ("e_tag", "version") if answer.meta[name]}
            return Found(bytes(answer.bytes()), etag)
        return None

    def create(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(AlreadyExistsError, PreconditionError), self._translated():
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
            return True
        return False

    def swap(self, key: str, data: bytes, etag: Etag) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(AlreadyExistsError, PreconditionError, FileNotFoundError), self._translated():
            obstore.put(self._store, key, data, mode=etag, use_multipart=False)
            return True
        return False

    def check_conditions(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`: the clouds' own servers need not be tried."""
        if self._is_known:
            return
        lacking = "If-None-Match" if self.create(key, data) else "If-Match" if self.swap(key, data, _NO_ETAG) else ""
        if lacking:
            raise without_conditions(self.url, f"it ignores {lacking}")

    def put(self, key: str, data: bytes) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            obstore.put(self._store, key, data, use_multipart=False)

    def upload(self, key: str, source: Path, sha256: str, size_bytes: int, *, replace: bool) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        attributes = {_SHA256: sha256}
        if size_bytes <= SMALL:
            data = source.read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise _changed(source)
            mode: Literal["overwrite", "create"] = "overwrite" if replace else "create"
            with contextlib.suppress(AlreadyExistsError, PreconditionError), self._translated():
                obstore.put(self._store, key, data, attributes=attributes, mode=mode, use_multipart=False)
                return True
            return False
        # In parts nothing is written conditionally: what is there is asked for, and what is written twice has the same bytes.
        if not replace and self.size_of(key) is not None:
            return False
        part = max(PART, -(-size_bytes // _MOST_PARTS))
        with source.open("rb") as stream, self._translated():
            obstore.put(
                self._store,
                key,
                _verified(stream, source, sha256, part),
                attributes=attributes,
                use_multipart=True,
                chunk_size=part,
                max_concurrency=_AT_ONCE,
            )
        return True

    def size_of(self, key: str) -> int | None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(FileNotFoundError), self._translated():
            return obstore.head(self._store, key)["size"]
        return None

    def download(self, key: str, target: Path, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        if size_bytes <= PART:
            found = self.get(key)
            if found is not None:
                target.write_bytes(found.data)
            return found is not None
        target.write_bytes(b"")
        fetched = partial(self._fetch_part, key, target)
        # The first part says whether there is an object; the others wait for it.
        return fetched(0) and all(each(fetched, range(PART, size_bytes, PART), _AT_ONCE))

    def _fetch_part(self, key: str, target: Path, start: int) -> bool:
        """Write a part of an object to its place in a file, as it comes; one behind its end is empty, for what was cut off is damaged."""
        with contextlib.suppress(FileNotFoundError, BehindTheEnd), self._translated():
            answer = obstore.get(self._store, key, options={"range": (start, start + PART)})
            # Each has the file open for itself: nobody waits for those that go on when another has failed.
            with target.open("r+b", buffering=0) as stream:
                stream.seek(start)
                for block in answer.stream(_BLOCK):
                    left = memoryview(block)
                    while left:
                        left = left[stream.write(left) :]
            return True
        return self.size_of(key) is not None

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(FileNotFoundError), self._translated():
            answer = obstore.get(self._store, key, options={"head": True})
            said = {name.lower(): value for name, value in answer.attributes.items()}
            return answer.meta["size"] == size_bytes and said.get(_SHA256) == sha256
        return False

    def below(self, folder: str, after: str = "") -> Iterator[Listed]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            for page in obstore.list(self._store, folder, offset=after or None, chunk_size=1000):
                for one in page:
                    # Azurite takes no notice of the offset. Consoles make an empty object of a folder's own name.
                    if one["path"] > after and one["path"] != folder:
                        yield Listed(one["path"], one["size"], one["last_modified"].timestamp())

    def folders(self, folder: str) -> list[str]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            prefixes = obstore.list_with_delimiter(self._store, folder)["common_prefixes"]
        return [prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes]

    def move(self, key: str, target: str, size_bytes: int) -> bool:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(FileNotFoundError), self._translated():
            if size_bytes > _LARGEST_COPY:
                part = max(PART, -(-size_bytes // _MOST_PARTS))
                source = obstore.get(self._store, key)
                attributes = dict(source.attributes)
                obstore.put(
                    self._store, target, source.stream(part), attributes=attributes, use_multipart=True, chunk_size=part
                )
            else:
                obstore.copy(self._store, key, target)
            obstore.delete(self._store, key)
            return True
        return False

    def remove(self, key: str) -> None:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with contextlib.suppress(FileNotFoundError), self._translated():
            obstore.delete(self._store, key)

    def now(self) -> float:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        with self._translated():
            obstore.put(self._store, _CLOCK, b"", use_multipart=False)
            return obstore.head(self._store, _CLOCK)["last_modified"].timestamp()

    def sweep(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet_bucket.bucket.Bucket`."""
        # Parts of an upload that was broken off are not listed. A rule of the bucket's own lets them end.
        return iter(())

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self.url):
            yield


def _changed(source: Path) -> FileChanged:
    return FileChanged(f"{str(source)!r} is not the file that was hashed any more.")


def _verified(stream: BinaryIO, source: Path, sha256: str, part: int) -> Iterator[bytes]:
    """Yield a file in parts; raise before the last one where it is another file, so that nothing is written."""
    found = hashlib.sha256()
    waiting = b""
    while block := stream.read(part):
        found.update(block)
        if waiting:
            yield waiting
        waiting = block
    if found.hexdigest() != sha256:
        raise _changed(source)
    yield waiting


def open_objects(url: str) -> ObjectBucket:
    """Return the bucket of a URL. Nothing is sent yet.

    Raises:
        ConfigError: What the environment says is not understood.
    """
    scheme, _, rest = url.rstrip("/").partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme == "s3" and bucket.endswith(_EXPRESS):
        raise ConfigError(f"{url} is of S3 Express, which lists in no order: use a general purpose bucket.")
    client = dict(_CLIENT)
    own: dict[str, Any] = {"prefix": prefix or None, "retry_config": _RETRIES, "client_options": client}
    server = endpoint(scheme)
    if server:
        own["endpoint"] = server
        client["allow_http"] = server.startswith("http://")
    with understood(url):
        if scheme == "gs":
            return ObjectBucket(GCSStore(bucket, **own), url, is_known=True)
        if scheme == "az":
            return ObjectBucket(AzureStore(bucket, **own), url, is_known=not server)
        if wants_aws_profile():
            own["credential_provider"] = _profile()
        return ObjectBucket(S3Store(bucket, **own), url, is_known=not server)


def _profile() -> Any:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise ConfigError(
            "TRACELET_BUCKET_URL: credentials of AWS's own files and profiles are read by boto3, which is not installed: "
            "pip install 'tracelet-bucket[profiles]', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from error
    from botocore.exceptions import BotoCoreError

    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"AWS's files of credentials cannot be used: {error}") from error
