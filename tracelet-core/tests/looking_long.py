"""Files that are made to cost whoever looks at them as much as can be; each of them, from what the rules look for."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard

from tracelet.core.capture.sniffing.rules import FILES, FOLDERS

#: More than what is read of a file's beginning.
LONG = 20_000
#: What a pump is followed by, so that what it began does not end well.
BREAKS = ("", "\0", "!", "<", '"')
_UNBOUNDED = re._constants.MAXREPEAT  # type: ignore[attr-defined]
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def parsed(pattern: re.Pattern[Any]) -> Any:
    return re._parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)  # type: ignore[attr-defined]


def children(argument: Any) -> Iterator[Any]:
    """The expressions in a node of a parsed one."""
    for part in argument if isinstance(argument, (tuple, list)) else ():
        if type(part).__name__ == "SubPattern":
            yield part
        else:
            yield from children(part)


def sample(tree: Iterable[tuple[Any, Any]]) -> str:
    """A text that is like an expression, as far as can be told in short."""
    text = ""
    for kind, argument in tree:
        name = str(kind)
        if name == "LITERAL":
            text += chr(argument)
        elif name in {"ANY", "NOT_LITERAL"}:
            text += "a"
        elif name == "IN":
            first, what = argument[0]
            text += {"LITERAL": lambda w: chr(w), "RANGE": lambda w: chr(w[0])}.get(str(first), lambda w: " ")(what)
        elif name in _REPEATS:
            text += sample(argument[2]) * max(1, argument[0])
        else:
            text += sample(next(children(argument), ()))
    return text


def pumps(tree: Iterable[tuple[Any, Any]], before: str = "") -> Iterator[tuple[str, str]]:
    """What brings an expression to each of its repeats, and what goes round in it."""
    for kind, argument in tree:
        if str(kind) in _REPEATS and argument[1] == _UNBOUNDED:
            yield before, sample(argument[2])
        for inner in children(argument):
            yield from pumps(inner, before)
        before += sample([(kind, argument)])


def faults(pattern: re.Pattern[Any]) -> list[str]:
    """Why an expression may take longer than its text is long: what it repeats can be divided in many ways."""

    def walk(tree: Any, inside: bool) -> Iterator[str]:
        for kind, argument in tree:
            name = str(kind)
            repeats = name in _REPEATS and argument[1] == _UNBOUNDED
            gives_back = repeats and name != "POSSESSIVE_REPEAT"
            if repeats and inside:
                yield "a repeat in a repeat"
            if gives_back:
                yield "gives back"
            for inner in children(argument):
                yield from walk(inner, inside or repeats)

    found = list(walk(parsed(pattern), False))
    # One alone is tried once for each place of its text; two would be tried once for each pair of them.
    return [one for one in found if one != "gives back"] + found[1:] * (found.count("gives back") > 1)


def contents(looked_for: bytes | str | re.Pattern[Any]) -> Iterator[bytes]:
    if isinstance(looked_for, re.Pattern):
        for (before, pump), end in itertools.product(pumps(parsed(looked_for)), BREAKS):
            yield (before + pump * LONG + end).encode()
            yield ((before + pump) * LONG + end).encode()
        looked_for = sample(parsed(looked_for)).encode()
    mark = looked_for if isinstance(looked_for, bytes) else looked_for.encode()
    yield mark * LONG
    yield mark[:-1] * LONG
    yield mark + b" " * LONG
    yield mark + mark[-1:] * LONG
    yield b" " * LONG + mark


def named(rule: Any) -> list[str]:
    texts = [one for one in rule.told.looks_for if isinstance(one, str) and len(one) < 60 and "/" not in one]
    return ["file", *(f"file{one}" if one.startswith(".") else one for one in texts)]


def adversaries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every rule's files, made from what it looks for."""
    numbers = itertools.count()
    for rule in FILES:
        for looked_for in rule.told.looks_for:
            for content in contents(looked_for):
                for name in {named(rule)[0], named(rule)[-1]}:
                    target = folder / str(next(numbers)) / name
                    target.parent.mkdir(parents=True)
                    target.write_bytes(content[: 2 * LONG])
                    yield f"{rule.what}: {looked_for!r}", target
            target = folder / f"{next(numbers)}.gz"
            target.write_bytes(gzip.compress(next(contents(looked_for)), 1))
            yield f"{rule.what}: packed {looked_for!r}", target
            # An archive is asked for whole names, and not for suffixes.
            if isinstance(looked_for, str) and not looked_for.startswith("."):
                target = folder / f"{next(numbers)}.zip"
                directory_of_many(target, looked_for)
                yield f"{rule.what}: an archive of many {looked_for!r}", target


