"""Options that are given as KEY=VALUE."""

from __future__ import annotations

from collections.abc import Iterable

import click

__all__ = ["pairs_of"]


def pairs_of(given: Iterable[str], example: str) -> dict[str, str]:
    """Return texts by their keys. ``example`` is one for the message about what is none.

    Raises:
        click.BadParameter: One has no key or no value, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text!r}: give KEY=VALUE, such as {example}.")
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice: give it once.")
        found[key] = value
    return found
