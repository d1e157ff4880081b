"""PyTorch Lightning for Tracelet: what a process loads of it before there is a Trainer."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from tracelet.exceptions import ConfigError
from tracelet.plugin import DetectorContext, DetectorSpec, hookimpl

if TYPE_CHECKING:
    from tracelet_lightning.detector import LightningDetector

__all__ = ["LightningSettings", "callbacks_factory", "tracelet_detectors"]


def _at_least(least: int) -> Any:
    def check(_instance: object, field: attrs.Attribute[Any], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{field.name}={value!r}: give a whole number, {least} or more.")

    return check


@attrs.frozen(kw_only=True)
class LightningSettings:
    """Read from ``TRACELET_LIGHTNING_*``."""

    #: Capture the checkpoints that a Trainer saves.
    checkpoints: bool = True
    #: Capture the model when ``fit`` has come to its end.
    final_model: bool = True
    #: Capture samples of the validation every so many epochs, and at the end of ``fit``; 0 captures none.
    samples_every_n_epochs: int = attrs.field(default=1, validator=_at_least(0))
    #: How many samples, all of the first validation batch.
    samples_count: int = attrs.field(default=16, validator=_at_least(1))


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
