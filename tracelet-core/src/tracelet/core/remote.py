"""URIs: what of one may be written down, and how fsspec is asked about it."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from tracelet.exceptions import ArtifactError, ConfigError

__all__ = ["RemoteFact", "filesystem", "redact", "stat_uri"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: Words that, in a query parameter's name, mark its value as a secret.
_SECRET = re.compile(r"sig|token|secret|password|passwd|credential|api.?key|access.?key|auth", re.IGNORECASE)
_CHUNK = 1 << 20


def redact(uri: str) -> str:
    """Return ``uri`` without user name, password and query parameters that carry secrets.

    ``https://me:pw@host/x?X-Amz-Signature=1&part=2`` becomes ``https://host/x?part=2``. Text that
    is no URI comes back as it is.
    """
    if not _SCHEME.match(uri):
        return uri
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(pair for pair in parts.query.split("&") if not _SECRET.search(pair.partition("=")[0]))
    cleaned = urlunsplit((parts.scheme, host, parts.path, query, parts.fragment))
    # urlunsplit drops the empty authority of scheme:///path for the schemes it does not know.
    if host == "" and uri.startswith(f"{parts.scheme}:///") and not cleaned.startswith(f"{parts.scheme}:///"):
        cleaned = cleaned.replace(f"{parts.scheme}:", f"{parts.scheme}://", 1)
    return cleaned if (host, query) != (parts.netloc, parts.query) else uri


def check_uri(uri: object) -> str:
    """Return the URI without its secrets, or raise :class:`ArtifactError` where it is none."""
    if not isinstance(uri, str) or not _SCHEME.match(uri):
        raise ArtifactError(f"{uri!r} is not a URI: give one such as 's3://bucket/key' or 'file:///data/x.bin'.")
    return redact(uri)


def filesystem(uri: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URI and the path there.

    Raises :class:`ConfigError` that names the package to install where one is missing.
    """
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(f"{redact(uri)} needs fsspec: pip install 'tracelet-core[remote]'") from error
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise ConfigError(f"{redact(uri)} cannot be reached from here: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{redact(uri)}: {error}. Known schemes are those of fsspec.") from error
    return fs, path


@attrs.frozen
class RemoteFact:
    """What a place says of the content of a URI: size in bytes, and an etag or a sha256."""

    size_bytes: int | None
    etag: str | None = None
    sha256: str | None = None


def stat_uri(uri: str) -> RemoteFact:
    """Ask the place of ``uri`` for size and etag; a ``file:`` URI is read for its sha256.

    Raises :class:`ConfigError` where the scheme cannot be spoken here, :class:`ArtifactError` where the
    place does not answer for it.
    """
    fs, path = filesystem(uri)
    try:
        info = fs.info(path)
        if "file" in (fs.protocol if isinstance(fs.protocol, (list, tuple)) else (fs.protocol,)):
            digest = hashlib.sha256()
            with fs.open(path, "rb") as stream:
                while block := stream.read(_CHUNK):
                    digest.update(block)
            return RemoteFact(info.get("size"), sha256=digest.hexdigest())
    except OSError as error:
        raise ArtifactError(f"{redact(uri)} cannot be read, so it has no checksum: {error}") from error
    etag = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "content_md5") if info.get(key)), None)
    return RemoteFact(info.get("size"), etag=etag)
