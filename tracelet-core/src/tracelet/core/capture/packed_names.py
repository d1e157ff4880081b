"""Names of files that are packed: what says so is no part of what the file is called."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["stem_of", "unpacked_name"]

_PACKED = re.compile(r"(?<=[^.])\.(?:gz|gzip|bz2?|xz|lzma|zstd?|lz4|z|zlib)$", re.IGNORECASE)
#: Suffixes that say both what is packed and that it is.
_SHORT = {
    **dict.fromkeys((".tgz", ".tbz", ".tbz2", ".txz", ".tlz", ".tzst"), ".tar"),
    ".svgz": ".svg",
    ".mgz": ".mgh",
}


def unpacked_name(name: str) -> str:
    """Return the name of what is in a packed file: of ``rows.csv.gz`` it is ``rows.csv``; every other name is left as it is."""
    stem, dot, suffix = name.rpartition(".")
    if stem and (long := _SHORT.get(dot + suffix.lower())) is not None:
        return stem + long
    return _PACKED.sub("", name)


def stem_of(name: str) -> str:
    """Return a file's name without its suffix, also where it is packed: of ``rows.csv`` and ``rows.csv.gz`` it is ``rows``."""
    return PurePath(unpacked_name(name)).stem
