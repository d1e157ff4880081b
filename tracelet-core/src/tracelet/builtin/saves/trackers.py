"""Temporary folders that a tracker's SDK makes for what it uploads by itself: what is saved there is no user's thing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

from tracelet.builtin.saves.watching import Tell, guarded
from tracelet.plugin import Claim

__all__ = ["TRACKERS_FOLDERS", "TrackersFolders"]

#: Packages of trackers' SDKs.
_SDKS = frozenset({"aim", "clearml", "mlflow", "wandb"})
#: Where transformers calls them.
_CALLBACKS = "transformers.integrations"
#: Modules between the call and whoever wants the folder.
_BETWEEN = ("tempfile", "tracelet.builtin.saves", "tracelet.core.capture")
#: The folders that may still be there. Single operations on a dict need no lock, which a child could inherit locked.
_CLAIMS: dict[Claim, Path] = {}


@attrs.frozen(eq=False)
class TrackersFolders:
    """The function that makes temporary folders, which ``TemporaryDirectory`` calls, too: a tracker's own is claimed."""

    module: str = "tempfile"
    function: str = "mkdtemp"

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], tell: Tell) -> Any:
        """Make the folder, and claim it where a tracker asked for it. Raises what the function raises."""
        made = original(*args, **kwargs)
        guarded("what is saved there", _claim, made)
        return made


def _claim(made: str | bytes) -> None:
    if not _asked_by_tracker():
        return
    folder, claim = Path(os.path.abspath(os.fsdecode(made))), Claim()
    claim.take(folder)
    _CLAIMS[claim] = folder
    for old, place in list(_CLAIMS.items()):
        if not place.exists():
            _CLAIMS.pop(old, None)
            old.release()


def _asked_by_tracker() -> bool:
    """Ask whose code made the call: not who is further out, since trackers run whole trainings within theirs.

    A folder for what a tracker downloads is for the user, who may save into it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _module(frame).startswith(_BETWEEN):
        frame = frame.f_back
    asked = False
    while frame is not None and _is_trackers(_module(frame)):
        if "download" in frame.f_code.co_name:
            return False
        asked, frame = True, frame.f_back
    return asked


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _is_trackers(module: str) -> bool:
    return module.partition(".")[0] in _SDKS or module.startswith(_CALLBACKS)


TRACKERS_FOLDERS = TrackersFolders()
