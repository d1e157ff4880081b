"""The names of the first files in a tar archive, as POSIX.1-2017 (pax) and GNU tar lay it out: a header before each content.

There is no directory: each name is found by going past the content before it.
"""

from __future__ import annotations

from typing import BinaryIO

from tracelet.core.capture.sniffing.budget import Budget

__all__ = ["MOST_FILES", "is_tar", "names"]

#: Headers that are read.
MOST_FILES = 100
_BLOCK = 512
#: What it costs to read a header, in steps.
_HEADER = 10
_FILES = (b"0", b"\0", b"7")


def is_tar(head: bytes) -> bool:
    """Tell whether it begins as an archive, or as a header in one."""
    return head[257:262] == b"ustar"


def names(stream: BinaryIO, size: int, budget: Budget) -> tuple[str, ...]:
    """Return the names of the first files of an archive of so many bytes; where it is broken, those before.

    Of a name of more than 100 bytes only a part is seen.
    """
    found = []
    at = 0
    for _ in range(MOST_FILES):
        if at >= size or not budget.take(_HEADER):
            break
        stream.seek(at)
        header = stream.read(_BLOCK)
        if not is_tar(header):
            break
        if header[156:157] in _FILES:
            found.append(header[:100].partition(b"\0")[0].decode("utf-8", "replace"))
        at += _BLOCK + -(-_length(header[124:136]) // _BLOCK) * _BLOCK
    return tuple(found)


def _length(field: bytes) -> int:
    """The length of the content: octal digits, or, beyond eight gigabytes, a number of 11 bytes."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    return int(digits, 8) if digits.isdigit() else 0
