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
    """Read from ``TRACELET_WANDB_*``. Server, key and mode are W&B's own variables' matter."""

    #: The user or team that owns the project. Empty: what W&B itself takes (WANDB_ENTITY, the account's own).
    entity: str = ""
    #: Show images, audio, video, plots and tables of samples on the run, too.
    media: bool = True
    #: So many files of one artifact are shown on the run at most.
    media_files: int = attrs.field(default=50, validator=_not_negative)
    #: So many rows of a table of samples are shown on the run at most.
    table_rows: int = attrs.field(default=10_000, validator=_not_negative)
