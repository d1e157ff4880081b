"""Images that are not what their names say, each in its own way: Pillow raises something else for nearly every one."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + _chunk(b"IEND", b"")


def write_odd_images(folder: Path) -> list[str]:
    """Write them into a folder that is made; return their names, in order.

    A chunk whose type is none (SyntaxError), a header of billions of pixels (DecompressionBombError, which is no kind of
    any other), a file that ends in its header, data that are not compressed (OSError), and no image at all.
    """
    rows = zlib.compress(b"".join(b"\0" + bytes(24) for _ in range(8)))
    half = len(rows) // 2
    odd = {
        "bomb.png": _png(60_000, 60_000, _chunk(b"IDAT", rows)),
        "chunk.png": _png(8, 8, _chunk(b"IDAT", rows[:half]), _chunk(b"\1\2\3\4", b"x")),
        "cut.png": _png(8, 8, _chunk(b"IDAT", rows))[:30],
        "data.png": _png(8, 8, _chunk(b"IDAT", b"no zlib at all")),
        "none.png": b"no image at all",
    }
    folder.mkdir(parents=True)
    for name, content in odd.items():
        (folder / name).write_bytes(content)
    return sorted(odd)
