"""The small texts that say what an experiment has stored, each under a key of a bag of blobs."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, cast

__all__ = ["Bag", "Notes", "leading_number"]

#: A longer number is not Tracelet's.
_NUMBER = re.compile(r"v?([0-9]{1,18})")


class Bag(Protocol):
    """What a bag of blobs can do: see :class:`~tracelet.plugin.BlobBackend`."""

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """Write a small blob unless the key is taken; say whether it was written."""
        ...

    def write(self, key: str, data: BinaryIO) -> None:
        """Write a blob, in place of what was there."""
        ...

    def read(self, key: str) -> BinaryIO:
        """Open a blob for reading. Raises ``FileNotFoundError`` where there is none."""
        ...

    def small_reader(self, folder: str) -> Callable[[str], bytes | None]:
        """Return what reads a small blob of a folder by its name there; None means that :meth:`read` is to be asked."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is a blob."""
        ...

    def folders_below(self, prefix: str) -> Iterable[str]:
        """Return what comes next in the keys that begin with ``prefix``, where a ``/`` follows: each once."""
        ...

    def keys(self, prefix: str) -> Iterable[str]:
        """Return every key that begins with ``prefix``."""
        ...

    def remove(self, key: str) -> None:
        """Delete a blob."""
        ...


def leading_number(text: str) -> int | None:
    """Return the number of a version that a text is, such as ``v3`` or ``3``, or None."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None


class _Pieces(io.RawIOBase):
    """A text to read that is made while it is read."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece.encode())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class Notes:
    """The notes of one experiment. Their names are keys without the experiment's prefix."""

    def __init__(self, bag: Bag, prefix: str) -> None:
        self._bag = bag
        self._prefix = prefix

    def key(self, name: str) -> str:
        """Return the key of a note."""
        return f"{self._prefix}/{name}"

    def exists(self, name: str) -> bool:
        """Tell whether there is a note."""
        return self._bag.exists(self.key(name))

    def create(self, name: str, text: str) -> bool:
        """Write a note unless there is one; say whether it was written. Two callers never both write it."""
        return self._bag.create_exclusive(self.key(name), text.encode())

    def write(self, name: str, text: str | Iterable[str] = "") -> None:
        """Write a note, in place of what it was: a text, or its pieces."""
        data = io.BytesIO(text.encode()) if isinstance(text, str) else io.BufferedReader(_Pieces(text))
        self._bag.write(self.key(name), cast(BinaryIO, data))

    def remove(self, name: str) -> None:
        """Delete a note."""
        self._bag.remove(self.key(name))

    def read(self, name: str) -> str:
        """Return a note. Raises ``FileNotFoundError`` where there is none."""
        with self._bag.read(self.key(name)) as stream:
            return stream.read().decode(errors="replace")

    def number(self, name: str) -> int | None:
        """Return the number that a note begins with, or None."""
        return next(iter(self.numbers(name)), None)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers that a note begins with."""
        try:
            words = self.read(name).split(" ")
        except FileNotFoundError:
            return ()
        found = itertools.takewhile(lambda number: number is not None, map(leading_number, words))
        return tuple(number for number in found if number is not None)

    def folders(self, start: str) -> Iterable[str]:
        """Return the next part of the names of the notes that begin with ``start``, where it is not the last: each once."""
        return self._bag.folders_below(self.key(start))

    def below(self, start: str) -> Iterator[str]:
        """Return the names of the notes that begin with ``start``, in order."""
        length = len(self._prefix) + 1
        return (key[length:] for key in sorted(self._bag.keys(self.key(start))))

    def parts(self, start: str, count: int) -> Iterator[tuple[str, ...]]:
        """Return the parts after the first of each name that begins with ``start``, where there are ``count`` of them.

        Whatever else lies there is not Tracelet's.
        """
        found = (tuple(name.split("/")[1:]) for name in self.below(start))
        return (names for names in found if len(names) == count)
