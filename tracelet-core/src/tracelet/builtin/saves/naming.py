"""What a detector of saves names a checkpoint by: its folder, the number of that, and the class of its model."""

from __future__ import annotations

import re
from pathlib import Path

from tracelet.plugin import checkpoint_name, may_be_renamed, readable_name

__all__ = ["class_name", "lasting_checkpoint_name", "numbered"]

_NUMBER = re.compile(r"[-_.=]?(\d+)$")
#: Characters of a name without its ending.
_LONGEST = 100
_ENDING = "checkpoint"


def lasting_checkpoint_name(folder: Path, library: str | None = None) -> str | None:
    """Name a checkpoint by its folder; None where the folder may be about to get another name, which names it then."""
    return None if may_be_renamed(folder.name) else checkpoint_name(folder, library)


def numbered(folder: Path) -> int | None:
    """Return the number that the name of a folder ends with: of ``ckpt_0020`` it is 20."""
    found = _NUMBER.search(folder.name)
    return int(found[1]) if found else None


def class_name(cls: type) -> str:
    """Name a checkpoint by the class of its model: of a ``BertModel`` it is a ``bert-model-checkpoint``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()
    return f"{readable_name(words, _LONGEST, strip='-', otherwise='model')}-{_ENDING}"
