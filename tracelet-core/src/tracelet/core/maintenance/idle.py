"""Whether there is anything to do in a tracelet directory. This needs nothing of what does it."""

from __future__ import annotations

import os
from pathlib import Path

from tracelet.core.system.links import check_directory, raise_unless_gone

__all__ = ["is_idle"]

#: Where deliveries, drafts, captures, interrupted puts, and uses that are not noted lie.
_PLACES = ("outbox", "captured", "puts", "uses")


def is_idle(directory: Path) -> bool:
    """Return whether no program has left anything in a tracelet directory: there is no file where it would be."""
    check_directory(directory)
    return not any(files for place in _PLACES for _, _, files in os.walk(directory / place, onerror=raise_unless_gone))
