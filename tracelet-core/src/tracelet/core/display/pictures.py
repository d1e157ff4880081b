"""What a picture costs to draw, told by its header: a few hundred bytes can stand for billions of pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import attrs

__all__ = ["MOST_PIXELS", "Canvas", "canvas_of"]

#: Pixels of one picture.
MOST_PIXELS = 40_000_000
#: How often a picture is drawn that costs no more than one that is drawn once: frames of one that moves, and passes in which
#: one becomes finer.
_OFTEN = 25

#: The header of a JPEG's frame, wherever it is: of several, a reader may take any.
_FRAME = re.compile(
    rb"(?=\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\x00[\x0b\x0e\x11\x14][\x08\x0c](.{4})[\x01-\x04])", re.DOTALL
)
_EXTENT = re.compile(rb"(?=ispe.{4}(.{8}))", re.DOTALL)
#: Of a GIF: what follows its header, and what follows the one of a frame.
_SCREEN, _PLACE = 7, 9


@attrs.frozen
class Canvas:
    """How large a picture is, and how often it is drawn until all of it was seen."""

    width: int
    height: int
    times: int = 1

    @property
    def weight(self) -> int:
        """The pixels, and more where they are drawn very often."""
        return self.width * self.height * max(self.times, _OFTEN) // _OFTEN

    def __str__(self) -> str:
        often = f", {self.times:,} times" if self.times > _OFTEN else ""
        return f"{self.width:,} x {self.height:,} pixels{often}"


def canvas_of(data: bytes) -> Canvas | None:
    """Return how large a picture is, or more. None is one that says no size, which no browser draws.

    It reads PNG, JPEG, GIF, WebP, AVIF and BMP.
    """
    if data.startswith(b"\x89PNG"):
        return _sized(_of(data[16:20], "big"), _of(data[20:24], "big"), data.count(b"fcTL"))
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"GIF8"):
        return _gif(data)
    if data.startswith(b"RIFF"):
        return _webp(data)
    if data[4:8] == b"ftyp":
        extents = [Canvas(_of(found[1][:4], "big"), _of(found[1][4:], "big")) for found in _EXTENT.finditer(data)]
        return max(extents, key=lambda one: one.width * one.height, default=None)
    if data.startswith(b"BM"):
        wide = 4 if _of(data[14:18], "little") > 12 else 2
        return _sized(_of(data[18 : 18 + wide], "little"), abs(_signed(data[18 + wide : 18 + 2 * wide])))
    return None


def _of(data: bytes, order: Literal["big", "little"]) -> int:
    return int.from_bytes(data, order)


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=len(data) == 4)


def _sized(width: int, height: int, times: int = 1) -> Canvas | None:
    return Canvas(width, height, max(1, times)) if width and height else None


def _jpeg(data: bytes) -> Canvas | None:
    sizes = [(_of(found[1][2:], "big"), _of(found[1][:2], "big")) for found in _FRAME.finditer(data)]
    width, height = max(sizes, key=lambda one: one[0] * one[1], default=(0, 0))
    return _sized(width, height, data.count(b"\xff\xda"))


def _webp(data: bytes) -> Canvas | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return _sized(1 + _of(data[24:27], "little"), 1 + _of(data[27:30], "little"), data.count(b"ANMF"))
    if kind == b"VP8L":
        sides = _of(data[21:25], "little")
        return Canvas(1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF))
    return _sized(_of(data[26:28], "little") & 0x3FFF, _of(data[28:30], "little") & 0x3FFF)


def _gif(data: bytes) -> Canvas | None:
    width, height, frames = _of(data[6:8], "little"), _of(data[8:10], "little"), 0
    for place in _places(data):
        left, top, across, down = (_of(place[at : at + 2], "little") for at in range(0, 8, 2))
        # A frame that is larger than the screen makes that as large.
        width, height, frames = max(width, left + across), max(height, top + down), frames + 1
    return _sized(width, height, frames)


def _places(data: bytes) -> Iterator[bytes]:
    """Yield where the frames of a GIF are, as its bytes say it."""
    at = 6 + _SCREEN + _colours(data[10:11])
    while (block := data[at : at + 1]) in {b",", b"!"}:
        if block == b",":
            place = data[at + 1 : at + 1 + _PLACE]
            yield place
            at += 1 + _PLACE + _colours(place[8:]) + 1
        else:
            at += 2
        while length := _of(data[at : at + 1], "little"):
            at += 1 + length
        at += 1


def _colours(flags: bytes) -> int:
    """Return how long the table of colours is that these flags tell of."""
    told = _of(flags, "little")
    return 3 << 1 + (told & 7) if told & 0x80 else 0
