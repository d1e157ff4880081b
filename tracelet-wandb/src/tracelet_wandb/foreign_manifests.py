"""Read the lists of files of W&B's versions. The client's own reader waits twenty minutes for a store that is away."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import wandb
import xxhash
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tracelet.exceptions import ArtifactNotFound, BackendError
from tracelet_wandb.errors import status_of, translated

__all__ = ["GONE", "MANIFESTS_AT_ONCE", "Manifests", "held_by", "is_held_elsewhere", "is_whole"]

#: Manifests that are read at once.
MANIFESTS_AT_ONCE = 16
#: The statuses of stores for what is not there.
GONE = frozenset({404, 410})
#: Seconds in which their store must begin to answer.
_ANSWER = 60
#: A store that is busy for a moment would end the listing of thousands of versions.
_AGAIN = Retry(3, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
#: A checksum that protects nothing may be an old one, also on machines that forbid it.
_MD5 = functools.partial(hashlib.md5, usedforsecurity=False)
#: How an entry names a file of another version.
_HELD_BY = "wandb-artifact://"


class Manifests:
    """Reads manifests from where a query says that they are. Several threads may use it."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._session = requests.Session()

    def __enter__(self) -> Self:
        self._session.headers.update(wandb.setup().settings.x_extra_http_headers or {})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MANIFESTS_AT_ONCE, max_retries=_AGAIN))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def entries(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return the entries of a version by their paths; ``told`` is what a query has of its manifest."""
        with translated(self._server):
            try:
                with self._session.get(told["file"]["directUrl"], timeout=_ANSWER) as answer:
                    answer.raise_for_status()
                    manifest = answer.json()
            except requests.HTTPError as error:
                if status_of(error) in GONE:
                    raise ArtifactNotFound("W&B has lost the list of its files.") from error
                raise
        entries: dict[str, Any] | None = manifest.get("contents") if isinstance(manifest, dict) else None
        if not isinstance(entries, dict):
            raise BackendError("W&B's list of its files is damaged.", retryable=False)
        return entries


def is_held_elsewhere(entry: dict[str, Any]) -> bool:
    """Tell whether an entry is a file that another version in W&B holds."""
    return str(entry.get("ref") or "").startswith(_HELD_BY)


def held_by(entry: dict[str, Any]) -> tuple[str, str]:
    """Return the id of the version that holds such a file, and the file's name there."""
    holder, _, name = entry["ref"].removeprefix(_HELD_BY).partition("/")
    return base64.b64encode(bytes.fromhex(holder)).decode(), name


def is_whole(entry: dict[str, Any], path: Path) -> bool:
    """Tell whether a file has the checksum of its entry."""
    is_xxh128 = (entry.get("extra") or {}).get("alg") == "XXH128"
    with path.open("rb") as stream:
        # In pieces: the client's own functions map a whole file into memory.
        hashed = hashlib.file_digest(stream, xxhash.xxh128 if is_xxh128 else _MD5)
    return bool(base64.b64encode(hashed.digest()).decode() == entry["digest"])
