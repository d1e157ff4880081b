"""What one sees of a stored file without opening it: a picture, a sound, the first rows of a table, the first lines of a text.

A file is untrusted. Pictures, sounds and videos are told by their content alone, and are only ever the source of an ``img``,
``audio`` or ``video`` element, in which nothing runs. All else is shown as text. What is read, parsed and shown has bounds.
"""

from __future__ import annotations

import base64
import codecs
import csv
import enum
import io
import itertools
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from tracelet.core.display.drawings import is_drawable
from tracelet.core.display.html import Html, element, table
from tracelet.core.display.pictures import MOST_PIXELS, canvas_of
from tracelet.core.display.words import size
from tracelet.core.system.files import open_regular
from tracelet.core.system.messages import many
from tracelet.core.system.parquet import Column, parquet_columns

__all__ = ["MOST_BYTES", "Kind", "Preview", "preview_html", "preview_of", "promise"]

#: The bytes of the largest file that is shown as it is, where a caller says nothing else.
MOST_BYTES = 1_000_000
#: Of text: the bytes that are read, and the lines and characters that are shown.
_READ, _LINES, _CHARACTERS = 65_536, 40, 4_000
#: Of tables: the rows and columns that are shown, and the characters of a cell.
_ROWS, _COLUMNS, _CELL = 10, 12, 80
#: The bytes that the beginning of a compressed table may become, and those that its first rows may. A value in a list
#: counts as some hundred bytes, and as many as its column has of text.
_UNPACKED, _FIRST = 64_000_000, 200_000_000
_IN_A_LIST = 100
#: The release of pyarrow since when a column's type cannot be a pickle.
_SAFE_SINCE = (14, 0, 1)
_HEAD = 4_096


class Kind(enum.Enum):
    """What a preview is."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TABLE = "table"
    JSON = "json"
    TEXT = "text"
    NOTHING = "nothing"


@attrs.frozen
class Preview:
    """What is shown of one file, as plain data. None of it is markup."""

    kind: Kind
    #: Of an image, a sound or a video: its media type, which is one of ours, and its bytes.
    media: str = ""
    data: bytes = attrs.field(default=b"", repr=False)
    #: Of a table.
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    #: Of text and JSON.
    text: str = ""
    #: What is not shown, in words: ``10 of 1,000 rows``, or why there is nothing to see. Empty where all is shown.
    left_out: str = ""

    @property
    def url(self) -> str:
        """The media as a ``data:`` URL, for the source of an ``img``, ``audio`` or ``video`` element."""
        return f"data:{self.media};base64,{base64.b64encode(self.data).decode()}"


#: How likely a name's ending makes it that there is something to see, best first.
_ENDINGS = (
    (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp", ".svg"),
    (".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".webm", ".ogv"),
    (".csv", ".tsv", ".parquet"),
    (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".txt", ".md", ".log", ".jsonl", ".py", ".html", ".xml"),
)


def promise(name: str) -> int | None:
    """Return how much a file's name promises to show: 0 is a picture. None promises nothing worth fetching it for."""
    return next((rank for rank, endings in enumerate(_ENDINGS) if name.lower().endswith(endings)), None)


def preview_of(path: Path, name: str, most_bytes: int = MOST_BYTES) -> Preview:
    """Return what to show of a file.

    Args:
        path: The file on this machine.
        name: Its path in the artifact. It tells apart what content cannot: CSV from other text.
        most_bytes: The size of the largest image, sound, video or Parquet file to show. Of text the beginning is shown,
            whatever its size.
    """
    try:
        with open_regular(path) as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            return _preview(stream, name.lower(), length, most_bytes)
    except OSError as error:
        return _nothing(f"it cannot be read: {error.strerror or error}")


def _preview(stream: BinaryIO, name: str, length: int, most_bytes: int) -> Preview:
    beginning = stream.read(_READ)
    found = _media(beginning[:_HEAD], name, length)
    packed = beginning.startswith(b"PAR1")
    if (found or packed) and length > most_bytes:
        return _nothing(f"{size(length)}: too large to show")
    if found:
        kind, media = found
        data = beginning + stream.read(most_bytes)
        canvas = canvas_of(data) if kind is Kind.IMAGE and media != _DRAWING else None
        if canvas is not None and canvas.weight > MOST_PIXELS:
            return _nothing(f"{canvas}: too large to show")
        if media != _DRAWING or is_drawable(data):
            return Preview(kind, media, data)
    if packed:
        return _parquet(io.BytesIO(beginning + stream.read(most_bytes)))
    whole = length <= len(beginning)
    text = _text(beginning, whole=whole)
    if text is None:
        return _nothing("there is no preview of this kind of file")
    if name.endswith((".csv", ".tsv")):
        return _csv(text, "\t" if name.endswith(".tsv") else None, whole=whole)
    if name.endswith(".json") and whole:
        return _json(text)
    lines = _lines(Kind.TEXT, text, whole=whole)
    return attrs.evolve(lines, left_out="as text: drawing it could take long") if found else lines


def _nothing(why: str) -> Preview:
    return Preview(Kind.NOTHING, left_out=why)


# -- media

_DRAWING = "image/svg+xml"
_IMAGES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("image/png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("image/gif", lambda head: head.startswith((b"GIF87a", b"GIF89a"))),
    ("image/webp", lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP"),
    ("image/avif", lambda head: head[4:12] in {b"ftypavif", b"ftypavis"}),
)
#: The header of a frame of layer III, with a bit rate that there is.
_MP3 = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x00-\xef]")
_SOUNDS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("audio/wav", lambda head: head.startswith(b"RIFF") and head[8:12] == b"WAVE"),
    ("audio/flac", lambda head: head.startswith(b"fLaC")),
    ("audio/mpeg", lambda head: head.startswith(b"ID3") or _MP3.match(head) is not None),
    ("audio/mp4", lambda head: head[4:12] == b"ftypM4A "),
    ("audio/ogg", lambda head: head.startswith(b"OggS") and b"theora" not in head),
)
_VIDEOS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("video/mp4", lambda head: head[4:8] == b"ftyp"),
    ("video/webm", lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head[:64]),
    ("video/ogg", lambda head: head.startswith(b"OggS")),
)


