"""What a process has seen of few names: a backend that remembered each would grow with them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was seen last of each name, for the names that were kept last.

    Example:
        >>> newest = Remembered[str](2)
        >>> for name in ("model", "data", "report"):
        ...     newest.keep(name, "v0")
        >>> newest.of("model"), newest.of("data")
        (None, 'v0')
    """

    def __init__(self, most: int = 256) -> None:
        """Remember so many names at most.

        Args:
            most: how many; what was kept longest ago is forgotten for more.
        """
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def of(self, name: str) -> T | None:
        """Return what is remembered of a name.

        Args:
            name: the name.

        Returns:
            What was kept last, or None.
        """
        return self._kept.get(name)

    def keep(self, name: str, seen: T) -> None:
        """Remember this of a name, and forget what was kept longest ago where it is too much.

        Args:
            name: the name.
            seen: what to remember, in place of what was kept before.
        """
        self._kept[name] = seen
        self._kept.move_to_end(name)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, name: str) -> T | None:
        """Forget a name.

        Args:
            name: the name; it need not be remembered.

        Returns:
            What was remembered of it, or None.
        """
        return self._kept.pop(name, None)

    def clear(self) -> None:
        """Forget every name."""
        self._kept.clear()
