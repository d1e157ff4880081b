"""A detection on its way through capture."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.capture.renames import Following, called
from tracelet.core.capture.snapshots import Look
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import Stamp

__all__ = ["Item", "key_of"]

#: Seconds until a file that was being written is looked at again.
_AGAIN = 0.05


@attrs.define(eq=False)
class Item:
    """A detection of a file or a folder, and its snapshot."""

    detection: Detection
    #: Two detections of the same key are of the same thing.
    key: str
    #: Monotonic time before which it waits.
    due: float
    #: How the file looked when it was seen.
    look: Look | None = None
    #: Whether the rates were asked; otherwise they are if it turns out to be news.
    counted: bool = True
    number: int = -1
    #: The snapshot; None where the file is still being written.
    kept: Path | None = None
    size_bytes: int = 0
    #: How the files looked that were copied, by their real paths.
    stamps: Mapping[str, Stamp] = attrs.field(factory=dict)
    folder: bool = False
    #: Whether a snapshot of a folder that it is in has it as it looked when it was seen.
    held: bool = False
    #: Whether it is not to wait for other shards of its set: they did not come.
    alone: bool = False
    #: Monotonic time at which it was seen.
    seen: float = attrs.field(init=False, default=attrs.Factory(lambda item: item.due, takes_self=True))
    #: Where it was saved under a temporary name: who finds out the name that it gets.
    following: Following | None = None

    @property
    def knowledge(self) -> int:
        """How much its detector knew of it."""
        seen = self.detection
        return (seen.name is not None) + (seen.type is not None) + bool(seen.aliases)

    def postpone(self) -> None:
        """Look at it again in a moment; the rates are asked then."""
        self.due, self.counted = time.monotonic() + _AGAIN, False

    def wait_for_name(self) -> None:
        """Look again in a moment whether it was renamed."""
        self.due = time.monotonic() + _AGAIN

    def catch_up(self) -> None:
        """Read it from where it is now, if it was renamed before it was copied."""
        name = None if self.following is None else self.following.name()
        if name is not None:
            self.detection = attrs.evolve(self.detection, path=name)

    def call(self, place: Path | None) -> None:
        """Take this for what users know it by, where it is known, and follow it no more."""
        followed, self.following = self.following, None
        if followed is not None:
            followed.close()
        if place is not None:
            self.detection = called(self.detection, place, folder=self.folder)
            self.key, self.due = key_of(self.detection), min(self.due, time.monotonic())
        elif followed is not None and self.folder:
            self.detection = called(self.detection, followed.path, folder=True)


def key_of(detection: Detection) -> str:
    """Return what a thing is known by: a file by its path, and what a detector made itself by its name."""
    assert detection.path is not None
    if detection.snapshot == "take" and detection.place is None:
        return f"{detection.name}/{detection.artifact_path or detection.path.name}"
    return os.path.abspath(detection.place or detection.path)
