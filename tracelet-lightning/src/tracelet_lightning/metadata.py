"""The metadata of an artifact: the state of the training, as plain values."""

from __future__ import annotations

import sys
from typing import Any

from tracelet_lightning.names import class_of
from tracelet_lightning.plain import plain

__all__ = ["of_checkpoint", "of_training"]


def of_training(trainer: Any) -> dict[str, Any]:
    """Return the state of the training."""
    module, datamodule = trainer.lightning_module, trainer.datamodule
    kind = class_of(module)
    return {
        "epoch": int(trainer.current_epoch),
        "global_step": int(trainer.global_step),
        "metrics": plain(dict(trainer.callback_metrics)),
        "learning_rates": plain(
            [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups if "lr" in group]
        ),
        "hyperparameters": _hyperparameters(module),
        "datamodule_hyperparameters": _hyperparameters(datamodule),
        "precision": str(trainer.precision),
        "strategy": type(trainer.strategy).__name__,
        "accelerator": type(trainer.accelerator).__name__,
        "world_size": int(trainer.world_size),
        "max_epochs": trainer.max_epochs,
        "module": f"{kind.__module__}:{kind.__qualname__}",
        "framework": _framework(trainer),
    }


def of_checkpoint(trainer: Any, callback: Any) -> dict[str, Any]:
    """Return the state of the training, and the callback that saves the checkpoint; None is the user's own code."""
    saved_by = "Trainer.save_checkpoint" if callback is None else type(callback).__name__
    found = {**of_training(trainer), "saved_by": saved_by}
    if getattr(callback, "monitor", None):
        score = plain(trainer.callback_metrics.get(callback.monitor))
        found |= {"monitor": str(callback.monitor), "score": score}
    return found


def _hyperparameters(holder: Any) -> Any:
    # Reading the property makes an empty set of them, which would then be stored with the model.
    return plain(holder.hparams) if "_hparams" in vars(holder or object) else {}


def _framework(trainer: Any) -> str:
    names = (cls.__module__.partition(".")[0] for cls in type(trainer).__mro__)
    package = next((name for name in names if name in {"lightning", "pytorch_lightning"}), "")
    return f"{package} {getattr(sys.modules.get(package), '__version__', '')}".strip()
