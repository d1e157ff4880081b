"""The order of deliveries in memory: of each name the oldest goes first, and where it has to wait, the others wait too."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from tracelet.exceptions import TraceletError

__all__ = ["NameQueue"]


class NameQueue:
    """The keys of deliveries, which sort by age. A call about one key finds it by bisection, however many there are."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        #: Of each name the oldest, unless it is held up.
        self._free: list[str] = []
        #: Why a key is held up.
        self._held: dict[str, TraceletError] = {}

    def __contains__(self, key: str) -> bool:
        return _has(self._names.get(_name(key), []), key)

    @property
    def free(self) -> str | None:
        """The oldest that nothing holds up."""
        return self._free[0] if self._free else None

    def of(self, name: str) -> list[str]:
        """Return what waits of a name, oldest first."""
        return list(self._names.get(name, ()))

    def oldest(self, name: str, after: str = "") -> str | None:
        """Return the oldest of a name that is younger than the key ``after``."""
        keys = self._names.get(name, [])
        place = bisect_right(keys, after)
        return keys[place] if place < len(keys) else None

    def obstacle(self, key: str) -> TraceletError | None:
        """Return why an older one of a key's name is held up, or None where nothing is."""
        oldest = self.oldest(_name(key))
        return self._held.get(oldest) if oldest is not None and oldest != key else None

    def add(self, key: str) -> None:
        """Let a key wait."""
        keys = self._names.setdefault(_name(key), [])
        if not _has(keys, key):
            before = keys[0] if keys else None
            insort(keys, key)
            self._step(before, keys[0])

    def drop(self, key: str) -> None:
        """Forget a key, whether it waits or not."""
        self._held.pop(key, None)
        keys = self._names.get(_name(key), [])
        if _has(keys, key):
            before = keys[0]
            _take(keys, key)
            self._step(before, keys[0] if keys else None)
            if not keys:
                del self._names[_name(key)]

    def hold(self, key: str, why: TraceletError) -> None:
        """Hold a key up, and so the younger ones of its name."""
        self._held[key] = why
        _take(self._free, key)

    def release(self, keys: Iterable[str]) -> None:
        """Let these be tried again."""
        for key in keys:
            if self._held.pop(key, None) is not None and self.oldest(_name(key)) == key:
                insort(self._free, key)

    def release_all(self) -> None:
        """Let everything be tried again."""
        self.release(list(self._held))

    def become(self, keys: Iterable[str]) -> None:
        """Replace the keys by these. Those that are held up stay so."""
        held, self._held, self._names, self._free = self._held, {}, {}, []
        for key in sorted(keys):
            self._names.setdefault(_name(key), []).append(key)
            if key in held:
                self._held[key] = held[key]
        self._free = sorted(one[0] for one in self._names.values() if one[0] not in self._held)

    def _step(self, before: str | None, after: str | None) -> None:
        """Note that another key is the oldest of its name."""
        if before != after:
            if before is not None:
                _take(self._free, before)
            if after is not None and after not in self._held:
                insort(self._free, after)


def _name(key: str) -> str:
    return key.split("~", 2)[-1]


def _has(keys: list[str], key: str) -> bool:
    place = bisect_left(keys, key)
    return place < len(keys) and keys[place] == key


def _take(keys: list[str], key: str) -> None:
    if _has(keys, key):
        del keys[bisect_left(keys, key)]
