"""What a place of objects has to do: the seam between what is stored and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import attrs

__all__ = ["PART", "SMALL", "Bucket", "Etag", "Found", "Listed"]

#: A file of no more bytes is sent without asking whether it is there: the store says so.
SMALL = 1 << 20
#: A file of more bytes is sent and fetched in parts of so many, several at a time.
PART = 8 << 20

#: What a place calls the content of an object: each has a form of its own.
Etag: TypeAlias = Any


@attrs.frozen
class Found:
    """A small object that was read."""

    data: bytes
    #: :meth:`Bucket.swap` takes it.
    etag: Etag


@attrs.frozen
class Listed:
    """An object that was listed."""

    key: str
    size_bytes: int
    #: When it was written, by the clock of its place, in seconds since the epoch.
    written_at: float


class Bucket(Protocol):
    """Objects by their keys, as S3, Google Cloud Storage and Azure have them.

    What is written can be read by everybody from then on. Each method raises :class:`~tracelet.BackendUnavailable` where the
    place is away, :class:`~tracelet.BackendAuthError` where it refuses, and :class:`~tracelet.ConfigError` where it cannot do
    what is needed. Threads may share one.
    """

    @property
    def url(self) -> str:
        """Where it is, for people to read; without credentials."""
        ...

    def get(self, key: str) -> Found | None:
        """Read a small object; None where there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless the key is taken; say whether it was written. Two callers never both do."""
        ...

    def swap(self, key: str, data: bytes, etag: Etag) -> bool:
        """Write a small object in place of the one with this etag; say whether it was written: not where it is another by now."""
        ...

    def check_conditions(self, key: str, data: bytes) -> None:
        """Raise :class:`~tracelet.ConfigError` where the place ignores the conditions of :meth:`create` and :meth:`swap`.

        Args:
            key: of an object that is there.
            data: what it holds.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write a small object, in place of what is there."""
        ...

    def upload(self, key: str, source: Path, sha256: str, size_bytes: int, *, replace: bool) -> bool:
        """Write the bytes of a file; say whether it did: not where there is something, unless it is to ``replace`` that.

        Raises :class:`~tracelet.plugin.FileChanged`, and writes nothing, where they have another sha256.
        """
        ...

    def download(self, key: str, target: Path, size_bytes: int) -> bool:
        """Write the bytes of an object of this size into a file; say whether there is such an object."""
        ...

    def size_of(self, key: str) -> int | None:
        """Return the size of an object in bytes; None where there is none."""
        ...

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        """Tell whether an object is there as :meth:`upload` wrote it."""
        ...

    def below(self, folder: str, after: str = "") -> Iterator[Listed]:
        """List the objects below a folder in the order of their keys; only those whose keys come after ``after``."""
        ...

    def folders(self, folder: str) -> list[str]:
        """List the folders in a folder, by their last parts."""
        ...

    def move(self, key: str, target: str, size_bytes: int) -> bool:
        """Move an object; say whether there was one."""
        ...

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        ...

    def now(self) -> float:
        """Return the time by the clock of the place, in seconds since the epoch: :attr:`Listed.written_at` is by it, too."""
        ...

    def sweep(self, older_than: float) -> Iterator[int]:
        """Delete what interrupted writes left here before then, by the clock of the place; give the size of each in bytes."""
        ...
