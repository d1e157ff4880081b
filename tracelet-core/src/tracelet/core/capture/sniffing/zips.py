"""The names in a zip archive, read off the directory at its end, as APPNOTE.TXT 6.3 describes it (4.3.12 to 4.3.16).

Where its end is not to be had, they are read off the header before each content (4.3.7).

``zipfile`` reads all of a directory, however large it is said to be, before it tells of one name.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import BinaryIO

import attrs

from tracelet.core.capture.sniffing.budget import Budget

__all__ = ["Archive", "Entry"]

#: Bytes of the end in which the end of the directory is looked for: its record, and the longest comment.
_END = 22 + 65_535
#: Bytes of a directory that are read.
_DIRECTORY = 1 << 20
#: Entries that are read: each costs more than an opcode does.
_ENTRIES = 10_000
#: Bytes that are unpacked, or read as they are, at the cost of a step, and bytes that are unpacked at most.
_UNPACKED, _READ = 200, 2000
_INFLATED = 1_000_000
_WHOLE = 0xFFFFFFFF


@attrs.frozen
class Entry:
    """A file of an archive: how it is packed, its checksum, its bytes there and unpacked, and where its own header is."""

    name: str
    method: int
    #: None where it stands behind the content.
    crc: int | None
    packed: int
    size: int
    start: int


@attrs.frozen
class Archive:
    """The first entries of an archive: all of them, unless there are more than the budget has room for."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, stream: BinaryIO, size: int, budget: Budget) -> Archive:
        """Read the directory of a file of so many bytes. Raises ``ValueError`` or ``struct.error`` where it is broken."""
        stream.seek(max(0, size - _END))
        tail = stream.read(_END)
        end = tail.rindex(b"PK\5\6")
        length, start = struct.unpack_from("<II", tail, end + 12)
        if _WHOLE in (length, start) and tail[end - 20 : end - 16] == b"PK\6\7":
            (record,) = struct.unpack_from("<Q", tail, end - 12)
            stream.seek(min(record, size))
            length, start = struct.unpack_from("<QQ", stream.read(56), 40)
        stream.seek(min(start, size))
        return cls(tuple(_entries(stream.read(min(length, _DIRECTORY)), budget)))

    @classmethod
    def begun(cls, content: bytes, budget: Budget) -> Archive:
        """Read the headers in the first bytes of an archive, of which the end is not to be had."""
        found = []
        at = 0
        for _ in itertools.islice(budget.spend(), _ENTRIES):
            at = content.find(b"PK\3\4", at)
            if at < 0 or at + 30 > len(content):
                break
            flags, method = struct.unpack_from("<HH", content, at + 6)
            crc, packed, size, name, extra = struct.unpack_from("<IIIHH", content, at + 14)
            shown = _name(content[at + 30 : at + 30 + name], flags)
            start, at = at, at + 30 + name + extra
            if flags & 0x8 or packed == _WHOLE:
                # It stands behind the content, or in the header's own extra part.
                found.append(Entry(shown, method, None, len(content), len(content), start))
            else:
                found.append(Entry(shown, method, crc, packed, size, start))
                at += packed
        return cls(tuple(found))

    def begin(self, stream: BinaryIO, entry: Entry, most: int, budget: Budget) -> bytes:
        """Return the first bytes of an entry, so many at most; raises as :meth:`of` does, and ``zlib.error``."""
        # An entry that says of itself that it is smaller than it is gives no more than it says.
        wanted = min(entry.size, most if entry.method == 0 else _INFLATED)
        if not wanted or not budget.take(wanted // (_READ if entry.method == 0 else _UNPACKED)):
            raise ValueError("it is empty, or more than may be looked at")
        stream.seek(entry.start)
        name, extra = struct.unpack_from("<HH", stream.read(30), 26)
        stream.seek(name + extra, 1)
        content = stream.read(min(entry.packed, wanted if entry.method == 0 else most))
        if entry.method == 8:
            content = zlib.decompressobj(-15).decompress(content, wanted)
        elif entry.method != 0:
            raise ValueError("it is packed in another way than zlib's")
        if entry.crc is not None and len(content) == entry.size and zlib.crc32(content) != entry.crc:
            raise ValueError("its content is damaged")
        return content


def _entries(directory: bytes, budget: Budget) -> list[Entry]:
    found, at = [], 0
    for _ in itertools.islice(budget.spend(), _ENTRIES):
        if directory[at : at + 4] != b"PK\1\2" or at + 46 > len(directory):
            break
        flags, method = struct.unpack_from("<HH", directory, at + 8)
        crc, packed, size, name, extra, comment = struct.unpack_from("<IIIHHH", directory, at + 16)
        (start,) = struct.unpack_from("<I", directory, at + 42)
        shown = _name(directory[at + 46 : at + 46 + name], flags)
        found.append(Entry(shown, method, crc, packed, size, start))
        at += 46 + name + extra + comment
    return found


def _name(raw: bytes, flags: int) -> str:
    return raw.decode("utf-8" if flags & 0x800 else "cp437", "replace")
