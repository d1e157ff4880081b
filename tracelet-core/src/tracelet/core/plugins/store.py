"""What a store is: where the bytes of large files go."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tracelet.core.system.files import Stamp

__all__ = ["Store"]


class Store(Protocol):
    """Where large files' bytes go once, whatever the number of backends."""

    @property
    def portable(self) -> bool:
        """Whether another machine can read it."""
        ...

    def uri(self, sha256: str) -> str:
        """Where the blob is, or would be; without credentials."""
        ...

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether the blob is there, whole."""
        ...

    def put(self, source: Path, sha256: str, known: Stamp | None = None) -> None:
        """Store a file's bytes; where they are there already, whole, nothing is copied."""
        ...

    def fetch(self, sha256: str, dest: Path) -> None:
        """Copy a blob to ``dest``. Raises :class:`~tracelet.ArtifactNotFound` where it is not there."""
        ...

    def record(self, sha256: str, put_id: str) -> None:
        """Note that a reference to the blob is about to leave, so that gc keeps it."""
        ...

    def put_note(self, key: str, data: bytes) -> None:
        """Write a small note that other processes read; ``key`` is a relative path of safe characters."""
        ...

    def get_note(self, key: str) -> bytes | None:
        """Return a note, or None where there is none."""
        ...

    def remove_note(self, key: str) -> None:
        """Delete a note; one that is not there is no error."""
        ...

    def probe(self) -> None:
        """Write a small file and delete it; raises whatever stands in the way."""
        ...
