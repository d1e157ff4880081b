"""What messages are made of: numbers, sentences, and what somebody else's exception and its causes say."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from tracelet.core.system.redaction import redact_text

__all__ = ["advice_of", "causes", "many", "said_by", "sentence", "words_of"]

#: Characters of what somebody else's exception says that are looked at, and that are told.
_READ, _TOLD = 20_000, 2_000
#: What to do about what the system refuses.
_ADVICE = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "Do it as a user who may write there, or let this one write there"
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free space there, then do it again"),
}


def many(count: int, one: str, several: str) -> str:
    """Return a number and what it counts: ``1 delivery waits``, ``2 deliveries wait``."""
    return f"{count:,} {one if count == 1 else several}"


def sentence(said: object) -> str:
    """Return what was said with the full stop that ends it."""
    text = str(said).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what caused it, what caused that, and so on, each once.

    An SDK wraps what its HTTP client raised: its status is found behind the SDK's own exception.

    Example:
        >>> try:
        ...     try:
        ...         raise KeyError("status")
        ...     except KeyError as error:
        ...         raise RuntimeError("the SDK failed") from error
        ... except RuntimeError as error:
        ...     print([type(one).__name__ for one in causes(error)])
        ['RuntimeError', 'KeyError']

    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def said_by(error: BaseException) -> str:
    """Return what somebody else's exception says, without secrets and without end; nothing where it cannot say anything."""
    try:
        text = redact_text(str(error)[:_READ]).strip()
    except Exception:  # noqa: BLE001 - it is asked for its words because something else went wrong
        return ""
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"


def words_of(error: BaseException) -> str:
    """Return the kind of an exception and what it says; where it says nothing, where it was raised."""
    kind, text = type(error).__name__, said_by(error)
    if text:
        return f"{kind}: {text}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{kind}{where}, which says no more: that is a fault of its code, to be told to its authors."


def advice_of(error: BaseException) -> str:
    """Return what to do about an error where it is the system's own refusal; for any other, nothing."""
    return _ADVICE.get(error.errno or 0, "") if isinstance(error, OSError) else ""
