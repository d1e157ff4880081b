"""The boundary to the user's training: what goes wrong on our side ends here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["LOG", "guarded"]

LOG = logging.getLogger("tracelet.automagic")


@contextlib.contextmanager
def guarded(what: str, level: int = logging.WARNING) -> Iterator[None]:
    """Turn what the block raises into one line, a WARNING unless told otherwise, that ``what`` is not captured."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a detector is never the end of the user's training
        LOG.log(level, "%s is not captured: %s: %s", what, type(error).__name__, error)
