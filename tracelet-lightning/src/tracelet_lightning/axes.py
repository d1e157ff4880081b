"""Which dimension the samples are in: it is the first, unless the batch may have time there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tracelet_lightning.failures import log_failure
from tracelet_lightning.rows import plain_tensor

__all__ = ["expected_length", "is_recurrent", "may_be_time_first", "time_first"]


def expected_length(module: Any) -> int | None:
    """Return how many samples the first batch of the validation has by its dataloader; None where that does not say it."""
    with log_failure("the size of the validation's batches", logging.DEBUG):
        if getattr(module, "_trainer", None) is None:
            return None
        loaders = module.trainer.val_dataloaders
        while isinstance(loaders, (list, tuple, dict)) and loaders:
            loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders))
        size = getattr(loaders, "batch_size", None)
        return min(size, len(loaders.sampler)) if isinstance(size, int) else None
    return None


def is_recurrent(module: Any) -> bool:
    """Whether a layer may put out layers or steps of time in its first dimension."""
    recurrent = import_module("torch").nn.RNNBase
    return any(isinstance(one, recurrent) or _has_time_first(one) for one in module.modules())


def time_first(groups: Mapping[str, Any], length: int, expected: int | None, module: Any) -> str | None:
    """Return the name of rows whose second dimension may be the samples, of which the batch has ``length``."""
    values = {name: plain_tensor(rows) for name, rows in groups.items()}
    certain = expected == length or any(dense is None or dense.dim() < 2 for dense in values.values())
    layered = any(map(_has_time_first, module.modules()))
    for name, dense in values.items():
        if dense is None or dense.dim() < 2:
            continue
        second = int(dense.shape[1])
        if second == expected != length or (layered and (second == length or not certain)):
            return name
    return None


def may_be_time_first(value: Any) -> bool:
    """Whether the first two dimensions are equally long."""
    dense = plain_tensor(value)
    return dense is not None and dense.dim() > 1 and dense.shape[0] == dense.shape[1]


def _has_time_first(layer: Any) -> bool:
    return getattr(layer, "batch_first", True) is False
