"""URIs: which may be recorded, and how fsspec is asked about one."""

from __future__ import annotations

import contextlib
import hashlib
import unicodedata
from collections.abc import Iterator
from typing import Any

import attrs

from tracelet.core.system.redaction import PLACED_SCHEMES, SCHEME, Redacted, redact, redact_text, redacted
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendUnavailable,
    ConfigError,
    TraceletError,
)

__all__ = [
    "RemoteFact",
    "check_uri",
    "etag_of",
    "filesystem",
    "reaching",
    "reads_this_machine",
    "stat_uri",
]

#: Schemes that read this machine's own files, by themselves or through what their path says.
_OWN_FILES = frozenset(
    {"file", "local", "asynclocal", "dir", "generic", "git", "libarchive", "reference", "tar", "zip"}
)
#: Characters of a URI.
_LONGEST = 16_384
_CHUNK = 1 << 20


def check_uri(uri: object) -> Redacted:
    """Return the URI without its secrets, and what they were; raises :class:`ArtifactError` where it is none."""
    hint = "give a URI such as 's3://bucket/key' or 'file:///data/x.bin'"
    if not isinstance(uri, str):
        raise ArtifactError(f"{uri!r} is not text: {hint}.")
    if len(uri) > _LONGEST:
        raise ArtifactError(f"a URI of {len(uri)} characters is too long for any place: {_LONGEST} are the most.")
    if not SCHEME.match(uri):
        # Whatever it is, it may hold a password.
        raise ArtifactError(f"{uri.rpartition('@')[2].partition('?')[0]!r} has no scheme: {hint}.")
    found = redacted(uri)
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in found.uri):
        raise ArtifactError(f"{found.uri!r} has a control character or invalid Unicode: {hint}.")
    for link in found.uri.split("::"):
        _check_place(link)
    return found


def _check_place(uri: str) -> None:
    """Refuse what has no host or bucket where its scheme wants one: it can be meant for a place, and names none."""
    scheme, mark, rest = uri.partition(":")
    if not mark or scheme.lower() not in PLACED_SCHEMES:
        return
    if not rest.startswith("//"):
        raise ArtifactError(
            f"{uri!r} has no '//' after its scheme: write '{scheme}://{rest.lstrip('/') or 'host/path'}'."
        )
    if rest[2:3] in {"", "/", "?", "#"}:
        raise ArtifactError(f"{uri!r} names no host or bucket: write '{scheme}://host/path'.")


def reads_this_machine(uri: str) -> bool:
    """Whether fetching the URI could read this machine's own files: by its scheme, one in a chain, or without any."""
    scheme, mark, _ = uri.partition("://")
    return not mark or "::" in uri or not SCHEME.fullmatch(f"{scheme}:") or scheme.lower() in _OWN_FILES


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
        raise ConfigError(f"{redact(uri)}: {redact_text(str(error))}. Known schemes are those of fsspec.") from None
    return fs, path


@contextlib.contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Stand around calls to a place: whatever its client raises comes out as Tracelet's, and without secrets.

    Raises :class:`ArtifactNotFound` where nothing is there, :class:`BackendAuthError` where we are not let in,
    and :class:`BackendUnavailable` for everything else.
    """
    try:
        yield
    except TraceletError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary to the client of any scheme
        said = redact_text(f"{type(error).__name__}: {error}")
        message = f"{redact(uri)} cannot be reached: {said}"
        # A traceback would show the cause's own text, secrets and all.
        cause = error if said.endswith(str(error)) else None
        if isinstance(error, FileNotFoundError):
            raise ArtifactNotFound(f"{redact(uri)} is not there ({said}): check the address.") from cause
        if isinstance(error, PermissionError):
            raise BackendAuthError(f"{message}. Check the credentials of this scheme.") from cause
        raise BackendUnavailable(f"{message}. Check the address and the network.") from cause


@attrs.frozen
class RemoteFact:
    """What a place says of the content of a URI: size in bytes, and an etag or a sha256."""

    size_bytes: int | None
    etag: str | None = None
    sha256: str | None = None


def etag_of(info: dict[str, Any]) -> str | None:
    """Return what a place calls the state of a file's content, of what :meth:`info` of its client says; None without it."""
    return next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "content_md5") if info.get(key)), None)


def stat_uri(uri: str) -> RemoteFact:
    """Ask the place of ``uri`` for size and etag; what has no etag, such as a file, is read for its sha256.

    Raises :class:`ConfigError` where the scheme cannot be spoken here, and as :func:`reaching` does.
    """
    with reaching(uri):
        fs, path = filesystem(uri)
        info = fs.info(path)
        etag = etag_of(info)
        if etag is not None:
            return RemoteFact(info.get("size"), etag=etag)
        digest, size = hashlib.sha256(), 0
        with fs.open(path, "rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
                size += len(block)
    return RemoteFact(size, sha256=digest.hexdigest())
