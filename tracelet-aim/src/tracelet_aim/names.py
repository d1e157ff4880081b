"""Find the names in a folder of an Aim server, which tells one name at a time."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["every_name"]


def every_name(poll: Callable[[str], str | None]) -> set[str]:
    """Return all names where ``poll`` tells only one of those that fit a pattern, or None.

    Every other name leaves a known one at some letter, or ends there. Two questions for each letter find all of them.
    """
    found: set[str] = set()
    #: Beginnings, each with the letters that are known to follow it, or None for the beginning itself.
    left: list[tuple[str, str | None]] = [("", "")]
    while left:
        beginning, known = left.pop()
        name = poll(beginning + ("" if known is None else _others(known)))
        if name is None or name in {".", ".."} or name in found:
            continue
        found.add(name)
        at = len(beginning)
        if known is not None:
            left.append((beginning, known + name[at]))
        for end in range(at + 1, len(name)):
            left += [(name[:end], name[end]), (name[:end], None)]
    return found


def _others(known: str) -> str:
    """Return the pattern of what begins with another letter."""
    # A minus sign between two letters would mean all letters from one to the other.
    letters = "".join(sorted(known, key=lambda letter: letter != "-"))
    return f"[!{letters}]*" if letters else "*"
