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
#: Names that one warning has.
_SHOWN = 5


class LeftOut:
    """What one look at MLflow leaves out."""

    def __init__(self, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._place = place
        self._empty: list[str] = []
        self._failures: list[Exception] = []

    def note(self, what: str, why: object) -> None:
        """Tell at once that something is left out."""
        _LOG.warning("%s is left out: %s", what, why)

    def note_empty(self, what: str) -> None:
        """Tell at the end that something holds no files: there may be thousands of the kind."""
        self._empty.append(what)

    def attempt(self, what: str, read: Callable[[], list[T]]) -> list[T]:
        """Read something. Where it cannot be read, it is left out; a server that is away is an error, and no broken thing."""
        try:
            with translated(self._place):
                return read()
        except (TraceletError, ValueError) as error:
            if isinstance(error, BackendUnavailable) and not _is_of_a_disk(error.__cause__):
                raise
            self._failures.append(error)
            self.note(what, error)
            return []

    def finish(self, *, found: bool) -> None:
        """Tell what is left to tell. Where nothing was found, and something could not be read, that is the error."""
        if self._failures and not found:
            raise self._failures[0]
        if self._empty:
            more = f", and {len(self._empty) - _SHOWN} more" if len(self._empty) > _SHOWN else ""
            _LOG.warning("Left out, for they hold no files: %s%s.", ", ".join(self._empty[:_SHOWN]), more)


def _is_of_a_disk(error: BaseException | None) -> bool:
    """Whether a folder of this machine cannot be read: an error of the system, and none of the network."""
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)
