"""Which callback saves a checkpoint: the call stack tells."""

from __future__ import annotations

import re
from types import FrameType
from typing import Any

__all__ = ["TUNER", "saver"]

#: Stands for Lightning's tuners, which search for a learning rate or a batch size: the user wants none of their checkpoints.
TUNER = object()
#: How many frames of the stack are searched. A Checkpoint callback is two or three above the save.
_DEPTH = 12


def saver(trainer: Any, frame: FrameType | None) -> Any:
    """Return the Checkpoint callback that saves, :data:`TUNER`, or None where the user's code saves.

    ``frame`` is that of the caller of ``save_checkpoint``. The path cannot tell: while a callback saves, the user's code
    may save under the same path.
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
