"""What the columns of a parquet file become in memory, told by the headers of their pages.

The end of a parquet file says how much is in it, and readers believe the pages: an end that says ten values may stand before a
page of billions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import attrs

__all__ = ["Column", "parquet_columns"]

#: Kinds of pages, and where their headers say what is in them.
_DATA, _DATA_2, _NONE = 0, 3, -1
_INSIDE = {_DATA: 5, _DATA_2: 8}
#: Where a header has the encoding, by the kind of page.
_ENCODING = {_DATA: 2, _DATA_2: 4}
_LONGEST_NUMBER = 10


@attrs.frozen
class Column:
    """One column of one group of rows."""

    #: Its values, with gaps, and with those in lists.
    values: int
    #: The bytes of its pages when they are unpacked, and those of the largest page. No text in it is longer than that.
    unpacked: int
    largest: int
    #: How its values are written, as the format numbers it.
    encodings: frozenset[int]


def parquet_columns(stream: BinaryIO, said: Any, group: int) -> list[Column]:
    """Read what the columns of a group of rows become.

    Args:
        stream: The file.
        said: What pyarrow has read at its end.
        group: The number of the group.

    Raises:
        ValueError: The pages are not what the end of the file says.
    """
    rows = said.row_group(group)
    chunks = [rows.column(number) for number in range(rows.num_columns)]
    if sum(chunk.total_compressed_size for chunk in chunks) > stream.seek(0, os.SEEK_END):
        raise ValueError("its columns are longer than the file")
    try:
        return [_column(stream, chunk) for chunk in chunks]
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError("it has pages that say nothing of what is in them") from error


def _column(stream: BinaryIO, chunk: Any) -> Column:
    values = unpacked = largest = 0
    encodings = set()
    pages = _pages(stream, chunk)
    # A reader stops where it has as many values as the end says, and not before the end of a page.
    while values < chunk.num_values:
        kind, header = next(pages, (_NONE, {}))
        if kind == _NONE:
            raise ValueError("it has fewer values than it says")
        unpacked += header[2]
        largest = max(largest, header[2])
        if kind in _INSIDE:
            inside = header[_INSIDE[kind]]
            if inside[1] < 0:
                raise ValueError("it has a page of less than no values")
            values += inside[1]
            encodings.add(inside[_ENCODING[kind]])
    return Column(values, unpacked, largest, frozenset(encodings))


def _pages(stream: BinaryIO, chunk: Any) -> Iterator[tuple[int, dict[int, Any]]]:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page:
        start = min(start, chunk.dictionary_page_offset)
    stream.seek(start)
    while stream.tell() < start + chunk.total_compressed_size:
        header = _struct(stream)
        if min(header[1], header[2], header[3]) < 0:
            raise ValueError("it has a page of less than nothing")
        yield header[1], header
        stream.seek(header[3], os.SEEK_CUR)


# -- the compact protocol of Thrift, of which a header is made

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_WHOLE = frozenset({4, 5, 6})


def _struct(stream: BinaryIO) -> dict[int, Any]:
    """Read the fields by their numbers: whole numbers and structs. Others are passed over."""
    found: dict[int, Any] = {}
    number = 0
    while (head := _byte(stream)) != 0:
        step, kind = head >> 4, head & 0xF
        number = number + step if step else _signed(stream)
        if kind in _WHOLE:
            found[number] = _signed(stream)
        elif kind == _STRUCT:
            found[number] = _struct(stream)
        elif kind in {_BYTE, _DOUBLE, _BINARY}:
            stream.seek({_BYTE: 1, _DOUBLE: 8}.get(kind) or _number(stream), os.SEEK_CUR)
        elif kind not in {_TRUE, _FALSE}:
            raise ValueError("it has a page without a header")
    return found


def _byte(stream: BinaryIO) -> int:
    data = stream.read(1)
    if not data:
        raise ValueError("it ends within a page")
    return data[0]


def _number(stream: BinaryIO) -> int:
    found = 0
    for place in range(_LONGEST_NUMBER):
        byte = _byte(stream)
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return found
    raise ValueError("it has a number without an end")


def _signed(stream: BinaryIO) -> int:
    found = _number(stream)
    return found >> 1 ^ -(found & 1)
