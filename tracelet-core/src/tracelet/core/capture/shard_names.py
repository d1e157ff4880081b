"""Names of files that say which one of so many they are, such as ``model-00001-of-00003.safetensors``."""

from __future__ import annotations

import re

__all__ = ["shard_of", "without_number"]

_NUMBER = r"-\d{5}-of-(\d{5})"
_SHARD = re.compile(rf"(.+){_NUMBER}(\.[^.]+)", re.DOTALL)
_MOST = 1000


def shard_of(name: str) -> tuple[str, int] | None:
    """Return what the whole is called of which a file is one of several, and how many they are; None for other names."""
    found = _SHARD.fullmatch(name)
    if found is None or not 1 < int(found[2]) <= _MOST:
        return None
    return found[1] + found[3], int(found[2])


def without_number(text: str) -> str:
    """Return a path or a name of a shard without its number."""
    return re.sub(_NUMBER, "", text)
