"""The name and the progress of a checkpoint that is a folder: such a folder is called by the step that it was saved at."""

from __future__ import annotations

import re
from pathlib import Path

from tracelet.core.capture.readable_names import readable_name

__all__ = ["checkpoint_name", "progress_in"]

_NUMBER = re.compile(r"[-_.=]?\d+$")
#: What a number after this word counts.
_COUNTED = {"epoch": "epoch", "step": "global_step", "steps": "global_step", "iter": "global_step"}
_PROGRESS = re.compile(r"(epoch|steps?|iter)[-_=]?(\d+)$", re.IGNORECASE)
#: Characters of a name without its ending.
_LONGEST = 100
_ENDING = "checkpoint"
#: What libraries call any checkpoint.
_ANY = {"", "checkpoint", "checkpoints", "ckpt", "ckpts", "global_step"}


def checkpoint_name(folder: Path, library: str | None = None) -> str | None:
    """Return one name for all folders that differ in the number at their end; None where there is no number.

    ``run/step_10`` and ``run/step_20`` are both ``step-checkpoint``. With a ``library`` that saves its whole state,
    what is called a checkpoint and no more has the name of that library.
    """
    stem = _NUMBER.sub("", folder.name)
    if stem == folder.name and library is None:
        return None
    stem = readable_name(stem, _LONGEST)
    if library is not None and stem.lower() in _ANY:
        stem = library
    return stem if stem.endswith(_ENDING) else f"{stem}-{_ENDING}".lstrip("-")


def progress_in(folder: Path) -> dict[str, int]:
    """Return the epoch or the step that the name of a folder ends with: of ``step_20`` it is ``{"global_step": 20}``."""
    found = _PROGRESS.search(folder.name)
    return {_COUNTED[found[1].lower()]: int(found[2])} if found else {}
