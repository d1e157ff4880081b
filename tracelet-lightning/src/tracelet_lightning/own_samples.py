"""Samples that the user's module makes itself, with a method ``tracelet_sample``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracelet_lightning.roles import UnclearBatchError
from tracelet_lightning.rows import as_rows, lengths
from tracelet_lightning.samples import Samples, values_of

__all__ = ["OwnSamples", "method_of"]

_METHOD = "tracelet_sample"


def method_of(module: Any) -> Callable[[Any, Any], Any] | None:
    """Return the module's own method, if it has one."""
    method = getattr(module, _METHOD, None)
    return method if callable(method) else None


class OwnSamples:
    """Asks the user's method for the samples of one batch, when its step has ended."""

    def __init__(self, method: Callable[[Any, Any], Any], batch: Any, count: int) -> None:
        self._method: Callable[[Any, Any], Any] | None = method
        self._batch = batch
        self._count = count

    def close(self) -> None:
        """Do nothing: there are no hooks."""

    def samples(self, outputs: Any) -> Samples | None:
        """Return the samples, or None where the method gives none. Raises :class:`UnclearBatchError`, and what it raises."""
        if self._method is None:
            return None
        method, self._method = self._method, None
        batch, self._batch = self._batch, None
        given = method(batch, outputs)
        if given is None:
            return None
        if not isinstance(given, Mapping):
            raise UnclearBatchError(f"{_METHOD} returned a {type(given).__name__}: return a dict of columns, or None")
        groups = {str(name): value for name, value in given.items() if value is not None}
        counts = {name: _rows(value) for name, value in groups.items()}
        if len({*counts.values()}) != 1 or None in counts.values():
            said = ", ".join(f"{name}: {'no rows' if one is None else one}" for name, one in counts.items())
            raise UnclearBatchError(
                f"{_METHOD} is to return as many rows for each column, and returned {said or 'none'}"
            )
        taken = {name: as_rows(value, self._count) for name, value in groups.items()}
        return Samples(values_of(taken), _METHOD if "prediction" in groups else "")


def _rows(value: Any) -> int | None:
    """Return the number of rows; a list is always a list of rows."""
    found = lengths(value)
    return len(value) if found and isinstance(value, (tuple, list)) else next(iter(found), None)
