"""An artifact's metadata as columns of MLflow's tables, which people sort and search by.

Numbers become metrics. Texts and booleans become parameters. A nested value is named by its path, with dots. Lists, and
values whose names or lengths MLflow does not take, stay in the metadata alone.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["measures", "parameters"]

#: All but the characters that MLflow takes in a name. It takes a colon, too, where its server does not run on Windows.
_NOT_IN_NAMES = re.compile(r"[^/\w.\- ]")
#: MLflow's limit for the name of a metric, of which an artifact's name may be a part.
_LONGEST_NAME = 250
#: Nobody sorts by a longer text, and MLflow's earlier releases refuse it.
_LONGEST_TEXT = 500
_LARGEST_NUMBER = sys.float_info.max


def measures(metadata: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of an artifact's metadata, by their names as metrics."""
    found = {}
    for path, value in _flat(metadata):
        name = _column(f"{prefix}{path}")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # MLflow stores another number in place of NaN and infinities.
        if name is not None and is_number and abs(value) <= _LARGEST_NUMBER:
            found[name] = float(value)
    return found


def parameters(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts and booleans of an artifact's metadata, by their names as parameters."""
    found = {}
    for path, value in _flat(metadata):
        name = _column(path)
        if name is not None and isinstance(value, (str, bool)) and 0 < len(str(value)) <= _LONGEST_TEXT:
            found[name] = str(value)
    return found


def _flat(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    left = [("", metadata)]
    while left:
        above, level = left.pop()
        for key, value in level.items():
            if isinstance(value, Mapping):
                left.append((f"{above}{key}.", value))
            else:
                yield f"{above}{key}", value


def _column(path: str) -> str | None:
    name = _NOT_IN_NAMES.sub("_", path)
    stays = posixpath.normpath(name) == name and not name.startswith(("/", "..")) and name != "."
    return name if stays and len(name) <= _LONGEST_NAME else None
