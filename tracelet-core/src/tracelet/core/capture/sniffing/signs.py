"""The signs that rules are made of: each is a question to a look, and says in words what it asks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from tracelet.core.capture.sniffing import pickles
from tracelet.core.capture.sniffing.looking import FileLook, FolderLook

__all__ = [
    "Sign",
    "any_file_ends",
    "archive",
    "arrays",
    "atom",
    "binary",
    "contains",
    "ends",
    "folder_has",
    "folder_with_ending",
    "json_with",
    "markup",
    "named",
    "named_like",
    "one_object",
    "onnx",
    "partitioned",
    "pickled",
    "safetensors",
    "starts",
    "starts_like",
    "text",
    "tfrecord",
    "torch",
    "word",
]

L = TypeVar("L")


@attrs.frozen
class Sign(Generic[L]):
    """A question to a look at a file or a folder, its words, and the marks and expressions that it looks for.

    An expression meets whatever a file holds: it takes no longer than its text is long. What it repeats without end
    it gives back nothing of (``*+``), or nothing else may follow that could be a part of it.
    """

    words: str
    seen: Callable[[L], bool]
    looks_for: tuple[bytes | str | re.Pattern[str] | re.Pattern[bytes], ...] = ()

    def __and__(self, other: Sign[L]) -> Sign[L]:
        words = f"{_whole(self.words)}, and {_whole(other.words)}"
        return Sign(words, lambda look: self.seen(look) and other.seen(look), (*self.looks_for, *other.looks_for))

    def __or__(self, other: Sign[L]) -> Sign[L]:
        words = f"{self.words}; or {other.words}"
        return Sign(words, lambda look: self.seen(look) or other.seen(look), (*self.looks_for, *other.looks_for))

    def called(self, words: str) -> Sign[L]:
        """Return the same question in shorter words."""
        return attrs.evolve(self, words=words)


def _whole(words: str) -> str:
    return f"({words})" if "; or " in words else words


def _shown(data: bytes) -> str:
    return f"`{repr(data)[2:-1]}`"


def starts(*beginnings: bytes, at: int = 0) -> Sign[FileLook]:
    """The content has one of these at a place."""
    where = f"at byte {at}" if at else "at the start"
    return Sign(
        f"{' or '.join(map(_shown, beginnings))} {where}",
        lambda look: any(look.head[at : at + len(one)] == one for one in beginnings),
        tuple(bytes(at) + one for one in beginnings),
    )


def ends(ending: bytes) -> Sign[FileLook]:
    """The content ends with this."""
    return Sign(f"{_shown(ending)} at the end", lambda look: look.tail.endswith(ending), (ending,))


def contains(*marks: bytes) -> Sign[FileLook]:
    """One of these is somewhere in the beginning."""
    shown = " or ".join(map(_shown, marks))
    return Sign(f"{shown} in the first 16 KB", lambda look: any(mark in look.head for mark in marks), marks)


def named(*endings: str) -> Sign[FileLook]:
    """The name ends with one of these, in whatever case."""
    shown = ", ".join(f"`{one}`" for one in endings)
    return Sign(f"name ends with {shown}", lambda look: look.name.endswith(endings), endings)


def named_like(pattern: str, words: str) -> Sign[FileLook]:
    """The whole name, in lower case, is like this pattern."""
    compiled = re.compile(pattern)
    return Sign(f"name is {words}", lambda look: compiled.fullmatch(look.name) is not None, (compiled,))


def word(*words: str) -> Sign[FileLook]:
    """The name has one of these words."""
    wanted = frozenset(words)
    return Sign(
        f"name has the word {', '.join(f'`{one}`' for one in words)}", lambda look: bool(wanted & look.words), words
    )


text: Sign[FileLook] = Sign("content is text", lambda look: look.text is not None)
binary: Sign[FileLook] = Sign("content is no text", lambda look: look.text is None)


def starts_like(pattern: str, words: str) -> Sign[FileLook]:
    """Text that begins like this pattern, after white space, in whatever case."""
    compiled = re.compile(rf"(?:{pattern})", re.IGNORECASE)
    return Sign(
        f"text that begins with {words}", lambda look: compiled.match(look.after_space) is not None, (compiled,)
    )


def markup(pattern: str, words: str) -> Sign[FileLook]:
    """Text that begins like this pattern after comments and declarations, in whatever case."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return Sign(
        f"text that begins with {words}, after comments and declarations",
        lambda look: compiled.match(look.after_prolog) is not None,
        (compiled, "<!-- a -->", "<!--[-->", "<?xml version='1.0'?>"),
    )


_OBJECT = re.compile(r'\{\s*+(?:\}|"(?:[^"\\]|\\.)*+"\s*+:)')


def json_with(*keys: str) -> Sign[FileLook]:
    """Text that begins as an object of JSON, and has one of these keys in its beginning, if any are given."""
    has = f" with the key {' or '.join(f'`{key}`' for key in keys)} in its first 16 KB" if keys else ""
    wanted = re.compile(rf'"(?:{"|".join(keys)})"\s*+:')

    def seen(look: FileLook) -> bool:
        content = look.after_space
        return _OBJECT.match(content) is not None and (not keys or wanted.search(content) is not None)

    return Sign(f"text that begins as a JSON object{has}", seen, (_OBJECT, wanted, *(f'{{"{key}":' for key in keys)))


