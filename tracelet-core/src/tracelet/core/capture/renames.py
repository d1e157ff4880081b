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

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.checkpoint_names import checkpoint_name, progress_in
from tracelet.core.capture.temporary_names import final_name, is_marked, is_temporary, may_be_temporary
from tracelet.core.plugins.detector import Detection

__all__ = ["Following", "called", "follow", "may_be_renamed"]

#: Seconds after which what is still called as it was saved is taken to keep its name.
_LONGEST = 10.0
#: The same, where the name may be the user's own.
_MOMENT = 1.0
#: Seconds in which what was moved to another disk, and deleted here, may be seen there by another detector.
_GONE = 2.0
#: Files that are held open at most: the program has a limit on them.
_MOST = 64
_DELETED = " (deleted)"


def may_be_renamed(name: str) -> bool:
    """Tell whether what is saved under this name is followed to the name that it gets."""
    return _patience(name) > 0


def _patience(name: str) -> float:
    if is_temporary(name) or is_marked(name):
        return _LONGEST
    return _MOMENT if may_be_temporary(name) else 0.0


def follow(detection: Detection) -> Following | None:
    """Follow what a detector saw, where it is likely to be renamed, and is to be named by what it is called."""
    saved = detection.place if detection.snapshot == "take" else detection.path
    if detection.name is not None or saved is None or detection.place not in (None, saved):
        return None
    patience = _patience(saved.name)
    # Of any number of names that may be the user's own, only so many wait.
    if not patience or (patience < _LONGEST and not Following.has_room()):
        return None
    try:
        return Following(saved)
    except OSError:  # it is gone already
        return None


class Following:
    """One saved file or folder, followed to its name. It is asked and closed by one thread."""

    _lock = threading.Lock()
    _open = 0

    def __init__(self, path: Path) -> None:
        """Raises ``OSError`` where it is not there."""
        status = path.stat()
        #: Where it was saved.
        self.path = Path(os.path.abspath(path))
        self._real = Path(os.path.realpath(path))
        self._identity = (status.st_dev, status.st_ino)
        self._since = time.monotonic()
        self._descriptor = -1
        with self._lock:
            # An open file cannot be renamed on Windows.
            if sys.platform == "win32" or not self.has_room():
                return
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            Following._open += 1

    @classmethod
    def has_room(cls) -> bool:
        """Tell whether one more can be held open."""
        return cls._open < _MOST

    def name(self) -> Path | None:
        """Return the path that it got; None as long as it has none but a temporary one."""
        where = self._told()
        # Of a file whose temporary name is gone there may be another link.
        if where is None or where == self._real or is_temporary(where.name):
            where = self._found()
        if where is not None and where.parent == self._real.parent:
            return self.path.with_name(where.name)
        return where

    @property
    def over(self) -> bool:
        """Whether it is not to be expected to get a name any more."""
        longest = _patience(self.path.name)
        return time.monotonic() - self._since > (longest if self._is_there() else min(longest, _GONE))

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
            return Path(str(Path(f"/proc/self/fd/{self._descriptor}").readlink()).removesuffix(_DELETED))
        except OSError:  # there is no /proc
            return None

    def _is_there(self) -> bool:
        """Tell whether it is where it was saved. There may be another file by now: the next save."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _found(self) -> Path | None:
        if self._is_there():
            return None
        with contextlib.suppress(OSError), os.scandir(self.path.parent) as entries:
            for entry in entries:
                if entry.inode() == self._identity[1] and not is_temporary(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) == self._identity:
                        return Path(entry.path)
        return None


def called(detection: Detection, place: Path, *, folder: bool) -> Detection:
    """Return a detection of what is called so now. A folder that is a checkpoint is named by it, without its number."""
    if not folder:
        return attrs.evolve(detection, place=place, artifact_path=_inside(detection, place))
    name, metadata = detection.name, detection.metadata
    told = final_name(place.name)
    if name is None and detection.type is ArtifactType.CHECKPOINT and told is not None:
        name = checkpoint_name(place.with_name(told))
        metadata = {**progress_in(place.with_name(told)), **metadata}
    return attrs.evolve(detection, place=place, artifact_path=None, name=name, metadata=metadata)


def _inside(detection: Detection, place: Path) -> str:
    """Return the path in the artifact of what was renamed, or moved, in the folder that its paths begin at; or its name."""
    assert detection.path is not None
    depth = (detection.artifact_path or "").count("/")
    root = Path(os.path.abspath(detection.path)).parents[depth]
    return place.relative_to(root).as_posix() if depth and place.is_relative_to(root) else place.name
