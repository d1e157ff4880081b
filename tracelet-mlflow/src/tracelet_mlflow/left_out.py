"""What cannot be imported from MLflow is told by name, and the rest is found all the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import requests

from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet_mlflow.errors import translated

__all__ = ["LeftOut"]

T = TypeVar("T")

_LOG = logging.getLogger("tracelet.import")


class LeftOut:
    """What one look at MLflow leaves out."""

    def __init__(self, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._place = place
        self._failures: list[TraceletError] = []

    def note(self, what: str, why: object) -> None:
        """Tell at once that something is left out."""
        _LOG.warning("%s is left out: %s", what, why)

    def attempt(self, what: str, read: Callable[[], list[T]]) -> list[T]:
        """Read something. Where it cannot be read, it is left out; a server that is away is an error, and no broken thing."""
        try:
            with translated(self._place):
                return read()
        except TraceletError as error:
            if isinstance(error, BackendUnavailable) and not _is_of_a_disk(error.__cause__):
                raise
            self._failures.append(error)
            self.note(what, error)
            return []

    def raise_first(self) -> None:
        """Raise the first error, if there was one: nothing else was found, so the place itself cannot be read."""
        if self._failures:
            raise self._failures[0]


def _is_of_a_disk(error: BaseException | None) -> bool:
    """Whether a folder of this machine cannot be read: an error of the system, and none of the network."""
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)