#: Bytes of JSON that are parsed at the cost of a step.
_PARSED = 32


def _is_one_object(look: FileLook) -> bool:
    if look.size > len(look.head) or not _OBJECT.match(look.after_space) or not look.budget.take(look.size // _PARSED):
        return False
    try:
        json.loads(look.text or "")
    except (ValueError, RecursionError):
        return False
    return True


one_object: Sign[FileLook] = Sign(
    "one JSON object of 16 KB at most is the whole text", _is_one_object, (_OBJECT, '{"a":[', '{"a":', "9")
)


def archive(*names: str) -> Sign[FileLook]:
    """A zip archive that has an entry of each of these names, in whichever folder."""
    shown = " and ".join(f"`{name}`" for name in names)
    return Sign(f"zip archive with {shown}", lambda look: all(name in look.entries for name in names), names)


arrays: Sign[FileLook] = Sign(
    "zip archive of `.npy` files only",
    lambda look: bool(look.entries) and all(name.endswith(".npy") for name in look.entries),
    ("a.npy",),
)


def torch(words: str, holds: Callable[[pickles.Node], bool]) -> Sign[FileLook]:
    """A file of torch whose top object is such."""
    return Sign(words, lambda look: look.torch is not None and holds(look.torch), ("data.pkl",))


def pickled(words: str, holds: Callable[[pickles.Node], bool]) -> Sign[FileLook]:
    """A pickle whose top object is such."""
    return Sign(words, lambda look: look.pickle is not None and holds(look.pickle), (b"\x80\x02",))


def atom(*brands: bytes) -> Sign[FileLook]:
    """A file of the ISO base media format (ISO/IEC 14496-12) whose major brand is one of these."""
    shown = ", ".join(map(_shown, brands))
    return Sign(
        f"`ftyp` at byte 4 of brand {shown}",
        lambda look: look.head[4:8] == b"ftyp" and look.head[8:12] in brands,
        tuple(b"\0\0\0\x18ftyp" + brand for brand in brands),
    )


_HEADER = re.compile(rb'\{\s*+["}]')


def _is_safetensors(look: FileLook) -> bool:
    length = int.from_bytes(look.head[:8], "little")
    return 2 <= length <= look.size - 8 and _HEADER.match(look.head[8:16]) is not None


safetensors: Sign[FileLook] = Sign(
    "the length of a header in 8 bytes, which fits the file, and its JSON object after it",
    _is_safetensors,
    (_HEADER, b'\x08\0\0\0\0\0\0\0{"', b"\xff" * 7 + b'\x7f{"'),
)

#: The fields of ModelProto in onnx.proto: which are numbers (wire type 0) and which have a length (wire type 2).
_ONNX = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_ONNX_VERSION, _ONNX_GRAPH = 1, 7


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of protocol buffers; raises ``IndexError`` where the data end."""
    value = 0
    for count in range(10):
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise IndexError("it is longer than a number can be")


def _is_onnx(look: FileLook) -> bool:
    """Go from field to field, as far as the beginning of the file goes, to the graph."""
    at = 0
    seen = set()
    try:
        while at < look.size:
            key, at = _varint(look.head, at)
            field, kind = key >> 3, key & 7
            if _ONNX.get(field) != kind:
                return False
            value, at = _varint(look.head, at)
            if field == _ONNX_VERSION and not 1 <= value <= 100:
                return False
            at += value if kind else 0
            seen.add(field)
            if at > look.size:
                return False
            if {_ONNX_VERSION, _ONNX_GRAPH} <= seen:
                return True
    except IndexError:
        return False
    return False


onnx: Sign[FileLook] = Sign(
    "fields of ONNX's ModelProto from the first byte to the graph",
    _is_onnx,
    (b"\x08\x0a", b"\x12\0", b":\xff\xff\xff\xff\x7f"),
)


def _crc32c(data: bytes) -> int:
    """The checksum of Castagnoli, which the standard library does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _is_tfrecord(look: FileLook) -> bool:
    if look.size < 16:
        return False
    crc = _crc32c(look.head[:8])
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return int.from_bytes(look.head[8:12], "little") == masked


tfrecord: Sign[FileLook] = Sign(
    "the length of a record in 8 bytes, and its masked CRC-32C after it",
    _is_tfrecord,
    (bytes(8) + b"\x29\x03\x98\x07",),
)


def folder_has(*names: str) -> Sign[FolderLook]:
    """One of these is in the folder."""
    wanted = frozenset(names)
    return Sign(f"has {' or '.join(f'`{name}`' for name in names)}", lambda look: bool(wanted & look.names), names)


def folder_with_ending(*endings: str) -> Sign[FolderLook]:
    """A name in the folder ends with one of these."""
    return Sign(f"has {' or '.join(f'`*{one}`' for one in endings)}", lambda look: look.any_ends(endings), endings)


_PARTITION = re.compile(r"[^=]++=.*")

partitioned: Sign[FolderLook] = Sign(
    "has folders as `key=value`", lambda look: any(map(_PARTITION.fullmatch, look.names)), (_PARTITION,)
)


def any_file_ends(*endings: str) -> Sign[FolderLook]:
    """The name of a file in it, at any depth, ends with one of these."""
    return Sign(
        f"has {' or '.join(f'`*{one}`' for one in endings)} at any depth",
        lambda look: any(file.name.endswith(endings) for file in look.files),
        endings,
    )
