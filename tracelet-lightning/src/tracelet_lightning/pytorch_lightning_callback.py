"""The callback for the package ``pytorch_lightning``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tracelet_lightning.callback import CaptureHooks

__all__ = ["TraceletCapture"]

_CALLBACK: Any = import_module("pytorch_lightning").Callback


class TraceletCapture(CaptureHooks, _CALLBACK):  # type: ignore[misc]
    """The callback of a Trainer of ``pytorch_lightning``."""
