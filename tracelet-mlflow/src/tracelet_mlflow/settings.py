"""The settings of the backend ``mlflow``."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.exceptions import ConfigError

__all__ = ["MlflowSettings"]


def _at_least(least: int) -> Any:
    def check(instance: object, field: attrs.Attribute[Any], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{field.name}={value!r}: give a whole number, {least} or more.")

    return check


@attrs.frozen(kw_only=True)
class MlflowSettings:
    """Read from ``TRACELET_MLFLOW_*``."""

    #: Where MLflow is. Empty: MLflow's own choice (set in code, ``MLFLOW_TRACKING_URI``, ``./mlflow.db``).
    tracking_uri: str = ""
    #: An artifact with more small files than this is uploaded in packs, unless the artifact store is a local folder.
    pack_over: int = attrs.field(default=100, validator=_at_least(0))
    #: Files of at most this many kilobytes (1,000 bytes) are small.
    pack_file_kb: int = attrs.field(default=1000, validator=_at_least(0))
    #: Files of at most this many megabytes (1,000,000 bytes) that are uploaded through a server are read back. Of larger
    #: ones the size is compared.
    read_back_mb: int = attrs.field(default=100, validator=_at_least(0))
    #: Register models, checkpoints and weights in the Model Registry.
    register: bool = True
