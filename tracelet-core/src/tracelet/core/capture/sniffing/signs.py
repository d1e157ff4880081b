"""The signs that rules are made of: each is a question to a look, and says in words what it asks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from tracelet.core.capture.packed_names import unpacked_name
from tracelet.core.capture.sniffing import pickles, protobufs
from tracelet.core.capture.sniffing.looking import FileLook, FolderLook

__all__ = [
    "Sign",
    "any_file_ends",
    "archive",
    "arrays",
    "atom",
    "binary",
    "contains",
    "core_ml",
    "ends",
    "folder_has",
    "folder_with_ending",
    "holds_its_name",
    "json_with",
    "markup",
    "named",
    "named_like",
    "numbers",
    "one_object",
    "onnx",
    "onnx_tensor",
    "partitioned",
    "pickled",
    "safetensors",
    "sentencepiece",
    "starts",
    "starts_like",
    "tar",
    "tensorflow_graph",
    "tensorrt",
    "text",
    "tfrecord",
    "torch",
    "webdataset",
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
        lambda look: look.head.startswith(beginnings, at),
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


def word(*words: str, without: tuple[str, ...] = ()) -> Sign[FileLook]:
    """The name has one of these words, and none of the others."""
    wanted, others = frozenset(words), frozenset(without)
    shown = f"name has the word {', '.join(f'`{one}`' for one in words)}"
    if without:
        shown += f" and not {', '.join(f'`{one}`' for one in without)}"
    return Sign(shown, lambda look: bool(wanted & look.words) and not others & look.words, words)


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


#: Rows of a text that are read as numbers, bytes of it at the cost of a step, and how many numbers are a table at least.
_ROWS, _READ, _FEWEST = 20, 16, 4
_BETWEEN = re.compile(r"[\s,;]+")


def _is_numbers(look: FileLook) -> bool:
    # The last line may be cut off.
    lines = (look.text or "").splitlines()[: -1 if look.size > len(look.head) else None]
    rows = [line for line in map(str.strip, lines) if line and line[0] not in "#%"][:_ROWS]
    if not look.budget.take(sum(map(len, rows)) // _READ):
        return False
    try:
        lengths = [len(list(map(float, _BETWEEN.split(row)))) for row in rows]
    except ValueError:
        return False
    return len(set(lengths)) == 1 and sum(lengths) >= _FEWEST


numbers: Sign[FileLook] = Sign(
    "text of rows of numbers, with as many in each row, and four at least",
    _is_numbers,
    (_BETWEEN, b"1 ", b"1\n", b"9" * 59, b"#\n"),
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


def _message(words: str, is_one: Callable[[bytes, int], bool], *marks: bytes) -> Sign[FileLook]:
    """A message of protocol buffers of one kind."""
    return Sign(words, lambda look: is_one(look.head, look.size), marks)


onnx = _message(
    "fields of ONNX's ModelProto from the first byte to the graph",
    protobufs.is_onnx,
    *(b"\x08\x0a", b"\x12\0", b":\xff\xff\xff\xff\x7f"),
)
onnx_tensor = _message(
    "fields of ONNX's TensorProto from the first byte to the content", protobufs.is_onnx_tensor, b"\x08\1", b"\x10\1J\0"
)
core_ml = _message(
    "fields of Core ML's Model from the first byte to the model", protobufs.is_core_ml, b"\x08\4\x12\0", b"P\0"
)
tensorflow_graph = _message(
    "a node with a name and an operation at the start", protobufs.is_tensorflow_graph, b"\n\x08\n\1x\x12\3Add"
)
sentencepiece = _message(
    "three pieces with scores at the start, as in SentencePiece's ModelProto, of which one is no text",
    protobufs.is_sentencepiece,
    b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02",
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


def _is_tensorrt(look: FileLook) -> bool:
    """An engine; some exporters put a length and their own JSON before it."""
    start = 4 + int.from_bytes(look.head[:4], "little") if look.head[4:5] == b"{" else 0
    return look.head[start : start + 4] in _ENGINES


_ENGINES = (b"ftrt", b"ptrt")

tensorrt: Sign[FileLook] = Sign(
    f"{' or '.join(map(_shown, _ENGINES))} at the start, or after a length in 4 bytes and so much JSON",
    lambda look: look.text is None and _is_tensorrt(look),
    (*_ENGINES, b"\x10\0\0\0{"),
)


def _is_webdataset(look: FileLook) -> bool:
    samples: list[tuple[str, set[str]]] = []
    for name in look.members:
        folder, _, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        key = f"{folder}/{stem}"
        if not samples or samples[-1][0] != key:
            samples.append((key, set()))
        samples[-1][1].add(suffix)
    # Of the last one not all may be seen.
    return len(samples) > 1 and all(stem and len(suffixes) > 1 for stem, suffixes in samples[:-1])


webdataset: Sign[FileLook] = Sign(
    "tar archive in which files of one stem follow each other, with several suffixes each, and there are several stems",
    _is_webdataset,
    (b"a.b".ljust(156, b"\0") + b"0" + bytes(100) + b"ustar" + bytes(250),),
)


def tar(name: str) -> Sign[FileLook]:
    """A tar archive that has a file of this name among the first, in whichever folder."""
    return Sign(
        f"tar archive with `{name}`",
        lambda look: any(one.rpartition("/")[2] == name for one in look.members),
        (name,),
    )


def _without_archive(name: str) -> str:
    return name.removesuffix(".zip").removesuffix(".tar")


def holds_its_name(*endings: str) -> Sign[FileLook]:
    """A zip or tar archive of one file, which is called as the archive is without its suffix, and ends with one of these."""

    def seen(look: FileLook) -> bool:
        names = look.members or tuple(entry.name for entry in look.archive.entries)
        stem = _without_archive(look.name)
        # pandas calls what is in a packed tar archive as the archive.
        return stem.endswith(endings) and [_without_archive(unpacked_name(name.lower())) for name in names] == [stem]

    shown = ", ".join(f"`{one}`" for one in endings)
    return Sign(f"zip or tar archive of one file, named as `a.csv` in `a.csv.zip`, with {shown}", seen, endings)


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
