"""The settings of the backend ``wandb``."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = ["WandbSettings"]


def _not_negative(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{field.name}={value!r}: give a whole number, 0 or more.")


@attrs.frozen(kw_only=True)
class WandbSettings:
    """Read from ``TRACELET_WANDB_*``. W&B's own variables set the server, the key and the mode."""

    #: The user or team that owns the project. Empty: W&B's own choice (``WANDB_ENTITY``, or the account's default).
    entity: str = ""
    #: Also show images, audio, video, plots and tables of samples on the run.
    media: bool = True
    #: The most files of one artifact that are shown on the run.
    media_files: int = attrs.field(default=50, validator=_not_negative)
    #: The most rows of a table of samples that are shown on the run.
    table_rows: int = attrs.field(default=10_000, validator=_not_negative)
