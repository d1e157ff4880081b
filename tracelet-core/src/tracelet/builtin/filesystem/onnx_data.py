"""Which files an ONNX model keeps its tensors in, read from the model itself, as onnx.proto3 describes it.

Fields are passed from one to the next, and only those are looked into that can hold a tensor: a file takes no longer
than it has such fields, and never more than so many.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

__all__ = ["external_locations"]

#: Fields that are read at most; a model of thousands of tensors has a hundred thousand.
_MOST_FIELDS = 400_000
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

#: For each message: its fields that are messages which can hold a tensor, by their numbers.
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def external_locations(path: Path) -> frozenset[str]:
    """Return the locations that the tensors of a model name, as they are written there.

    It raises nothing: what is no model, or a broken one, names none, or those that were read until then.
    """
    found: set[str] = set()
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for key, value in _entries(data):
                if key == b"location":
                    found.add(value.decode())
    except (OSError, ValueError, IndexError):
        pass
    return frozenset(found)


def _entries(data: mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    waiting = [("Model", 0, len(data))]
    left = _MOST_FIELDS
    while waiting:
        message, at, end = waiting.pop()
        if message == "Entry":
            pair = {number: data[start:stop] for number, start, stop in _fields(data, at, end)}
            left -= len(pair)
            yield pair.get(1, b""), pair.get(2, b"")
            continue
        inner = _MESSAGES[message]
        for number, start, stop in _fields(data, at, end):
            left -= 1
            if left < 0:
                return
            if number in inner:
                waiting.append((inner[number], start, stop))


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give the number of each field that has a length, and where it begins and ends."""
    while at < end:
        key, at = _number(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _number(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _LENGTH:
            length, at = _number(data, at)
            if at + length > end:
                raise ValueError("a field ends behind the message that it is in")
            yield key >> 3, at, at + length
            at += length
        else:
            raise ValueError("there is no such kind of field")


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("it is longer than a number can be")
