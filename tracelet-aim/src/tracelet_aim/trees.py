"""Trees: what an Aim repo keeps everything in, on its own disk or behind a server.

Aim stores a run as a small key-value database in ``.aim/meta/chunks/<hash>``, and finds no run that is not in its
index, which only ``aim up`` keeps up to date. So Tracelet's catalogue is a database of the same make beside Aim's
own, in ``.aim/tracelet/chunks/<experiment>``: the same server serves it, and no explorer of Aim's trips over it.
None of this is in Aim's documentation; its sources are ``aim.sdk.repo`` and ``aim.storage``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

__all__ = ["CATALOGUE", "PATIENCE", "Key", "Place", "Tree"]

T = TypeVar("T")
Key = str | int

#: The family of databases that Tracelet's catalogues are.
CATALOGUE = "tracelet"
#: Seconds to wait for others to let go of a database, which they need for some milliseconds.
PATIENCE = 20.0


class Tree(Protocol):
    """One database, open: values under paths."""

    def get(self, *path: Key) -> Any:
        """Return the value, or None where there is none."""
        ...

    def set(self, path: tuple[Key, ...], value: Any) -> None:
        """Set a value, in place of all that was below the path, at once."""
        ...

    def drop(self, *path: Key) -> None:
        """Delete all that is at and below the path."""
        ...

    def items(self, *path: Key) -> list[tuple[Key, Any]]:
        """Return what is directly below the path, in the order of its keys."""
        ...

    def keys(self, *path: Key) -> list[Key]:
        """Return the keys that :meth:`items` has."""
        ...


class Place(Protocol):
    """An Aim repo, wherever it is."""

    #: Where, for people; without credentials.
    shown: str

    def reading(self, family: str, name: str) -> AbstractContextManager[Tree | None]:
        """Open a database as it is now; None where there is none. Nothing is made by it."""
        ...

    def writing(self, family: str, name: str, patience: float = PATIENCE) -> AbstractContextManager[Tree]:
        """Open a database, made where there is none, for this caller alone.

        Raises :class:`~tracelet.BackendUnavailable` where others do not let go of it for so many seconds.
        """
        ...

    def folder(self) -> Path:
        """Return the path of ``.aim``, which may be another machine's."""
        ...

    def is_here(self, run_hash: str) -> bool:
        """Tell whether this machine sees the folder: whether the run, which must be there, is in it."""
        ...

    def repo(self) -> Any:
        """Return Aim's own ``Repo``, made where there is none; another one after the connection was lost."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep Tracelet's other processes from Aim's table of runs, which does not bear several writers at once."""
        ...

    def call(self, work: Callable[[], T]) -> T:
        """Do something with Aim's own objects; when it returns, the repo has it.

        Raises :class:`~tracelet.BackendUnavailable` when its time is over.
        """
        ...

    def make_searchable(self, run_hash: str) -> None:
        """Put a run into the index that Aim's queries go by, unless somebody else is at it."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...