def directory_of_many(path: Path, name: str) -> None:
    """An archive that says of very many entries that they are in it, in different folders."""
    raw = [f"{number}/{name}".encode() for number in range(12_000)]
    header = b"PK\x01\x02" + bytes(16) + bytes(8)
    entries = b"".join(header + struct.pack("<HHHHHII", len(one), 0, 0, 0, 0, 0, 0) + one for one in raw)
    start = b"PK\x03\x04" + bytes(26)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65_535, 65_535, len(entries), len(start), 0)
    path.write_bytes(start + entries + end)


LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


def text(key: str) -> bytes:
    return b"X" + struct.pack("<I", len(key)) + key.encode()


#: Pickles of a million bytes: what a stack, a memo and marks can be made to do.
PICKLES = {
    "marks": b"(" * 1_000_000,
    "dicts": b"}" * 1_000_000,
    "tuples in tuples": b")" + b"\x85" * 1_000_000,
    "marks with something": b"(N" * 500_000,
    "one thing at many places": b"]q\0" + b"h\0" * 500_000,
    "imports": b"ca\nb\n" * 200_000,
    "lines": b"I1" * 500_000,
    "numbers as text": b"I" + b"9" * 999_990 + b"\n.",
    "a number of two gigabytes": b"\x8b\xff\xff\xff\x7f",
    "a text of four gigabytes": b"X\xff\xff\xff\xff",
    "bytes of many exabytes": b"\x8e" + b"\xff" * 8,
    "a length below zero": b"T" + struct.pack("<i", -5),
    "one list under every key": b"}(" + text("epoch") + b"K\x01" + text("l") + b"]q\x01(" + b"N" * 9000 + b"e"
    + b"".join(text(f"model{n}") + b"]h\x01a" for n in range(3000)) + b"u.",
    "one dict of tensors under every key": b"}(" + text("l") + b"}q\x01("
    + b"".join(text(f"t{n}") + b"ctorch._utils\n_rebuild_tensor\n)R" for n in range(1500)) + b"u"
    + b"".join(text(f"k{n}") + b"h\x01" for n in range(3000)) + b"u.",
    "one list of many lists under every key": b"}(" + text("l") + b"](" + b"]" * 8000 + b"eq\x01"
    + b"".join(text(f"k{n}") + b"h\x01" for n in range(8000)) + b"u.",
    "one dict of many dicts under every key": b"}(" + text("epoch") + b"K\x01" + text("d") + b"}("
    + b"".join(text(f"d{n}") + b"}" for n in range(6000)) + b"uq\x01"
    + b"".join(text(f"model{n}") + b"h\x01" for n in range(6000)) + b"u.",
    "one list of optimizers that never began under every key": b"}(" + text("l") + b"](" + b"}" * 300 + b"eq\x01"
    + b"".join(text("".join(c.upper() if n >> i & 1 else c for i, c in enumerate("optimizers"))) + b"h\x01"
    for n in range(1024)) + b"u.",
}  # fmt: skip


def header_of_tar(length: int) -> bytes:
    """A header of a file that is said to be so long."""
    said = f"{length:011o}\0".encode() if length < 8 * 2**30 else b"\x80" + length.to_bytes(11, "big")
    return b"a.b".ljust(124, b"\0") + said + bytes(20) + b"0" + bytes(100) + b"ustar\x0000" + bytes(247)


