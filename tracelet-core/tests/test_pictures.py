"""A picture is shown where a browser can draw it, and its size is said where that would fill the memory."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from making import write
from PIL import Image

from tracelet.core.display.pictures import MOST_PIXELS, Canvas, canvas_of
from tracelet.core.display.previews import Kind, preview_html, preview_of

KINDS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP")
HUGE = 60_000


def picture(kind: str, width: int = 40, height: int = 30, **how: object) -> bytes:
    there = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(there, kind, **how)
    return there.getvalue()


def moving(kind: str, frames: int) -> bytes:
    there = io.BytesIO()
    first, *others = [Image.new("RGB", (40, 30), (number * 8, 255 - number * 8, 99)) for number in range(frames)]
    first.save(there, kind, save_all=True, append_images=others)
    return there.getvalue()


def larger(kind: str, width: int, height: int) -> bytes:
    """A small picture of which the header says that it is large."""
    data = picture(kind)
    old, new = {
        "PNG": (struct.pack(">2I", 40, 30), struct.pack(">2I", width, height)),
        "JPEG": (struct.pack(">2H", 30, 40), struct.pack(">2H", height, width)),
        "GIF": (struct.pack("<2H", 40, 30), struct.pack("<2H", width, height)),
        "BMP": (struct.pack("<2i", 40, 30), struct.pack("<2i", width, -height)),
        "AVIF": (b"ispe" + struct.pack(">3I", 0, 40, 30), b"ispe" + struct.pack(">3I", 0, width, height)),
        "WEBP": (struct.pack("<2H", 40, 30), struct.pack("<2H", min(width, 0x3FFF), min(height, 0x3FFF))),
    }[kind]
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize("kind", KINDS)
def test_how_large_a_picture_is_its_header_says(kind: str) -> None:
    assert canvas_of(picture(kind)) in {Canvas(40, 30, times) for times in (1, 3)}


@pytest.mark.parametrize(
    "data",
    [
        picture("WEBP", lossless=True),
        picture("WEBP", exif=b"Exif\0\0"),
        b"BM" + bytes(12) + struct.pack("<I2H", 12, 40, 30),
        b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6) + b"," + struct.pack("<4HB", 30, 20, 10, 10, 0x80),
    ],
)
def test_a_format_has_several_headers(data: bytes) -> None:
    assert canvas_of(data) == Canvas(40, 30)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (moving("GIF", 30), 30),
        (moving("PNG", 30), 30),
        (moving("WEBP", 30), 30),
        (picture("JPEG", progressive=True), 10),
    ],
)
def test_what_is_drawn_again_and_again_is_counted(data: bytes, times: int) -> None:
    assert canvas_of(data) == Canvas(40, 30, times)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_would_fill_the_memory_says_how_large_it_is(tmp_path: Path, kind: str) -> None:
    found = preview_of(write(tmp_path / "file", larger(kind, HUGE, HUGE)), "plot")
    side = "16,383" if kind == "WEBP" else "60,000"
    assert (found.kind, found.left_out) == (Kind.NOTHING, f"{side} x {side} pixels: too large to show")
    assert "<img" not in preview_html(found, "plot").markup


def test_small_frames_without_end_are_as_much_as_a_large_picture(tmp_path: Path) -> None:
    frame = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    content = b"GIF89a" + struct.pack("<2H", 3_000, 3_000) + b"\0\0\0" + b"!\xf9\x04\0\0\0\0\0" + frame * 1_000 + b";"
    found = preview_of(write(tmp_path / "file", content), "run.gif")
    assert found.left_out == "3,000 x 3,000 pixels, 1,000 times: too large to show"


def test_what_cameras_and_plots_give_is_shown() -> None:
    for canvas in (Canvas(6_000, 4_000, 12), Canvas(8_000, 5_000), Canvas(640, 480, 900)):
        assert canvas.weight <= MOST_PIXELS


@given(st.binary(max_size=60))
@example(b"")
@example(bytes(40))
@example(b"GIF89a" + bytes(4) + b"\x80")
@example(b"BM" + bytes(30))
def test_whatever_follows_a_beginning_is_a_size_or_none(rest: bytes) -> None:
    heads = (
        b"\x89PNG",
        b"\xff\xd8",
        b"GIF89a",
        b"RIFF",
        b"RIFF    WEBPVP8X",
        b"RIFF    WEBPVP8L",
        b"    ftypavif",
        b"BM",
    )
    for head in (*heads, b""):
        found = canvas_of(head + rest)
        assert found is None or found.weight >= 0
