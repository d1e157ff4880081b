"""PyTorch Lightning for Tracelet: what a process loads of it before there is a Trainer."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tracelet.plugin import DetectorContext, DetectorSpec, hookimpl
from tracelet_lightning.settings import LightningSettings

if TYPE_CHECKING:
    from tracelet_lightning.detector import LightningDetector

__all__ = ["LightningSettings", "callbacks_factory", "tracelet_detectors"]


def _create(settings: LightningSettings, context: DetectorContext) -> LightningDetector:
    from tracelet_lightning.detector import LightningDetector

    return LightningDetector(settings, context.workspace, context.outcome)


@hookimpl
def tracelet_detectors() -> Iterable[DetectorSpec]:
    """Provide the detector ``lightning``."""
    return [DetectorSpec(name="lightning", create=_create, settings=LightningSettings)]


def callbacks_factory() -> list[Any]:
    """Learn that a Trainer is being made, by the entry points that both packages offer for callbacks.

    It gives no callback: Lightning would announce it on the user's screen. A Trainer gets one for the time of a ``fit``
    while a detector runs, those that were made before included. What is raised here would break the user's Trainer.
    """
    patches = sys.modules.get("tracelet_lightning.patches")
    if patches is not None:
        patches.refresh()
    return []
