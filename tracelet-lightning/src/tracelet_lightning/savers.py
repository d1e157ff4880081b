"""Who saves a checkpoint, and the aliases that it gets for that."""

from __future__ import annotations

import re
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["TUNER", "aliases", "saver"]

#: Stands for the searches for a learning rate or a batch size, whose checkpoints are none of the user's.
TUNER = object()
#: How many callers up to look; a Checkpoint callback is two or three above the save.
_DEPTH = 12


def saver(trainer: Any, frame: FrameType | None) -> Any:
    """Return the Checkpoint callback that a save comes from, :data:`TUNER`, or None where the user's code asked for it.

    Only the call tells: while a callback saves, the user's code may be saving under the same path.
    """
    callbacks = {id(callback): callback for callback in trainer.checkpoint_callbacks}
    for _ in range(_DEPTH):
        if frame is None:
            return None
        module = str(frame.f_globals.get("__name__", ""))
        if re.match(r"(lightning\.pytorch|pytorch_lightning)\.tuner\.", module):
            return TUNER
        if (found := callbacks.get(id(frame.f_locals.get("self")))) is not None:
            return found
        frame = frame.f_back
    return None


def aliases(trainer: Any, path: Path, by: Any) -> tuple[str, ...]:
    """Return ``best``, ``last``, ``periodic`` or ``manual``; with several that monitor, ``best-<monitor>`` too.

    The callbacks of both packages note what is best and last before they save it.
    """
    if by is None:
        return ("manual",)
    found: list[str] = []
    if getattr(by, "monitor", None) and _same(by.best_model_path, path):
        monitoring = [one for one in trainer.checkpoint_callbacks if getattr(one, "monitor", None)]
        if by is monitoring[0]:
            found.append("best")
        if len(monitoring) > 1:
            found.append(_alias(f"best-{by.monitor}"))
    if _same(getattr(by, "last_model_path", ""), path) or _linked_as_last(by):
        found.append("last")
    return tuple(found) or ("periodic",)


def _linked_as_last(by: Any) -> bool:
    """Whether ``last`` becomes a link to what is saved now: it does so in the same breath, and nothing is saved for it."""
    # Releases that know no links take the word for a yes, and save.
    return getattr(by, "save_last", None) == "link" and by.save_top_k != 0 and hasattr(by, "_link_checkpoint")


def _same(one: object, path: Path) -> bool:
    return bool(one) and Path(str(one)).absolute() == path


def _alias(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:128]
