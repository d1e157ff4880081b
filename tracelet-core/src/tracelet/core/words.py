"""What messages are made of: numbers, sentences, and what somebody else's exception says."""

from __future__ import annotations

import traceback
from pathlib import Path

__all__ = ["many", "sentence", "words_of"]


def many(count: int, one: str, several: str) -> str:
    """Return a number and what it counts: ``1 delivery waits``, ``2 deliveries wait``."""
    return f"{count:,} {one if count == 1 else several}"


def sentence(said: object) -> str:
    """Return what was said with the full stop that ends it."""
    text = str(said).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def words_of(error: BaseException) -> str:
    """Return the kind of an exception and what it says; where it says nothing, where it was raised."""
    kind, text = type(error).__name__, str(error).strip()
    if text:
        return f"{kind}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{kind}{where}, which says no more: that is a fault of its code, to be told to its authors."
