"""Files that ClearML holds for what was logged without Tracelet: which they are, and how they are fetched."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import hash_blob, redact
from tracelet_clearml.blobs import download, extract
from tracelet_clearml.records import Blob

__all__ = ["HeldFile", "is_held", "sha256_of", "size_of"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class HeldFile:
    """A stored file, and what ClearML knows of its bytes."""

    uri: str
    size_bytes: int | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> HeldFile:
        """Read an artifact of a task. Raises ValueError where it says no address: nothing was uploaded."""
        uri = entry.get("uri")
        if not isinstance(uri, str) or not uri:
            raise ValueError("ClearML has no address of its file: the upload was not finished")
        return cls(uri, size_of(entry.get("content_size")), sha256_of(entry.get("hash")))

    def fetch(self, target: Path) -> None:
        """Write the bytes into a file, and compare them with what ClearML knows of them.

        Raises:
            ArtifactNotFound: They are gone.
            IntegrityError: They are others.

        """
        # Where nobody knows the size, the server is asked.
        download(Blob(self.uri, 1 if self.size_bytes is None else self.size_bytes, self.sha256 or ""), target)
        if self.sha256 is not None and hash_blob(target) != self.sha256:
            raise IntegrityError(
                f"{redact(self.uri)} has other bytes than those that were uploaded: its sha256 differs."
            )
        if self.size_bytes not in {None, target.stat().st_size}:
            raise IntegrityError(
                f"{redact(self.uri)} has {target.stat().st_size:,} bytes, and {self.size_bytes:,} were uploaded."
            )

    def fetch_inside(self, archive: Path, dest: Path) -> None:
        """Fetch a zip by way of a file, and write what is in it into a folder."""
        self.fetch(archive)
        extract(archive, self.members(archive), dest)
        archive.unlink()

    def members(self, archive: Path) -> dict[str, int]:
        """Return the files in a zip that was fetched, and their sizes. Raises IntegrityError where it is none."""
        try:
            with zipfile.ZipFile(archive) as opened:
                return {one.filename: one.file_size for one in opened.infolist() if not one.is_dir()}
        except zipfile.BadZipFile as error:
            raise IntegrityError(f"{redact(self.uri)} is no zip, as ClearML says it is ({error}).") from error

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return attrs.asdict(self)


def is_held(uri: str, task: str, file_server: str) -> bool:
    """Say whether ClearML holds what is at a URL: on its file server, or where the SDK uploads the files of a task.

    Anything else is somebody's own file, which was only registered.
    """
    path = unquote(urlsplit(uri).path)
    if ".." in path.split("/"):
        return False
    return uri.startswith(f"{file_server.rstrip('/')}/") or (bool(task) and f".{task}/" in path)


def size_of(given: object) -> int | None:
    """Return a size in bytes; None where it is none."""
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else None


def sha256_of(given: object) -> str | None:
    """Return a sha256; None where it is none."""
    return given if isinstance(given, str) and _SHA256.fullmatch(given) else None
