"""The name that a file or a folder gets after it was saved under a temporary one.

An open file knows what it is called now: Linux tells it in ``/proc/self/fd``, also after the next save has replaced it.
Elsewhere, and for a link that took the place of a rename, the folder is looked through for the same inode. Nothing is
patched for that, and no hook is left in the interpreter.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from tracelet.core.capture.temporary_names import is_temporary

__all__ = ["Following"]

#: Seconds after which what is still called as it was saved is taken to keep its name.
_LONGEST = 10.0
#: Seconds in which what was moved to another disk, and deleted here, may be seen there by another detector.
_GONE = 2.0
#: Files that are held open at most: the program has a limit on them.
_MOST = 64
_DELETED = " (deleted)"


class Following:
    """One saved file or folder, followed to its name. It is asked and closed by one thread."""

    _lock = threading.Lock()
    _open = 0

    def __init__(self, path: Path) -> None:
        """Raises ``OSError`` where it is not there."""
        status = path.stat()
        self._path = Path(os.path.abspath(path))
        self._identity = (status.st_dev, status.st_ino)
        self._since = time.monotonic()
        self._descriptor = -1
        with self._lock:
            # An open file cannot be renamed on Windows.
            if sys.platform == "win32" or Following._open >= _MOST:
                return
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            Following._open += 1

    def name(self) -> Path | None:
        """Return the path that it got; None as long as it has none but a temporary one."""
        where = self._told() or self._found()
        return None if where is None or is_temporary(where.name) else where

    @property
    def over(self) -> bool:
        """Whether it is not to be expected to get a name any more."""
        return time.monotonic() - self._since > (_LONGEST if self._path.exists() else _GONE)

    def close(self) -> None:
        """Follow it no more; a second call does nothing."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                Following._open -= 1

    def _told(self) -> Path | None:
        if self._descriptor < 0 or sys.platform != "linux":
            return None
        try:
            told = Path(str(Path(f"/proc/self/fd/{self._descriptor}").readlink()).removesuffix(_DELETED))
        except OSError:  # there is no /proc
            return None
        # Of a file whose temporary name is gone there may be another link.
        return None if is_temporary(told.name) else told

    def _found(self) -> Path | None:
        if self._path.exists():
            return None
        with contextlib.suppress(OSError), os.scandir(self._path.parent) as entries:
            for entry in entries:
                if entry.inode() == self._identity[1] and not is_temporary(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) == self._identity:
                        return Path(entry.path)
        return None
