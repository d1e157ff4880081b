"""What is said about an artifact: its name, and the state of the training as plain values."""

from __future__ import annotations

import argparse
import enum
import re
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

from tracelet.exceptions import TraceletError
from tracelet.plugin import check_path

__all__ = ["artifact_name", "file_name", "of_checkpoint", "of_training", "plain"]

#: Values in all, depth, and characters of one text: metadata is read by people, and sent with every artifact.
_VALUES = 1000
_DEEPEST = 6
_LONGEST = 1000


def artifact_name(module: Any, kind: str) -> str:
    """Name a series of artifacts by the class of its module: ``LitDigits`` has ``lit-digits-checkpoint``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", type(module).__name__)
    stem = re.sub(r"[^a-z0-9_.-]+", "-", words.lower()).strip("-") or "module"
    return f"{stem[: 127 - len(kind)]}-{kind}"


def file_name(name: str) -> str:
    """Return a file's own name, or one as near to it as an artifact can hold."""
    try:
        return check_path(name)
    except TraceletError:
        return f"checkpoint-{re.sub(r'[^A-Za-z0-9_.=-]+', '-', name)[:200]}"


def of_training(trainer: Any) -> dict[str, Any]:
    """Return where the training is: plain values, of bounded number and size."""
    module, datamodule = trainer.lightning_module, trainer.datamodule
    kind = type(module)
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


def of_checkpoint(trainer: Any, by: Any) -> dict[str, Any]:
    """Return where the training is, and which callback saves, by what measure; None is the user's own call."""
    said = {**of_training(trainer), "saved_by": "Trainer.save_checkpoint" if by is None else type(by).__name__}
    if getattr(by, "monitor", None):
        said |= {"monitor": str(by.monitor), "score": plain(trainer.callback_metrics.get(by.monitor))}
    return said


def _hyperparameters(holder: Any) -> Any:
    # Asking for them makes an empty set of them, which would then be stored with the model.
    return plain(holder.hparams) if "_hparams" in vars(holder or object) else {}


def _framework(trainer: Any) -> str:
    names = (cls.__module__.partition(".")[0] for cls in type(trainer).__mro__)
    package = next((name for name in names if name in {"lightning", "pytorch_lightning"}), "")
    return f"{package} {getattr(sys.modules.get(package), '__version__', '')}".strip()


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot hold is told by its class, what is too much is left out."""
    return _plain(value, _DEEPEST, [_VALUES])


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if isinstance(value, enum.Enum):
        value = value.value if isinstance(value.value, (str, int, float)) else value.name
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else float(min(max(value, -(2**1000)), 2**1000))
    if isinstance(value, (str, PurePath)):
        return _text(value)
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    shape = getattr(value, "shape", None)
    if shape is not None and callable(getattr(value, "item", None)):
        return (
            _plain(value.item(), depth, left)
            if getattr(value, "size", None) == 1 or _numel(value) == 1
            else _told(value)
        )
    if depth and isinstance(value, Mapping):
        items = value.items()
        return {_text(key): _plain(item, depth - 1, left) for key, item in items if left[0] > 0}
    if depth and isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item, depth - 1, left) for item in value if left[0] > 0]
    return _told(value)


def _text(value: object) -> str:
    """A value in words, without the characters that no tracker stores."""
    return str(value)[:_LONGEST].encode(errors="replace").decode().replace("\0", "?")


def _numel(value: Any) -> int:
    count = getattr(value, "numel", None)
    return int(count()) if callable(count) else -1


def _told(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"<{type(value).__qualname__}{'' if shape is None else f' of shape {tuple(shape)}'}>"
