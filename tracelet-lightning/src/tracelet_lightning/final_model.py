"""The model that a ``fit`` makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tracelet.plugin import ArtifactType, Detection
from tracelet_lightning import metadata
from tracelet_lightning.failures import LOG
from tracelet_lightning.names import artifact_name

__all__ = ["detection_of"]

#: With these strategies each process holds a part of the model, so that no process can store it.
_SHARDED = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy", "XLAFSDPStrategy"}


def detection_of(trainer: Any, module: Any) -> Callable[[Any], Detection] | None:
    """Return a function that makes the detection of the model, or None where no process has all of the model.

    The state of the training is that of now. The model comes later: where children train, it is the parent's.
    """
    if _SHARDED.intersection(cls.__name__ for cls in type(trainer.strategy).__mro__) or _has_shards(module):
        LOG.debug("the final model is not captured: no process has all of it.")
        return None
    make = partial(
        Detection,
        type=ArtifactType.MODEL,
        name=artifact_name(module, "model"),
        description=f"{type(module).__name__} at the end of its training",
        metadata=metadata.of_training(trainer),
        aliases=("final",),
    )
    return lambda model: make(model=model)


def _has_shards(module: Any) -> bool:
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and any(isinstance(one, tensors.DTensor) for one in module.parameters())
