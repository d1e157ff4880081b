"""How much work one look may be: content may be made to cost as much as it can."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

__all__ = ["Budget"]


class Budget:
    """Steps that are left, of less than a microsecond each: an opcode of a pickle, an entry of an archive or a folder."""

    def __init__(self, steps: int) -> None:
        self._steps = iter(range(steps))

    def spend(self) -> Iterator[int]:
        """Yield for as long as there are steps left; each that is taken is gone."""
        return self._steps

    def take(self, steps: int) -> bool:
        """Take so many steps at once; say whether there were as many."""
        return sum(1 for _ in itertools.islice(self._steps, steps)) == steps
