"""Trees: the databases of an Aim repo, on its own disk or behind a server.

Aim stores a run as a small key-value database in ``.aim/meta/chunks/<hash>``. It finds only runs that are in its index,
which only ``aim up`` keeps up to date. So Tracelet's catalogue is a database of the same kind beside Aim's own, in
``.aim/tracelet/chunks/<experiment>``. The same server serves it, and Aim's explorers do not see it. Aim does not document
any of this; its sources are ``aim.sdk.repo`` and ``aim.storage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs

__all__ = ["CATALOGUE", "PATIENCE", "Ask", "Facts", "Key", "Place", "Tree", "facts_of"]

T = TypeVar("T")
Key = str | int
#: Gives what is below a path in a run's database as plain data, Aim's own objects as dicts; None where there is nothing.
Ask = Callable[..., Any]

#: The family of Tracelet's catalogues among the databases.
CATALOGUE = "tracelet"
#: Seconds to wait for a database that another process holds. Mostly it takes some milliseconds.
PATIENCE = 20.0


@attrs.frozen
class Facts:
    """What Aim's table of runs says of a run."""

    hash: str
    experiment: str
    name: str
    description: str
    #: Seconds since the epoch.
    created_at: float
    is_archived: bool
    tags: list[str]


def facts_of(run_hash: str, about: Callable[[str], Any]) -> Facts:
    """Return what ``about`` says of a run; it is asked by the names that Aim has for that."""
    return Facts(
        run_hash,
        str(about("experiment") or ""),
        str(about("name") or ""),
        str(about("description") or ""),
        float(about("creation_time") or 0.0),
        bool(about("archived")),
        [str(tag) for tag in about("tags")],
    )


class Tree(Protocol):
    """An open database: values under paths."""

    def get(self, *path: Key) -> Any:
        """Return the value, or None where there is none."""
        ...

    def set(self, path: tuple[Key, ...], value: Any) -> None:
        """Set a value in one step, in place of all that was below the path."""
        ...

    def drop(self, *path: Key) -> None:
        """Delete all that is at and below the path."""
        ...

    def items(self, *path: Key) -> list[tuple[Key, Any]]:
        """Return what is directly below the path, in the order of its keys."""
        ...

    def keys(self, *path: Key) -> list[Key]:
        """Return the keys of :meth:`items`."""
        ...


class Place(Protocol):
    """An Aim repo, wherever it is."""

    #: Its address for people, without credentials.
    shown: str
    #: The same as ``aim://``, also where it is a folder.
    address: str

    def reading(self, family: str, name: str) -> AbstractContextManager[Tree | None]:
        """Open a database as it is now; None where there is none. This makes nothing."""
        ...

    def writing(self, family: str, name: str, patience: float = PATIENCE) -> AbstractContextManager[Tree]:
        """Open a database for this caller alone. It is made where there is none.

        Raises :class:`~tracelet.BackendUnavailable` where another process holds it longer than ``patience`` seconds.
        """
        ...

    def databases(self, family: str) -> list[str]:
        """Return the names of all databases of a family."""
        ...

    def folder(self) -> Path:
        """Return the path of ``.aim``, which may be on another machine."""
        ...

    def is_here(self, run_hash: str) -> bool:
        """Tell whether this machine sees the folder ``.aim``, by a run that is in it."""
        ...

    def experiments_of_runs(self) -> Iterator[tuple[str, str | None]]:
        """Yield the hash of each run that there is, with its experiment; None where Aim's table of runs does not know it.

        This makes nothing.
        """
        ...

    def facts(self, run_hash: str) -> Facts | None:
        """Return what Aim's table of runs says of a run, or None where it does not know it. This makes nothing."""
        ...

    def reading_run(self, run_hash: str) -> AbstractContextManager[Ask]:
        """Open a run that others may be writing to, and change nothing of it.

        Raises :class:`~tracelet.IntegrityError`, also inside the block, where this run alone cannot be read.
        """
        ...

    def repo(self) -> Any:
        """Return Aim's own ``Repo``, which is made if needed; another one after the connection was lost."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep Tracelet's other processes from Aim's table of runs: several writers at once damage it."""
        ...

    def call(self, work: Callable[[], T]) -> T:
        """Do something with Aim's own objects. When this returns, the repo has it.

        Raises :class:`~tracelet.BackendUnavailable` when the time for it is over.
        """
        ...

    def make_searchable(self, run_hash: str) -> None:
        """Add a run to the index of Aim's queries, unless another process holds the index."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...
