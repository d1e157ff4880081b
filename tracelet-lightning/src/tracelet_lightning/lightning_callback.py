"""The callback for the package ``lightning``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tracelet_lightning.callback import CaptureHooks

__all__ = ["TraceletCapture"]

_CALLBACK: Any = import_module("lightning.pytorch").Callback


class TraceletCapture(CaptureHooks, _CALLBACK):  # type: ignore[misc]
    """The callback of a Trainer of ``lightning``."""
