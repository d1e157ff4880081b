"""Which kind of place a URL is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tracelet.exceptions import ConfigError
from tracelet.plugin import redact
from tracelet_bucket.bucket import Bucket

__all__ = ["open_bucket"]


def open_bucket(url: str) -> Bucket:
    """Return the bucket of a URL. Nothing is sent yet.

    Raises:
        ConfigError: There is none, or it is not understood.
    """
    if not url:
        raise ConfigError(
            "TRACELET_BUCKET_URL is not set: give s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
            "file:///folder."
        )
    if set(urlsplit(url).netloc) & set("@:"):
        raise ConfigError(
            f"TRACELET_BUCKET_URL={redact(url)!r}: credentials and ports have no place in it. Give credentials by the environment, and "
            "the server of an S3-like store by AWS_ENDPOINT_URL."
        )
    if url.startswith("file://"):
        from tracelet_bucket.folder import FolderBucket

        return FolderBucket(Path(unquote(urlsplit(url).path)), url)
    from tracelet_bucket.objects import open_objects

    return open_objects(url)