def _media(head: bytes, name: str, length: int) -> tuple[Kind, str] | None:
    """What kind of media a file is, by how it begins; that is of our own words, whatever the file is called."""
    for kind, known in ((Kind.IMAGE, _IMAGES), (Kind.AUDIO, _SOUNDS), (Kind.VIDEO, _VIDEOS)):
        for media, begins in known:
            if begins(head):
                return kind, media
    if head.startswith(b"BM") and int.from_bytes(head[2:6], "little") == length:
        return Kind.IMAGE, "image/bmp"
    # As an image it runs nothing and reaches nothing; what it may cost is seen when it is read.
    if name.endswith(".svg") and b"<svg" in head and b"<html" not in head.lower():
        return Kind.IMAGE, _DRAWING
    return None


# -- tables


def _csv(text: str, delimiter: str | None, *, whole: bool) -> Preview:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or max(",;\t", key=first.count))
    try:
        rows = list(itertools.islice(filter(None, reader), _ROWS + 2))
    except csv.Error:
        rows = []
    more = len(rows) > _ROWS + 1 or not whole
    # Where reading ended within the file, the last row may end within a cell.
    rows = rows[: -1 if more else None]
    if not rows:
        return _lines(Kind.TEXT, text, whole=whole)
    header, *body = rows
    width = max(map(len, rows))
    left_out = [f"the first {many(len(body), 'row', 'rows')}"] if more else []
    left_out += [f"{_COLUMNS} of {width:,} columns"] if width > _COLUMNS else []
    return Preview(
        Kind.TABLE,
        columns=_cells(header),
        rows=tuple(_cells(row) for row in body),
        left_out=", ".join(left_out),
    )


def _parquet(stream: io.BytesIO) -> Preview:
    try:
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        return _nothing("its rows are shown where pyarrow is installed")
    if tuple(map(int, re.findall(r"\d+", pyarrow.__version__)[:3])) < _SAFE_SINCE:
        return _nothing(f"its rows are shown by pyarrow {'.'.join(map(str, _SAFE_SINCE))} or later")
    try:
        file = parquet.ParquetFile(stream)
        names, count = file.schema_arrow.names, file.metadata.num_rows
        if count and _is_too_much(parquet_columns(stream, file.metadata, 0), file.schema):
            return _nothing("its first rows are too large to unpack")
        batches = file.iter_batches(_ROWS, row_groups=[0] if count else [], columns=names[:_COLUMNS])
        columns = [column.to_pylist() for batch in itertools.islice(batches, 1) for column in batch.columns]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        return _nothing(f"it is no table that can be read ({type(error).__name__})")
    rows = tuple(_cells([str(value) for value in row]) for row in zip(*columns, strict=True))
    shown = ((len(rows), count, "rows"), (_COLUMNS, len(names), "columns"))
    return Preview(
        Kind.TABLE,
        columns=_cells(names),
        rows=rows,
        left_out=", ".join(f"{some} of {all_:,} {what}" for some, all_, what in shown if some < all_),
    )


def _is_too_much(columns: list[Column], schema: Any) -> bool:
    """Return whether the first rows of a parquet file may fill the memory: one row can be a list of billions."""
    most = 0
    for number, column in enumerate(columns):
        about = schema.column(number)
        text = max(about.length, column.largest) if "BYTE_ARRAY" in about.physical_type else 0
        in_lists = about.max_repetition_level > 0
        most += column.values * max(_IN_A_LIST, text) if in_lists else min(_ROWS, column.values) * text
    return sum(column.unpacked for column in columns) > _UNPACKED or most > _FIRST


def _cells(row: list[str]) -> tuple[str, ...]:
    return tuple(cell if len(cell) <= _CELL else f"{cell[:_CELL]}…" for cell in row[:_COLUMNS])


# -- text


def _text(beginning: bytes, *, whole: bool) -> str | None:
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning, final=whole)
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def _json(text: str) -> Preview:
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return _lines(Kind.TEXT, text, whole=True)
    return _lines(Kind.JSON, shown, whole=True)


def _lines(kind: Kind, text: str, *, whole: bool) -> Preview:
    lines = text.splitlines()
    shown = "\n".join(lines[:_LINES])
    cut = not whole or len(lines) > _LINES or len(shown) > _CHARACTERS
    # JSON can name halves of characters, which no page can hold.
    fit = shown[:_CHARACTERS].encode(errors="replace").decode()
    return Preview(kind, text=fit, left_out="only the beginning is shown" if cut else "")


# -- as HTML


def preview_html(preview: Preview, name: str) -> Html:
    """Return a preview as one HTML element, with the file's name for those who do not see it."""
    if preview.kind is Kind.IMAGE:
        return element("img", src=preview.url, alt=name, loading="lazy", decoding="async")
    if preview.kind in {Kind.AUDIO, Kind.VIDEO}:
        return element(preview.kind.value, src=preview.url, controls="", preload="metadata", aria_label=name)
    if preview.kind is Kind.TABLE:
        return table(preview.columns, preview.rows)
    if preview.kind is Kind.NOTHING:
        return element("p", preview.left_out)
    return element("pre", preview.text)
