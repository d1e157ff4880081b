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


def _check_paths(_instance: object, field: attrs.Attribute[Any], value: list[str]) -> None:
    if any(not all(path.split(".")) for path in value):
        raise ConfigError(
            f"{field.name}={value!r}: give keys or positions of the batch, such as image, 0 or batch.image."
        )


@attrs.frozen(kw_only=True)
class LightningSettings:
    """The settings, read from ``TRACELET_LIGHTNING_*``."""

    #: Capture the checkpoints that a Trainer saves.
    checkpoints: bool = True
    #: Capture the model when ``fit`` has completed.
    final_model: bool = True
    #: Epochs from one capture of validation samples to the next; samples are captured at the end of ``fit`` too. 0: never.
    samples_every_n_epochs: int = attrs.field(default=1, validator=_at_least(0))
    #: How many samples of the first validation batch are captured.
    samples_count: int = attrs.field(default=16, validator=_at_least(1))
    #: The parts of a validation batch that are the inputs, by key, attribute or position; a dot goes one level down.
    input: list[str] = attrs.field(factory=list, validator=_check_paths)
    #: The parts of a validation batch that are the targets, likewise.
    target: list[str] = attrs.field(factory=list, validator=_check_paths)
