"""Who is saving which file at this moment: a file that one detector tells of is not for the others to tell of.

A framework's checkpoint is a ``torch.save`` in a watched directory: three detectors see one file. The one that
knows most about it says so while it lasts, with :func:`saving`.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["being_saved", "saving"]

#: Files and folders that are being saved in this process, by claim. Single operations on a dict need no lock.
_CLAIMS: dict[object, frozenset[str]] = {}
#: Whether this thread (or task) is inside of a claim.
_INSIDE: contextvars.ContextVar[bool] = contextvars.ContextVar("tracelet_saving", default=False)


@contextlib.contextmanager
def saving(*paths: str | os.PathLike[str]) -> Iterator[bool]:
    """Say that the block saves these files or folders, and emits them before it ends.

    Gives True where this is the outermost claim of the thread: only then is it the caller's to emit. What another
    detector sees of these paths meanwhile waits for the end of the block, and is captured then if it is news.
    """
    outermost = not _INSIDE.get()
    token = _INSIDE.set(True)
    claim = object()
    _CLAIMS[claim] = frozenset(os.path.abspath(path) for path in paths)
    try:
        yield outermost
    finally:
        del _CLAIMS[claim]
        _INSIDE.reset(token)


def being_saved(path: str | os.PathLike[str]) -> bool:
    """Tell whether somebody other than the caller's own thread is saving this file, or a folder that it is in."""
    if _INSIDE.get() or not _CLAIMS:
        return False
    claimed = frozenset().union(*list(_CLAIMS.values()))
    place = Path(os.path.abspath(path))
    return any(str(one) in claimed for one in (place, *place.parents))
