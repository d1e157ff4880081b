"""The settings of the detector."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = ["LightningSettings"]


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