def liars(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of known formats whose own numbers lie, and others that are strange as a whole."""

    def made(name: str, content: bytes) -> tuple[str, Path]:
        (folder / name).write_bytes(content)
        return name, folder / name

    for number, (name, opcodes) in enumerate(PICKLES.items()):
        yield made(f"torch-{number}-{name}.pt", LEGACY + b"\x80\x02" + opcodes)
        yield made(f"plain-{number}-{name}.pkl", b"\x80\x02" + opcodes)
        with zipfile.ZipFile(folder / f"{number}.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/data.pkl", b"\x80\x02" + opcodes)
        yield f"archive of {name}", folder / f"{number}.pt"
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x/data.pkl", "w") as stream:
            stream.write(b"\x80\x02")
            for _ in range(60):
                stream.write(b"(" * 1_000_000)
        with archive.open("schema.json", "w") as stream:
            for _ in range(60):
                stream.write(b" " * 1_000_000)
    yield "an archive of 120 MB in 1", folder / "bomb.pt"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 4, 1)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2**63, 2**63, 2**63, 2**63)
    yield made("directory.zip", b"PK\x03\x04" + record + locator + end)
    yield made("ends.zip", b"PK\x03\x04" + b"PK\x05\x06" * 20_000)
    yield made("header.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b"{" * LONG)
    yield made("header.safetensors", struct.pack("<Q", 2**63 - 1) + b'{"a":' + b"[" * LONG)
    yield made("counts.gguf", b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + bytes(LONG))
    yield made("fields.onnx", b"\x08\x0a" + b"\x12\0" * LONG)
    yield made("numbers.onnx", b"\x08" + b"\xff" * LONG)
    yield made("deep.json", b'{"a":' * LONG)
    yield made("digits.json", b'{"a":' + b"9" * LONG + b"}")
    yield made("deep.yaml", b"- " * LONG)
    yield made("line.csv", b"a," * 5_000_000)
    yield made("text.bin", b"\xff\xfe" + b"\xd8\0" * LONG)
    yield made("headers.tar", header_of_tar(0) * 10_000)
    yield made("length.tar", header_of_tar(8 * 2**30 - 1) * 10)
    yield made("long_length.tar", header_of_tar(2**88 - 1) * 10)
    yield made("pieces.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x01" * LONG)
    with (folder / "sparse.pt").open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(1 << 40)
    yield "a terabyte of nothing", folder / "sparse.pt"


GZIP = b"\x1f\x8b\x08" + bytes(7)
ARCHIVE = b"PK\x03\x04"


def blocks_of_deflate() -> bytes:
    """Eight blocks with tables as large as can be, in which nothing is."""
    fields = [(0, 1), (2, 2), (29, 5), (0, 5), (14, 4), *((length, 3) for length in [0, 0, 1, *[0] * 14, 1])]
    # The lengths of codes: for a byte that is 0, for the end of a block, for one distance, and zeros between them.
    fields += [(0, 1), (1, 1), (127, 7), (1, 1), (106, 7), (0, 1), (1, 1), (18, 7), (0, 1), (1, 1)]
    block = size = 0
    for value, width in fields:
        block |= value << size
        size += width
    return sum(block << (size * number) for number in range(8)).to_bytes(size, "little")


def blocks_of_bzip2() -> bytes:
    """Very many blocks of one byte each."""
    bits = f"{int.from_bytes(bz2.compress(b'a'), 'big'):b}"
    block = bits[31 : bits.index(f"{0x177245385090:048b}")]
    return b"BZh9" + int(block * 8 * 4000, 2).to_bytes(len(block) * 4000, "big")


def blocks_of_xz(dictionary: int) -> bytes:
    """Very many blocks without content, with a dictionary of a size that is a code."""
    header = bytes([2, 0, 0x21, 1, dictionary, 0, 0, 0])
    block = header + struct.pack("<I", zlib.crc32(header)) + bytes(4)
    return b"\xfd7zXZ\0\0\0" + struct.pack("<I", zlib.crc32(bytes(2))) + block * 50_000


def bombs() -> dict[str, bytes]:
    """What is packed and costs whoever unpacks it."""
    much, noise = bytes(30_000_000), random.Random(0).randbytes(1_500_000)
    lz4_header, zstd_header = lz4.frame.compress(b"")[:7], b"\x28\xb5\x2f\xfd\0"
    begun = zlib.compressobj(wbits=-15)
    archive = begun.compress(ARCHIVE + bytes(LONG)) + begun.flush(zlib.Z_SYNC_FLUSH)
    return {
        "gzip of much": gzip.compress(much),
        "bzip2 of much": bz2.compress(much),
        "xz of much": lzma.compress(much, preset=0),
        "zstd of much": zstandard.compress(much),
        "LZ4 of much": lz4.frame.compress(much, block_size=lz4.frame.BLOCKSIZE_MAX4MB),
        "gzip in gzip": gzip.compress(gzip.compress(gzip.compress(much))),
        "bzip2 of noise": bz2.compress(ARCHIVE + noise),
        "bzip2 of less noise": bz2.compress(ARCHIVE + noise[:450_000]),
        "LZ4 of noise": lz4.frame.compress(ARCHIVE + noise, block_size=lz4.frame.BLOCKSIZE_MAX4MB),
        "bzip2 of a file of torch, and noise": bz2.compress(LEGACY + b"\x80\x02" + b"(" * LONG + noise[:400_000]),
        "gzip of headers of entries": gzip.compress((ARCHIVE + bytes(26)) * LONG),
        "gzip of beginnings of entries": gzip.compress(ARCHIVE * LONG),
        "gzip of headers of tar": gzip.compress(header_of_tar(0) * 1000),
        "gzip of files in tar": gzip.compress(header_of_tar(LONG) + noise),
        "bzip2 of files in tar": bz2.compress(header_of_tar(LONG) + noise[:400_000]),
        "gzip of a name without an end": b"\x1f\x8b\x08\x08" + b"a" * 3_000_000,
        "gzip of blocks without content": GZIP + b"\0\0\0\xff\xff" * 200_000,
        "gzip of tables": GZIP + blocks_of_deflate() * 40_000,
        "gzip of an archive, and tables": GZIP + archive + blocks_of_deflate() * 40_000,
        "bzip2 of small blocks": blocks_of_bzip2(),
        "xz of blocks without content": blocks_of_xz(28),
        "xz with a dictionary of four gigabytes": blocks_of_xz(40),
        "LZMA with a dictionary of two gigabytes": b"]\0\0\0\x80" + b"\xff" * 8 + bytes(9999),
        "zstd with a window of two gigabytes": zstd_header + b"\xa8" + b"\3\0\0a" * 9,
        "zstd of large blocks": zstd_header + b"\x88" + b"\2\0\x10a" * 90_000,
        "zstd of blocks without content": zstd_header + b"\x58" + bytes(900_000),
        "LZ4 of blocks without content": lz4_header + b"\1\0\0\0\0" * 900_000,
        "LZ4 of blocks of one byte": lz4_header + b"\1\0\0\x80a" * 900_000,
        **{f"gzip of a pickle of {what}": gzip.compress(b"\x80\x02" + one, 1) for what, one in PICKLES.items()},
    }


def packed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of :func:`bombs`."""
    for number, (what, content) in enumerate(bombs().items()):
        (folder / str(number)).write_bytes(content)
        yield what, folder / str(number)


def unpacking() -> bytes:
    """An archive whose pickle says little, in a million bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02X\xff\xff\xff\x7f" + bytes(1_000_000))
    return packed.getvalue()


#: What a thousand files of one folder may have in them, by what it is and their suffix.
FILLINGS = {
    "space": b" " * 16_384,
    "objects of JSON": b'{"a":[' + b"1," * 8000 + b"1]}",
    "archives": unpacking(),
    "packed files": gzip.compress(random.Random(0).randbytes(40_000)),
    "packed blocks": bz2.compress(random.Random(0).randbytes(100_000)),
    "files of tar": header_of_tar(0) * 32,
    "rows of numbers.txt": b"1 " * 8192,
}


def folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folders with as much in them, or as deep, as can be."""
    wide, deep, hostile = folder / "wide", folder / "deep", folder / "hostile"
    for number in range(3000):
        (wide / str(number)).mkdir(parents=True)
    yield "a folder of folders", wide
    inner = deep
    for _ in range(300):
        inner = inner / "d"
    inner.mkdir(parents=True)
    (inner / "up").symlink_to(deep)
    yield "a folder that is deep, and has itself in it", deep
    hostile.mkdir()
    for number in range(100):
        (hostile / f"{number}.pt").write_bytes(LEGACY + b"\x80\x02" + b"(" * 300_000)
    yield "a folder of files that cost as much as they can", hostile
    for what, content in FILLINGS.items():
        full = folder / what
        full.mkdir()
        for number in range(1000):
            (full / f"{number}{full.suffix}").write_bytes(content)
        yield f"a folder of {what}", full
    assert FOLDERS
