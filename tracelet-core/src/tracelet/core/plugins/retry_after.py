"""How long a server asks to be left alone for: the header ``Retry-After`` of RFC 9110, section 10.2.3."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

__all__ = ["seconds_asked"]


def seconds_asked(header: str | None) -> float:
    """Return the seconds that a ``Retry-After`` asks for, as a number or as a date; 0.0 for anything else.

    >>> seconds_asked("120")
    120.0
    """
    said = (header or "").strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        then = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    now = datetime.datetime.now(datetime.UTC)
    return max(0.0, (then.astimezone(datetime.UTC) - now).total_seconds())
