"""A manifest's JSON in pieces, so that the text of a hundred thousand files is never in memory at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.core.artifacts.plain import converter, dumps

__all__ = ["canonical", "lines_of", "taken_apart", "written"]

#: How many entries are plain data and text at a time.
_SOME = 500
#: Bytes: a longer line is not one of a file.
_LONGEST = 1 << 20
#: Writes the fields of one file as :func:`written` has them, in a tenth of the time of ``json.dumps`` with an indent.
_FIELDS = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",\n   ", ": "))
#: The lines around the files of a manifest, and at the end of each, in the text of :func:`written`.
_DEPTH_ONE = re.compile(rb" [^ ]")
_FILES, _NO_MORE, _END = b' "files": [', frozenset({b" ],", b" ]"}), frozenset({b"  },", b"  }"})


def canonical(document: Mapping[str, Any], files: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield canonical JSON of a document whose ``files`` are these, as :func:`tracelet.core.artifacts.plain.dumps` writes it."""
    before = b"{"
    for key in sorted({*document, "files"}):
        yield before + dumps(key).encode() + b":"
        if key == "files":
            yield b"["
            comma = b""
            for some in _in_parts(files):
                yield comma + dumps(some)[1:-1].encode()
                comma = b","
            yield b"]"
        else:
            yield dumps(document[key]).encode()
        before = b","
    yield b"}"


def written(document: Mapping[str, Any], files: Sequence[ArtifactFile]) -> Iterator[str]:
    """Yield JSON of a document whose ``files`` are these, as ``dumps(…, indent=1)`` writes it."""
    before = "{"
    for key in sorted({*document, "files"}):
        yield f"{before}\n {dumps(key)}: "
        if key == "files" and files:
            bracket = "["
            for some in _in_parts(files):
                yield bracket + ",".join(map(_entry, some))
                bracket = ","
            yield "\n ]"
        else:
            yield dumps(document.get(key, []), indent=1).replace("\n", "\n ")
        before = ","
    yield "\n}"


def _entry(file: ArtifactFile) -> str:
    plain = converter().unstructure(file)
    if file.extra:  # what a later release wrote may be nested
        return "\n  " + dumps(plain, indent=1).replace("\n", "\n  ")
    return f"\n  {{\n   {_FIELDS.encode(plain)[1:-1]}\n  }}"


def _in_parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, _SOME)):
        yield some


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text that comes in blocks. Raises ``ValueError`` for a line that is longer than a file's."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST:
            raise ValueError("a line has no end")
        yield from lines
    yield rest


def taken_apart(
    lines: Iterable[bytes], loads: Callable[[str], Any], structure: Callable[[Any], ArtifactFile]
) -> tuple[str, list[ArtifactFile]]:
    """Read the lines that :func:`written` gave: return the text without the files, and each file as ``structure`` makes it.

    Another text, of the same meaning or not, may come out as anything: the digest of the whole tells. Raises ``ValueError``
    where the entries are no JSON.
    """
    around: list[bytes] = []
    files: list[ArtifactFile] = []
    some: list[bytes] = []
    ends = 0
    inside = passed = nested = False
    # Whether a comma says that another file comes.
    has_more = True
    for line in lines:
        if not inside:
            around.append(line)
            inside = line == _FILES and not passed and not nested
            passed = passed or inside
            if not inside and _DEPTH_ONE.match(line):
                nested = line.endswith((b"{", b"["))
            continue
        last = line in _NO_MORE
        if not last and not some and not has_more:
            raise ValueError("a comma is missing between two files")
        if last:
            around.append(line)
            inside = False
        else:
            some.append(line)
            ends += line in _END
        if some and (last or ends == _SOME):
            text = b"\n".join(some)
            has_more = text.endswith(b",")
            files += map(structure, loads(f"[{text.removesuffix(b',').decode()}]"))
            some, ends = [], 0
        if last and has_more and files:
            raise ValueError("a comma stands after the last file")
    return b"\n".join(around).decode(), files
