"""Translate the errors of Aim, its databases and the file system into Tracelet's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aim.sdk.errors import RepoIntegrityError, RunLockingError
from aimrocks import errors as rocks
from filelock import Timeout
from sqlalchemy.exc import SQLAlchemyError

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable, IntegrityError, TraceletError

__all__ = ["AimFailure", "is_locked", "said", "translated"]

#: What Aim's own objects raise when something outside them is wrong.
AimFailure = (
    rocks.RocksIOError,
    rocks.Corruption,
    RepoIntegrityError,
    RunLockingError,
    SQLAlchemyError,
    Timeout,
    OSError,
    RuntimeError,
    KeyError,
)
_LONGEST = 400


def said(error: BaseException) -> str:
    """Return an error's class and message, shortened. RocksDB's messages are bytes."""
    first = error.args[0] if error.args else ""
    text = first.decode(errors="replace") if isinstance(first, bytes) else str(error)
    return f"{type(error).__name__}: {text}"[:_LONGEST]


def is_locked(error: BaseException) -> bool:
    """Tell whether a database cannot be opened because another process holds it."""
    return isinstance(error, rocks.RocksIOError) and "lock" in said(error).lower()


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Raise the errors of Aim inside the block as Tracelet's; ``shown`` is where the repo is."""
    try:
        yield
    except TraceletError:
        raise
    except rocks.Corruption as error:
        raise IntegrityError(
            f"a database in Aim's repo {shown} is damaged ({said(error)}): restore the repo from a copy, or take the "
            "artifact from another backend."
        ) from error
    except PermissionError as error:
        raise BackendAuthError(
            f"Aim's repo {shown} does not let this user in ({said(error)}): give the user the rights, or set "
            "TRACELET_AIM_REPO to another repo."
        ) from error
    except (Timeout, RunLockingError) as error:
        raise BackendUnavailable(
            f"Aim's repo {shown} is held by another process ({said(error)}): it is tried again."
        ) from error
    except AimFailure as error:
        kind = BackendUnavailable if isinstance(error, (OSError, rocks.RocksIOError, SQLAlchemyError)) else BackendError
        raise kind(f"Aim's repo {shown} failed ({said(error)}): see that it is whole and its disk has room.") from error
