"""Which dimension the samples are in: it is the first, unless the batch may have time there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import attrs

from tracelet_lightning.failures import log_failure
from tracelet_lightning.rows import plain_tensor

__all__ = ["Loading", "is_recurrent", "loading_of", "may_be_time_first", "time_first"]


@attrs.frozen
class Loading:
    """What the dataloader of the validation says of its batches."""

    #: How many samples the first batch has; None where the dataloader does not say it.
    expected: int | None = None
    #: Whether torch's own function makes the batches of samples: then no batch is a list of samples.
    collated: bool = False
    #: Whether the dataloader passes on what its dataset gives, be that batches or single samples.
    unbatched: bool = False
    #: Whether a batch has samples of several dataloaders, one beside the other.
    joined: bool = False


def loading_of(module: Any) -> Loading:
    """Return what the dataloader of the module's validation says of its batches."""
    with log_failure("how the validation's batches are made", logging.DEBUG):
        if getattr(module, "_trainer", None) is not None:
            loop = module.trainer.fit_loop.epoch_loop.val_loop
            mode = getattr(getattr(loop, "_combined_loader", None), "_mode", "sequential")
            return _loading(module.trainer.val_dataloaders, joined=mode != "sequential")
    return Loading()


def _loading(loaders: Any, *, joined: bool) -> Loading:
    """Return what the first of some dataloaders says; ``joined`` says that Lightning takes a batch of each at once."""
    data = import_module("torch").utils.data
    joined = joined and isinstance(loaders, (list, tuple, dict)) and len(loaders) > 1
    while isinstance(loaders, (list, tuple, dict)) and loaders:
        loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders))
    size = getattr(loaders, "batch_size", None)
    size = size if isinstance(size, int) else None
    if not isinstance(loaders, data.DataLoader):
        return Loading(expected=size, unbatched=size is None, joined=joined)
    batched = loaders.batch_sampler is not None
    if size is not None and not isinstance(loaders.dataset, data.IterableDataset):
        size = min(size, len(loaders.sampler))
    return Loading(
        expected=size,
        collated=batched and loaders.collate_fn is data.default_collate,
        unbatched=not batched,
        joined=joined,
    )


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
