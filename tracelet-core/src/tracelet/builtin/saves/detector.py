"""The detector of saves: it listens while it runs, and emits what was saved."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from tracelet.builtin.saves.destinations import Destination
from tracelet.builtin.saves.trackers import TRACKERS_FOLDERS
from tracelet.builtin.saves.watching import Function, unwatch, watch
from tracelet.builtin.saves.what import What
from tracelet.plugin import Detection, DetectorContext, Emit, make_folder

__all__ = ["SavesDetector"]


class SavesDetector:
    """Emits what watched functions save between :meth:`start` and :meth:`stop`."""

    def __init__(self, functions: Sequence[Function], context: DetectorContext) -> None:
        self._functions = (TRACKERS_FOLDERS, *functions)
        self._workspace = context.workspace
        self._room = context.room
        self._emit: Emit | None = None

    def start(self, emit: Emit) -> None:
        """Begin to listen; functions that are not imported yet are watched from their import on."""
        self.stop()
        self._emit = emit
        watch(self._functions, self)

    def stop(self) -> None:
        """Listen no more; a second call does nothing."""
        unwatch(self)
        self._emit = None

    def saved(self, destination: Destination, what: What) -> None:
        """Emit a save; what is no file or folder by itself is put together in the workspace and given away.

        Raises ``OSError`` where that cannot be written, and what ``emit`` raises.
        """
        emit = self._emit
        if emit is None:
            return
        path, made = destination.path, destination.memory or destination.chosen is not None
        if made:
            if not self._room(destination.size_bytes()):
                return
            path = self._workspace / uuid.uuid4().hex / destination.path.name
            make_folder(path.parent)
            destination.write_to(path)
        emit(
            Detection(
                path=path,
                type=what.type,
                name=what.name,
                metadata=what.metadata,
                aliases=what.aliases,
                artifact_path=destination.artifact_path,
                place=destination.place,
                snapshot="take" if made else "copy",
            )
        )
