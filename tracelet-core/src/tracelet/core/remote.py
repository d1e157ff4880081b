"""URIs: what of one may be written down, and how fsspec is asked about it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import attrs

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
    "filesystem",
    "reaching",
    "reads_this_machine",
    "redact",
    "redact_text",
    "stat_uri",
]

#: A scheme has two letters at least: one letter is a drive of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:\S+")
#: What stands before the host, of every URI in a chain such as ``simplecache::s3://…``. The second form is a password
#: with a slash in it that is not encoded, as no port would be.
_USERINFO = re.compile(r"://(?:[^/?#\s]*@|(?!\[)[^/?#\s:]*:(?!:|\d*(?:[/?#\s]|$))\S*@)")
#: What, in a parameter's name, marks its value as a secret.
_SECRET = re.compile(
    r"signature|token|secret|passw|passphrase|passcode|pwd|credential|authorization|jwt"
    r"|(?:api|access|account|private)[^a-z]?(?:key|id)|^key$|(?<![a-z])(?:sig|auth|pass)(?![a-z])",
    re.IGNORECASE,
)
#: Schemes that read this machine's own files, by themselves or through what their path says.
_OWN_FILES = frozenset(
    {"file", "local", "asynclocal", "dir", "generic", "git", "libarchive", "reference", "tar", "zip"}
)
_CHUNK = 1 << 20


def redact(uri: str) -> str:
    """Return ``uri`` without user name, password and parameters that carry secrets.

    ``https://me:pw@host/x?X-Amz-Signature=1&part=2`` becomes ``https://host/x?part=2``. Text that
    is no URI comes back as it is.
    """
    if not _SCHEME.match(uri):
        return uri
    clean, mark, fragment = _USERINFO.sub("://", uri).partition("#")
    clean, question, query = clean.partition("?")
    clean += _without_secrets(question, query) + _without_secrets(mark, fragment)
    # In a URI that is broken, what is left may look like a user name again.
    return clean if clean == uri else redact(clean)


def _without_secrets(mark: str, parameters: str) -> str:
    """Leave out secrets, and values that are URIs with secrets of their own; the mark goes with the last one."""
    pairs = re.split("[&;]", parameters)
    kept = [pair for pair in pairs if not _is_secret(pair)]
    if len(kept) < len(pairs):
        parameters = "&".join(kept)
        mark = mark if kept else ""
    return mark + parameters


def _is_secret(pair: str) -> bool:
    name, _, value = pair.partition("=")
    plain = unquote_plus(value)
    return bool(_SECRET.search(unquote_plus(name))) or redact(plain) != plain


def redact_text(text: str) -> str:
    """Return a message with the secrets taken out of every URI in it."""
    return _URI_IN_TEXT.sub(lambda match: redact(match[0]), text)


def check_uri(uri: object) -> str:
    """Return the URI without its secrets, or raise :class:`ArtifactError` where it is none."""
    hint = "give a URI such as 's3://bucket/key' or 'file:///data/x.bin'"
    if not isinstance(uri, str):
        raise ArtifactError(f"{uri!r} is not text: {hint}.")
    if not _SCHEME.match(uri):
        # Whatever it is, it may hold a password.
        raise ArtifactError(f"{uri.rpartition('@')[2].partition('?')[0]!r} has no scheme: {hint}.")
    clean = redact(uri)
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in clean):
        raise ArtifactError(f"{clean!r} has a control character or invalid Unicode: {hint}.")
    return clean


def reads_this_machine(uri: str) -> bool:
    """Whether fetching the URI could read this machine's own files: by its scheme, one in a chain, or without any."""
    scheme, mark, _ = uri.partition("://")
    return not mark or "::" in uri or not _SCHEME.fullmatch(f"{scheme}:") or scheme.lower() in _OWN_FILES


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
            raise ArtifactNotFound(f"{redact(uri)} is not there: {said}. Check the address.") from cause
        if isinstance(error, PermissionError):
            raise BackendAuthError(f"{message}. Check the credentials of this scheme.") from cause
        raise BackendUnavailable(f"{message}. Check the address and the network.") from cause


@attrs.frozen
class RemoteFact:
    """What a place says of the content of a URI: size in bytes, and an etag or a sha256."""

    size_bytes: int | None
    etag: str | None = None
    sha256: str | None = None


def stat_uri(uri: str) -> RemoteFact:
    """Ask the place of ``uri`` for size and etag; what has no etag, such as a file, is read for its sha256.

    Raises :class:`ConfigError` where the scheme cannot be spoken here, and as :func:`reaching` does.
    """
    with reaching(uri):
        fs, path = filesystem(uri)
        info = fs.info(path)
        etag = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "content_md5") if info.get(key)), None)
        if etag is not None:
            return RemoteFact(info.get("size"), etag=etag)
        digest, size = hashlib.sha256(), 0
        with fs.open(path, "rb") as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
                size += len(block)
    return RemoteFact(size, sha256=digest.hexdigest())
