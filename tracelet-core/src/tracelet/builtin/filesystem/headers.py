"""Which files the header of an image or a mesh names, or has beside it by its format: read from a beginning of it.

They raise nothing: what is no such header, or a broken one, names none.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["gltf_names", "image_names", "metaimage_names", "nrrd_names", "obj_names", "openvino_names"]

#: Bytes of a header that are read; of glTF, which must be read whole, it may be more.
_LONGEST = 1_000_000
_LARGEST_GLTF = 16_000_000
#: Names that are taken of one.
_MOST_NAMES = 10_000

#: Bytes at the start of Analyze and of NIfTI in two files: the length of the header.
_ANALYZE = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")
_NIFTI2 = (b"\x1c\x02\0\0ni2\0", b"\0\0\x02\x1cni2\0")
_ENVI = re.compile(rb"ENVI\s*\n")
_ESRI = re.compile(rb"\s*(?:nrows|ncols|nbands|nbits|byteorder|layout)\s", re.IGNORECASE)
_RASTERS = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".flt")


def _beginning(path: Path, length: int = _LONGEST) -> bytes:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            return stream.read(length)
    except (OSError, EOFError, zlib.error, ValueError):
        return b""


def _like(head: Path, name: str, ending: str) -> str:
    """Give a name an ending, in capitals where the header's own is."""
    return name + (ending.upper() if head.suffix.isupper() else ending)


def image_names(head: Path) -> list[str]:
    """Return the file of the pixels of Analyze, of NIfTI in two files, of ENVI or of an ESRI grid: it has the header's stem."""
    return _voxels(head) or _raster(head)


def _voxels(head: Path) -> list[str]:
    start = _beginning(head, 348)
    packed = head.suffix if head.suffix.lower() == ".gz" else ""
    stem = Path(head.name.removesuffix(packed)).stem
    pair = start.startswith(_ANALYZE) and start[344:347] != b"n+1"
    return [_like(head, stem, ".img") + packed] if pair or start.startswith(_NIFTI2) else []


def _raster(head: Path) -> list[str]:
    start = _beginning(head, 4096)
    if not (_ENVI.match(start) or _ESRI.match(start)):
        return []
    names = [_like(head, head.stem, ending) for ending in _RASTERS]
    # As GDAL writes it, the header may be called by all of the file's name.
    likely = names[0 if Path(head.stem).suffix.lower() in _RASTERS[1:] else 1]
    return [next((one for one in names if head.with_name(one).is_file()), likely)]


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


def _counted(pattern: str, numbers: list[str]) -> list[str]:
    """Give the names of a pattern as `slice%03d.raw`, from a first number to a last one, in steps."""
    try:
        first, last, step = (int(one) for one in [*numbers[:3], "1"][:3])
        return [pattern % number for number in islice(range(first, last + (1 if step > 0 else -1), step), _MOST_NAMES)]
    except (TypeError, ValueError, MemoryError, OverflowError):
        return []


def _listed(value: str, more: Iterator[str]) -> list[str]:
    """Return the names that a MetaImage or an NRRD gives: one, those of a pattern, or one on each line that follows."""
    if value.partition(" ")[0].upper() == "LIST":
        return list(islice(more, _MOST_NAMES))
    found = re.fullmatch(r"(\S*%0?\d{0,2}d\S*)((?:\s+-?\d+){2,4})", value)
    return _counted(found[1], found[2].split()) if found else [value]


def metaimage_names(head: Path) -> list[str]:
    """Return the files that a MetaImage names after ``ElementDataFile``; ``LOCAL`` are its own bytes."""
    lines = _lines(_beginning(head).decode("utf-8", "replace"))
    for line in lines:
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "ElementDataFile" and value:
            return [] if value.upper() == "LOCAL" else _listed(value, lines)
    return []


def nrrd_names(head: Path) -> list[str]:
    """Return the files that a detached header of NRRD names after ``data file``."""
    text = _beginning(head).decode("utf-8", "replace")
    if not text.startswith("NRRD000"):
        return []
    lines = _lines(text)
    for line in lines:
        found = re.fullmatch(r"data ?file:\s*(\S.*)", line, re.IGNORECASE)
        if found:
            return _listed(found[1], lines)
    return []


def gltf_names(head: Path) -> list[str]:
    """Return the buffers and images of a glTF that are files: neither in it nor somewhere on the net."""
    content = _beginning(head, _LARGEST_GLTF + 1)
    try:
        scene = json.loads(content) if len(content) <= _LARGEST_GLTF else None
    except (ValueError, RecursionError):
        return []
    parts: list[Any] = []
    for key in ("buffers", "images"):
        some = scene.get(key) if isinstance(scene, dict) and "asset" in scene else None
        parts += some if isinstance(some, list) else []
    uris = [part.get("uri") for part in parts if isinstance(part, dict)]
    return [unquote(one) for one in uris[:_MOST_NAMES] if isinstance(one, str) and _is_file(one)]


def _is_file(uri: str) -> bool:
    try:
        return not uri.startswith("data:") and not urlsplit(uri).scheme
    except ValueError:
        return False


_LIBRARY = re.compile(r"^[ \t]*mtllib[ \t]+(\S[^\r\n]*)", re.MULTILINE)
_TEXTURE = re.compile(r"^[ \t]*(?:map_\w+|bump|disp|decal|refl|norm)[ \t]+(\S[^\r\n]*)", re.MULTILINE | re.IGNORECASE)
#: An option before the name of a texture, with what it is given: numbers, a word, or a letter for a channel.
_OPTION = re.compile(
    r"-(?:type[ \t]+\w+|[a-z]+(?:[ \t]+(?:on|off|[rgbmlz]|[-+]?\d*\.?\d+(?:e[-+]?\d+)?)(?=[ \t]))*)[ \t]+",
    re.IGNORECASE,
)


def obj_names(head: Path) -> list[str]:
    """Return the files of materials that an OBJ names, and the textures that those name."""
    libraries: list[str] = []
    for found in _LIBRARY.finditer(_beginning(head).decode("utf-8", "replace")):
        # A line may have several, and a name may have spaces.
        libraries += re.findall(r"\S.*?\.mtl(?=\s|$)", found[1], re.IGNORECASE) or [found[1].strip()]
    names = libraries[:_MOST_NAMES]
    for library in dict.fromkeys(names):
        names += _textures(head, library)
    return names[:_MOST_NAMES]


def _textures(head: Path, library: str) -> Iterator[str]:
    path = head.parent / library.replace("\\", "/")
    # What is refused as a part is not read either.
    if "\0" in library or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(head.parent)):
        return
    folder = Path(library.replace("\\", "/")).parent
    for found in _TEXTURE.finditer(_beginning(path).decode("utf-8", "replace")):
        name = found[1].strip()
        while option := _OPTION.match(name):
            name = name[option.end() :]
        yield str(folder / name.replace("\\", "/"))


def openvino_names(head: Path) -> list[str]:
    """Return the file of the weights of OpenVINO: it has the stem of the model."""
    start = _beginning(head, 16_384)
    return [f"{head.stem}.bin"] if re.search(rb"<net\s", start) and b"<layers>" in start else []
