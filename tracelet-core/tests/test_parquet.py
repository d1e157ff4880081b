"""What a parquet file becomes in memory is told by its pages, whatever its end says."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracelet.core.system.parquet import Column, parquet_columns

PLAIN, DICTIONARY = 0, 8


def file_of(table: Any, **how: Any) -> bytes:
    there = io.BytesIO()
    pyarrow.parquet.write_table(table, there, **how)
    return there.getvalue()


def told(data: bytes, group: int = 0) -> list[Column]:
    return parquet_columns(io.BytesIO(data), pyarrow.parquet.read_metadata(io.BytesIO(data)), group)


def number(value: int, length: int = 0) -> bytes:
    """A whole number as Thrift writes it, on so many bytes at least."""
    rest = value << 1 ^ (value >> 63)
    found = bytearray()
    while rest > 0x7F or len(found) < length - 1:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def ended(data: bytes, old: int, new: int) -> bytes:
    """A file whose end has another number where it has this one."""
    length = struct.unpack("<I", data[-8:-4])[0] + 8
    body, end = data[:-length], data[-length:]
    assert number(old) in end
    return body + end.replace(number(old), number(new, len(number(old))))


def header(kind: int = 0, unpacked: int = 20, packed: int = 20, values: int = 7) -> bytes:
    """The header of a page with numbers of Thrift's other kinds in it, which say nothing."""
    inside = b"\x15" + number(values) + b"\x15" + number(PLAIN) + b"\0"
    return (b"\x15" + number(kind) + b"\x15" + number(unpacked) + b"\x15" + number(packed)) + (
        b"\x2c" + inside + b"\x01" + number(20) + b"\x13\x07" + b"\x17" + bytes(8) + b"\x18\x02ab\0"
    )


def test_the_columns_of_each_group_are_what_their_pages_say() -> None:
    table = pyarrow.table({"a": [1, 2, 3], "b": [["x", "y"], ["x"] * 5, ["z" * 90]]})
    for version in ("1.0", "2.0"):
        data = file_of(table, row_group_size=2, data_page_version=version)
        numbers, texts = told(data)
        assert (numbers.values, texts.values) == (2, 7)
        assert numbers.encodings == texts.encodings == {DICTIONARY}
        assert texts.largest <= texts.unpacked
        assert told(data, 1)[1].largest >= 90
    (plain, _) = told(file_of(table, use_dictionary=False))
    assert (plain.values, plain.encodings) == (3, {PLAIN})


def test_an_end_that_makes_little_of_the_pages_is_not_believed() -> None:
    listed = pyarrow.ListArray.from_arrays([0, 3_000_000], pyarrow.array(numpy.zeros(3_000_000, "i1")))
    data = ended(file_of(pyarrow.table({"a": listed}), data_page_size=2**30), 3_000_000, 10)
    said = pyarrow.parquet.read_metadata(io.BytesIO(data)).row_group(0).column(0).num_values
    assert said == 10
    assert told(data)[0].values > 1_000_000


def test_an_end_that_makes_more_of_them_is_an_error() -> None:
    data = file_of(pyarrow.table({"a": [5] * 999}), use_dictionary=False)
    with pytest.raises(ValueError, match="it has fewer values than it says"):
        told(ended(data, 999, 1_999))
    length = pyarrow.parquet.read_metadata(io.BytesIO(data)).row_group(0).column(0).total_compressed_size
    with pytest.raises(ValueError, match="its columns are longer than the file"):
        told(ended(data, length, 8_000))


def replaced(page: bytes) -> bytes:
    """A file with another beginning of its only page."""
    data = file_of(pyarrow.table({"a": list(range(99))}), use_dictionary=False)
    return data[:4] + page + data[4 + len(page) :]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (header() * 2, "fewer values|say nothing"),
        (header(values=-7), "a page of less than no values"),
        (header(unpacked=-1), "a page of less than nothing"),
        (header(packed=-1), "a page of less than nothing"),
        (header(kind=1), "fewer values|say nothing"),
        (b"\0", "say nothing of what is in them"),
        (b"\x19", "a page without a header"),
        (b"\x15" + b"\xff" * 11, "a number without an end"),
        (b"\x18" + b"\xff\xff\x3f", "it ends within a page"),
        (b"\x18" + b"\xff" * 9 + b"\x7f", "say nothing of what is in them"),
        (b"\x1c" * 400, "say nothing|without a header|ends within"),
    ],
)
def test_pages_that_are_made_up_are_an_error(page: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        told(replaced(page))


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert told(replaced(header(values=99)))[0] == Column(99, 20, 20, frozenset({PLAIN}))


@given(st.binary(max_size=200))
@example(b"\x1c" * 200)
def test_whatever_a_page_begins_with_is_read_or_refused(page: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert told(replaced(page))
