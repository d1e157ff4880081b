"""What goes wrong in capture is logged, and never reaches the user's training."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["LOG", "log_failure"]

LOG = logging.getLogger("tracelet.automagic")


@contextlib.contextmanager
def log_failure(what: str, level: int = logging.WARNING) -> Iterator[None]:
    """Run the block, and log an error of it in one line: ``what`` is not captured."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a detector is never the end of the user's training
        LOG.log(level, "%s is not captured: %s: %s", what, type(error).__name__, error)
