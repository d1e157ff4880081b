"""The part of a page that a program writes: it stands between `<!-- name -->` and `<!-- end of name -->`."""

from __future__ import annotations

import re

__all__ = ["part", "with_part"]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)


def part(page: str, name: str) -> str:
    """The part of that name; empty where the page has none."""
    found = _pattern(name).search(page)
    return found[2] if found else ""


def with_part(page: str, name: str, text: str) -> str:
    """The page with this text for its part."""
    return _pattern(name).sub(lambda marks: marks[1] + text + marks[3], page)
