"""ClearML's configuration for this process: the user's own, but for what would wait for ever."""

from __future__ import annotations

import logging

from clearml.config import config_obj

__all__ = ["configure"]

#: No waiting for the end of a server's maintenance; and no process of its own for reporting, whose end takes ten seconds.
_OVERRIDES = (
    ("api", "http.wait_on_maintenance_forever", False),
    ("sdk", "development.report_use_subprocess", False),
)
#: They tell of every few megabytes, and the end of the log is what an error message quotes.
_TALKATIVE = ("clearml", "clearml.storage")


def configure() -> None:
    """Read the user's configuration and put ours over it."""
    for section, key, value in _OVERRIDES:
        # In place: ClearML's own way to override reads all its files a second time.
        config_obj.get(section).put(key, value)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
