"""What is unfinished and cannot be read: how that is described, and how it is kept out of the way of the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import attrs

from tracelet.core.delivery.layout import DRAFTS, drafted_name
from tracelet.exceptions import IntegrityError, NewerFormat

__all__ = ["Damaged", "Quarantine", "Unreadable", "describe"]

_LOG = logging.getLogger("tracelet.outbox")
T = TypeVar("T")


@attrs.frozen
class Damaged:
    """Something unfinished that cannot be read. Its place tells what it is."""

    path: Path
    experiment: str
    #: Empty where it is for all of a run's backends.
    backend: str
    name: str
    reason: str = "is damaged"
    #: Whether a later release wrote it: then it is whole.
    newer: bool = False

    @property
    def advice(self) -> str:
        """What is wrong, and what to do."""
        if self.newer:
            return f"{self.path} was written by a later Tracelet: upgrade tracelet with its plugins."
        return f"{self.path} {self.reason}: put back a good copy, or delete it, and what it was to deliver with it."


def describe(path: Path, reason: str = "is damaged", *, newer: bool = False) -> Damaged:
    """Describe a delivery, or a draft, that cannot be read."""
    backend = "" if path.parent.name == DRAFTS else path.parent.name
    return Damaged(path, unquote(path.parent.parent.name), backend, drafted_name(path), reason, newer)


class Unreadable(IntegrityError):
    """A file of the outbox is damaged, or should not be there."""

    def __init__(self, damaged: Damaged) -> None:
        super().__init__(damaged.advice)
        self.damaged = damaged


class Quarantine:
    """Reads deliveries or drafts one by one; those that cannot be read do not stop those behind them.

    A damaged one is put aside. One of a later release is left as it is, and told of once.
    """

    def __init__(self) -> None:
        self._told: set[Path] = set()

    def read(self, path: Path, read: Callable[[Path], T | None]) -> T | None:
        """Return what ``read`` gives for a path, or None where it cannot."""
        try:
            return read(path)
        except NewerFormat as error:
            if path not in self._told:
                self._told.add(path)
                _LOG.warning("%s", error)
            return None
        except IntegrityError as error:
            _LOG.error("%s It is put aside, as %s.", error, path.with_suffix(".damaged"))
            path.rename(path.with_suffix(".damaged"))
            return None
