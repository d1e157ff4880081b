"""One look at a file or a folder: what of it is read, and how much."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import BinaryIO

import attrs

from tracelet.core.artifacts.local_files import OWN_FOLDER
from tracelet.core.capture.packed_names import unpacked_name
from tracelet.core.capture.sniffing import pickles, tars
from tracelet.core.capture.sniffing.budget import Budget
from tracelet.core.capture.sniffing.unpacking import NO_TEXT, is_packed, unpack
from tracelet.core.capture.sniffing.zips import Archive, Entry

__all__ = ["FOLDERS_STEPS", "MOST_FILES", "FileLook", "FolderLook"]

#: Bytes that are read from the start of a file.
_HEAD = 16_384
#: Bytes more that are unpacked of a zip archive or a file of torch, and of a tar archive, whose names lie between contents.
_MORE, _MEMBERS = 49_152, 114_688
#: The size of what is not unpacked to its end: more than anything has, and less than text says that is taken for a number.
_UNKNOWN = 1 << 40
#: Bytes of a pickle whose opcodes are read.
_PICKLE = 4_000_000
#: Bytes of a plain pickle whose opcodes are read, and how many are read at the cost of a step.
_PLAIN, _READ = 1_000_000, 2000
#: Bytes that are read from the end of a file.
_TAIL = 16
#: Files of a folder that are looked at.
MOST_FILES = 1000
#: Entries of a folder, at any depth, that are listed.
_MOST_ENTRIES = 10_000
#: What it costs to begin to list a folder, in entries.
_LISTING = 5
#: Steps for a file, and for all files of a folder.
_STEPS = 25_000
FOLDERS_STEPS = 4 * _STEPS

#: ``NO_TEXT`` of characters, for UTF-16.
_NO_UTF_16 = re.compile(NO_TEXT.pattern.decode("latin-1"))
_WORDS = re.compile(r"[a-z]+")
_NO_SPACE = re.compile(r"\S")
#: What reading a broken archive raises.
_BROKEN = (OSError, ValueError, OverflowError, struct.error, zlib.error)
#: How torch's older format begins: a pickle, of whichever protocol, of the number 0x1950a86a20f9469cfc6c; two more
#: follow before the object's own.
_LEGACY_TORCH = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
#: Where the object's own pickle is under way at least, and how that ends: a pickle of a list follows.
_LEGACY_START = 140
_LEGACY_END = b".\x80\x02]q\0"
#: What may stand before the first element of a document, and how each of these ends.
_PROLOG = {"<!--": "-->", "<?": "?>"}
#: How a pickle begins: with its protocol, or, of protocol 0 and 1, as one of an object, a dict or a list.
_PLAIN_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]++\n\w++\n[(pq]|\([dl]p\d++\n|[}\]]q\0")
_ZIP = b"PK\x03\x04"
#: Suffixes of files that are zip archives.
_ZIPPED = (".keras", ".skops", ".pt2", ".npz", ".mar", ".xlsx", ".docx", ".pptx")


def _wanted(head: bytes) -> int:
    """How much more is unpacked of what begins so: the names in an archive, and a pickle of torch, lie behind."""
    if tars.is_tar(head):
        return _MEMBERS
    return _MORE if head.startswith(_ZIP) or _LEGACY_TORCH.match(head) else 0


@attrs.frozen(slots=False)
class FileLook:
    """A regular file: its name in lower case, its size in bytes, how it begins and ends. The rest is read when asked for.

    Of a packed file all of this is of what is in it, as far as that can be unpacked.
    """

    path: Path
    name: str
    size: int
    head: bytes
    tail: bytes
    budget: Budget
    #: What was unpacked, where it is packed.
    unpacked: bytes | None = None

    @classmethod
    def at(cls, path: Path, budget: Budget | None = None) -> FileLook:
        """Open a file and read its beginning; raises ``OSError``, also for what is no regular file.

        A look at several files has one ``budget`` for them all.
        """
        # A FIFO without a writer would wait for one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            head = stream.read(_HEAD)
            stream.seek(max(0, status.st_size - _TAIL))
            tail = stream.read(_TAIL)
            name, budget = path.name.lower(), budget or Budget(_STEPS)
            inside = unpack(stream, head, _wanted, _HEAD, budget)
            if inside is None:
                return cls(path, name, status.st_size, head, tail, budget)
            content, size = inside.content, len(inside.content) if inside.whole else _UNKNOWN
            tail = content[-_TAIL:] if inside.whole else b""
            return cls(path, unpacked_name(name), size, content[:_HEAD], tail, budget, content)

    @property
    def unseen(self) -> bool:
        """Whether it holds what its name says, and that cannot be seen: it is packed, or an archive whose directory is cut off."""
        packed = is_packed(self.head) and unpacked_name(self.name) != self.name
        return packed or (self._cut and self.head.startswith(_ZIP) and self.name.endswith(_ZIPPED))

    @property
    def _cut(self) -> bool:
        """Whether only the beginning of it was unpacked."""
        return self.unpacked is not None and self.size == _UNKNOWN

    def _opened(self) -> BinaryIO:
        """Open it, or what was unpacked of it."""
        return self.path.open("rb") if self.unpacked is None else io.BytesIO(self.unpacked)

    @property
    def words(self) -> frozenset[str]:
        """The words of the name, without the suffix."""
        return frozenset(_WORDS.findall(PurePath(self.name).stem))

    @functools.cached_property
    def text(self) -> str | None:
        """How it begins, as text; None where it is no text."""
        # The last character may be cut off.
        errors = "ignore" if self.size > len(self.head) else "strict"
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):
            try:
                text = self.head.decode("utf-16", errors)
            except UnicodeDecodeError:
                return None
            return None if _NO_UTF_16.search(text) else text
        if NO_TEXT.search(self.head):
            return None
        try:
            return self.head.decode("utf-8-sig", errors)
        except UnicodeDecodeError:
            return self.head.decode("latin-1")

    @functools.cached_property
    def after_space(self) -> str:
        """How it begins, as text, after white space; empty where it is no text."""
        return (self.text or "").lstrip()

    @functools.cached_property
    def after_prolog(self) -> str:
        """What follows white space, comments and declarations in the beginning of a text; empty where it is no text."""
        text, at = self.after_space, 0
        while opening := next((one for one in _PROLOG if text.startswith(one, at)), None):
            closing = _PROLOG[opening]
            end = text.find(closing, at + len(opening))
            if end < 0:
                return ""
            more = _NO_SPACE.search(text, end + len(closing))
            at = more.start() if more else len(text)
        return text[at:]

    @functools.cached_property
    def archive(self) -> Archive:
        """The directory of a zip archive; an empty one where it is no zip archive, or a broken one."""
        if not self.head.startswith(_ZIP):
            return Archive(())
        try:
            with self._opened() as stream:
                if self._cut:
                    return Archive.begun(stream.read(), self.budget)
                return Archive.of(stream, self.size, self.budget)
        except _BROKEN:
            return Archive(())

    @functools.cached_property
    def entries(self) -> dict[str, Entry]:
        """The entries of a zip archive by their names without folders: of several, the one with the shortest path."""
        found: dict[str, Entry] = {}
        for entry in self.archive.entries:
            name = entry.name.rpartition("/")[2]
            if name not in found or len(entry.name) < len(found[name].name):
                found[name] = entry
        return found

    @functools.cached_property
    def members(self) -> tuple[str, ...]:
        """The names of the first files in a tar archive; none where it is no tar archive."""
        if not tars.is_tar(self.head):
            return ()
        try:
            with self._opened() as stream:
                return tars.names(stream, self.size, self.budget)
        except _BROKEN:
            return ()

    @functools.cached_property
    def torch(self) -> pickles.Node | None:
        """The top object of a file of torch, newer (a zip archive) or older; None for every other file."""
        entry = self.entries.get("data.pkl")
        try:
            with self._opened() as stream:
                if entry is not None:
                    content = self.archive.begin(stream, entry, _PICKLE, self.budget)
                    whole = len(content) == entry.size and not self._cut
                    return pickles.read(content, self.budget, end=content[-_TAIL:] if whole else b"")
                if _LEGACY_TORCH.match(self.head):
                    content = stream.read(_PICKLE)
                    over = content.find(_LEGACY_END, _LEGACY_START) + 1
                    end = content[max(0, over - _TAIL) : over]
                    return pickles.read(content[: over or None], self.budget, number=3, end=end)
        except _BROKEN:
            return None
        return None

    @functools.cached_property
    def pickle(self) -> pickles.Node | None:
        """The top object of a plain pickle, as far as it is seen."""
        if not _PLAIN_PICKLE.match(self.head) or _LEGACY_TORCH.match(self.head):
            return None
        content = self.head
        if self.size > len(content) and self.budget.take(_PLAIN // _READ):
            with contextlib.suppress(OSError), self._opened() as stream:
                content = stream.read(_PLAIN)
        return pickles.read(content, self.budget, end=self.tail)


@attrs.frozen
class FolderLook:
    """A folder: the names in it, and its files at any depth; no more folders are listed once there are enough of them."""

    names: frozenset[str]
    files: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path, *, follow_links: bool = False) -> FolderLook:
        """List a folder; raises ``OSError`` where it is none. Links to folders are followed only where that is said.

        Of a very large one, or of links that go in a circle, only the first entries are seen.
        """
        budget = Budget(_MOST_ENTRIES)
        names: list[str] = []
        files: list[Path] = []
        waiting = [path]
        while waiting and len(files) <= MOST_FILES and budget.take(_LISTING):
            folder = waiting.pop()
            with os.scandir(folder) as entries:
                for _, entry in zip(budget.spend(), entries, strict=False):
                    if entry.name == OWN_FOLDER:
                        continue
                    if folder == path:
                        names.append(entry.name)
                    if entry.is_dir(follow_symlinks=follow_links):
                        waiting.append(Path(entry.path))
                    else:
                        files.append(Path(entry.path))
        return cls(frozenset(names), tuple(files))

    def any_ends(self, endings: Iterable[str]) -> bool:
        """Whether a name in it ends with one of these."""
        return any(name.endswith(tuple(endings)) for name in self.names)
