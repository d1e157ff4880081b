"""One look at a file or a folder: what of it is read, and how much."""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePath

import attrs

from tracelet.core.sniffing import pickles

__all__ = ["MOST_FILES", "FileLook", "FolderLook"]

#: Bytes that are read from the start of a file.
_HEAD = 16_384
#: Bytes of a pickle whose opcodes are read.
_PICKLE = 1_000_000
#: Bytes that are read from the end of a file.
_TAIL = 16
#: Files of a folder that are looked at.
MOST_FILES = 1000

#: Control characters that no text has; tab, the ends of lines and pages, and escape are for text too.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_WORDS = re.compile(r"[a-z]+")
#: What reading a broken archive raises.
_BROKEN = (OSError, ValueError, EOFError, ArithmeticError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
#: How torch's older format begins: a pickle, of whichever protocol, of the number 0x1950a86a20f9469cfc6c; two more
#: follow before the object's own.
_LEGACY_TORCH = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
_PLAIN_PICKLE = re.compile(rb"\x80[\x02-\x05]")


@attrs.frozen(slots=False)
class FileLook:
    """A regular file: its name in lower case, its size in bytes, how it begins and ends. The rest is read when asked for."""

    path: Path
    name: str
    size: int
    head: bytes
    tail: bytes

    @classmethod
    def at(cls, path: Path) -> FileLook:
        """Open a file and read its beginning; raises ``OSError``, also for what is no regular file."""
        # A FIFO without a writer would wait for one.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            head = stream.read(_HEAD)
            stream.seek(max(0, status.st_size - _TAIL))
            return cls(path, path.name.lower(), status.st_size, head, stream.read(_TAIL))

    @property
    def words(self) -> frozenset[str]:
        """The words of the name, without the suffix."""
        return frozenset(_WORDS.findall(PurePath(self.name).stem))

    @functools.cached_property
    def text(self) -> str | None:
        """How it begins, as text; None where it is no text."""
        encoding = "utf-16" if self.head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        try:
            # The last character may be cut off.
            text = self.head.decode(encoding, "ignore" if self.size > len(self.head) else "strict")
        except UnicodeDecodeError:
            if encoding == "utf-16":
                return None
            text = self.head.decode("latin-1")
        return None if _NO_TEXT.search(text) else text

    @functools.cached_property
    def entries(self) -> frozenset[str]:
        """The names in a zip archive; none where it is no zip archive, or a broken one."""
        if not self.head.startswith(b"PK\x03\x04"):
            return frozenset()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(archive.namelist())
        except _BROKEN:
            return frozenset()

    def entry(self, ending: str) -> str | None:
        """The shortest name in a zip archive that ends so, in whichever folder."""
        found = [name for name in self.entries if name == ending or name.endswith(f"/{ending}")]
        return min(found, key=len, default=None)

    @functools.cached_property
    def torch(self) -> pickles.Node | None:
        """The top object of a file of torch, newer (a zip archive) or older; None for every other file."""
        name = self.entry("data.pkl")
        try:
            if name is not None:
                with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
                    return pickles.read(stream.read(_PICKLE))
            if _LEGACY_TORCH.match(self.head):
                with self.path.open("rb") as stream:
                    return pickles.read(stream.read(_PICKLE), number=3)
        except _BROKEN:
            return None
        return None

    @functools.cached_property
    def pickle(self) -> pickles.Node | None:
        """The top object of a plain pickle of protocol 2 to 5, as far as it is seen in the beginning."""
        plain = _PLAIN_PICKLE.match(self.head) and not _LEGACY_TORCH.match(self.head)
        return pickles.read(self.head) if plain else None


@attrs.frozen
class FolderLook:
    """A folder: the names in it, and its files at any depth, :data:`MOST_FILES` of them and one at most."""

    names: frozenset[str]
    files: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path) -> FolderLook:
        """List a folder; raises ``OSError`` where it is none. Links to folders are not followed."""
        names = frozenset(os.listdir(path))
        files: list[Path] = []
        for folder, _, inside in os.walk(path):
            files.extend(Path(folder, name) for name in inside)
            if len(files) > MOST_FILES:
                break
        return cls(names, tuple(files[: MOST_FILES + 1]))

    def any_ends(self, endings: Iterable[str]) -> bool:
        """Whether a name in it ends with one of these."""
        return any(name.endswith(tuple(endings)) for name in self.names)
