"""Messages of protocol buffers, told by their fields: which come at their top, and in which wire type.

A message says nothing of what it is, and almost any few bytes are a message of some kind. So each question here knows what
its kind has to begin with, and ends at the first field that its kind does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

__all__ = ["is_core_ml", "is_onnx", "is_onnx_tensor", "is_sentencepiece", "is_tensorflow_graph"]

_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}

#: The fields of ModelProto in onnx.proto, and their wire types.
_ONNX = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_ONNX_VERSION, _ONNX_GRAPH = 1, 7
#: The fields of TensorProto in onnx.proto that are always of this wire type. Lists of numbers may be packed or not.
_TENSOR = {2: 0, 6: 2, 8: 2, 9: 2, 12: 2, 13: 2, 14: 0}
_TENSOR_LISTS = (1, 4, 5, 7, 10, 11)
_TENSOR_KIND, _TENSOR_CONTENT = 2, (4, 5, 6, 7, 9, 10, 11)
#: Of Model in Core ML's Model.proto: its version, its description, whether it can be updated. Each kind of model has a field of its own.
_CORE_ML = {1: _NUMBER, 2: _BYTES, 10: _NUMBER}
_CORE_ML_KINDS = range(200, 4000)
#: In sentencepiece_model.proto: kinds of pieces that are no text of the language. One of them comes first.
_CONTROL = (2, 3)
#: Pieces that are looked at.
_PIECES = 3
_LARGEST_VERSION = 100
_OPERATION = re.compile(rb"\w+")


@attrs.frozen
class _Field:
    """A field: its number and its wire type; its value, which is a length where it has content, and where that begins."""

    number: int
    wire: int
    value: int
    at: int

    def content(self, data: bytes) -> bytes:
        return data[self.at : self.at + self.value]


def _fields(data: bytes, size: int) -> Iterator[_Field]:
    """Yield the fields of a message of ``size`` bytes, as far as its beginning goes and they fit it."""
    at = 0
    while at < len(data):
        try:
            key, at = _varint(data, at)
            wire = key & 7
            if wire in _FIXED:
                value, start = _FIXED[wire], at
            elif wire in (_NUMBER, _BYTES):
                value, start = _varint(data, at)
            else:
                return
        except IndexError:
            return
        at = start if wire == _NUMBER else start + value
        if at > size:
            return
        yield _Field(key >> 3, wire, value, start)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number and say where it ends; raises ``IndexError`` where the data end before."""
    value = 0
    for count in range(10):
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise IndexError("it is longer than a number can be")


def is_onnx(data: bytes, size: int) -> bool:
    """Tell whether it is a model of ONNX: there are fields of one until its graph."""
    seen: set[int] = set()
    for field in _fields(data, size):
        if _ONNX.get(field.number) != field.wire:
            return False
        if field.number == _ONNX_VERSION and not 1 <= field.value <= _LARGEST_VERSION:
            return False
        seen.add(field.number)
        if {_ONNX_VERSION, _ONNX_GRAPH} <= seen:
            return True
    return False


def is_onnx_tensor(data: bytes, size: int) -> bool:
    """Tell whether it is a tensor of ONNX: it has a kind, and there are fields of one until its content."""
    kind = False
    for field in _fields(data, size):
        if field.number not in _TENSOR_LISTS and _TENSOR.get(field.number) != field.wire:
            return False
        if field.number == _TENSOR_KIND:
            kind = 1 <= field.value <= _LARGEST_VERSION
        if kind and field.number in _TENSOR_CONTENT:
            return True
    return False


def is_core_ml(data: bytes, size: int) -> bool:
    """Tell whether it is a model of Core ML: a version and a description come before one of the kinds of models."""
    seen: set[int] = set()
    for field in _fields(data, size):
        if field.number in _CORE_ML_KINDS and field.wire == _BYTES:
            return {1, 2} <= seen
        if _CORE_ML.get(field.number) != field.wire:
            return False
        if field.number == 1 and not 1 <= field.value <= _LARGEST_VERSION:
            return False
        seen.add(field.number)
    return False


def is_tensorflow_graph(data: bytes, size: int) -> bool:
    """Tell whether it is a graph of TensorFlow: its first node has a name and an operation."""
    first = next(_fields(data, size), None)
    if first is None or (first.number, first.wire) != (1, _BYTES):
        return False
    node = first.content(data)
    parts = [
        (one.number, one.wire, one.content(node)) for one, _ in zip(_fields(node, first.value), "12", strict=False)
    ]
    return [part[:2] for part in parts] == [(1, _BYTES), (2, _BYTES)] and _OPERATION.fullmatch(parts[1][2]) is not None


def is_sentencepiece(data: bytes, size: int) -> bool:
    """Tell whether it is a model of SentencePiece: pieces come first, each with a score, and some are no text."""
    kinds = []
    for field, _ in zip(_fields(data, size), range(_PIECES), strict=False):
        if (field.number, field.wire) != (1, _BYTES):
            return False
        piece = {one.number: one for one in _fields(field.content(data), field.value)}
        if [(number, one.wire) for number, one in piece.items()][:2] != [(1, _BYTES), (2, _FOUR_BYTES)]:
            return False
        kinds.append(piece[3].value if 3 in piece else 1)
    return len(kinds) == _PIECES and any(kind in _CONTROL for kind in kinds)
