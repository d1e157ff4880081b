"""The operating systems that Tracelet runs on."""

from __future__ import annotations

import sys

from tracelet.exceptions import ConfigError

__all__ = ["check_platform"]


def check_platform() -> None:
    """Raise :class:`~tracelet.ConfigError` on Windows, which lacks the signals and sessions by which lanes are ended."""
    if sys.platform == "win32":
        raise ConfigError("Tracelet does not run on Windows: use it in WSL 2 or in a Linux container, where it does.")
