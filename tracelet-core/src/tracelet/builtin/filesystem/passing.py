"""What is passed over, and why: one line a path, for whoever asks at DEBUG why something was not captured."""

from __future__ import annotations

import logging
import os
import stat

from tracelet.builtin.filesystem.places import Place

__all__ = ["PassedOver"]

_LOG = logging.getLogger("tracelet.automagic")
#: Paths that are remembered, so that each is told of once. A program may make any number of temporary files.
_REMEMBERED = 10_000


class PassedOver:
    """Says of each path once why it is passed over. At a level above DEBUG it does nothing, and costs nothing."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, path: str, why: str) -> None:
        """Say it, if it was not said of this path."""
        if not _LOG.isEnabledFor(logging.DEBUG) or path in self._said:
            return
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said.add(path)
        _LOG.debug("%s is passed over: %s.", path, why)

    def look(self, place: Place, path: str) -> None:
        """Say it of a path at which there is no file that counts."""
        if _LOG.isEnabledFor(logging.DEBUG):
            self.say(path, _why(place, path))


def _why(place: Place, path: str) -> str:
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            if place.leads_out(path):
                return "it is a link that leads out of the directory"
            status = os.stat(path)  # noqa: PTH116 - see Place
            if stat.S_ISDIR(status.st_mode):
                return "it is a link to a folder"
    except OSError as error:
        return f"it is gone, or cannot be read: {error.strerror}"
    return "it is no regular file"
