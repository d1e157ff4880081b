"""Amounts and times as people read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ago", "brief", "columns", "moment", "one_line", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Return a number of bytes for people, such as ``1.2 MB``, in powers of 1000."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def moment(seconds: float) -> str:
    """Return a time (seconds since the epoch) as local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def ago(seconds: float) -> str:
    """Return how long ago a time (seconds since the epoch) was, such as ``3 h``."""
    minutes = (time.time() - seconds) / 60
    return (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.0f} h"
        if minutes < 2880
        else f"{minutes / 1440:.0f} d"
    )


def brief(value: object, longest: int) -> str:
    """Return a value as text, cut off after so many characters: text as it is, and all else as JSON writes it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}…"


def columns(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield rows as lines, in columns that are as wide as their longest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def one_line(text: object) -> str:
    """Return a text on one line. Characters that could control a terminal are replaced."""
    one = " ".join(str(text).split("\n"))
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in one)
