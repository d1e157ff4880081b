"""Images in the PNG format, by the specification of the W3C."""

from __future__ import annotations

import struct
import zlib

__all__ = ["COLOUR_TYPES", "encode"]

#: The format's colour type by the number of channels: grey, colour, colour with transparency.
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def encode(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """Encode 8-bit pixels, row by row, of 1, 3 or 4 channels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    row = width * channels
    # Each row begins with the number of its filter; 0 is no filter.
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
