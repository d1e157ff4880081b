"""Stored versions that cannot be read: they become errors, and do not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath

__all__ = ["Damage", "or_damage", "sound"]

S = TypeVar("S")
T = TypeVar("T")

#: Why a stored version cannot be read: it was changed, or a later release wrote it.
Damage = IntegrityError | UnsafePath | NewerFormat


def or_damage(read: Callable[[S], T], called: Callable[[S], str]) -> Callable[[S], T | Damage]:
    """Return a function that reads as ``read`` does, and returns the error where something cannot be read.

    The error's message begins with what the thing is ``called``.
    """

    def attempt(one: S) -> T | Damage:
        try:
            return read(one)
        except (IntegrityError, UnsafePath, NewerFormat) as error:
            return type(error)(f"{called(one)}: {error}")

    return attempt


def sound(found: Iterable[T | Damage]) -> Iterator[T]:
    """Yield what could be read, then raise the first error, with the other errors in its notes.

    So one version that cannot be read does not hide the others.
    """
    damaged: list[Damage] = []
    for one in found:
        if isinstance(one, Damage):
            damaged.append(one)
        else:
            yield one
    if damaged:
        first, *others = damaged
        for other in others:
            first.add_note(str(other))
        raise first
