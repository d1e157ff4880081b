"""The aliases of a checkpoint: ``best``, ``last``, ``periodic`` or ``manual``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["aliases"]


def aliases(trainer: Any, path: Path, callback: Any) -> tuple[str, ...]:
    """Return the aliases of a checkpoint; ``callback`` is the one that saves it, or None where the user's code does.

    Where several callbacks monitor a metric, each gives ``best-<monitor>``, and the first gives ``best`` too. Lightning
    notes which checkpoint is the best and the last before it saves it.
    """
    if callback is None:
        return ("manual",)
    found: list[str] = []
    if getattr(callback, "monitor", None) and _same(callback.best_model_path, path):
        monitoring = [one for one in trainer.checkpoint_callbacks if getattr(one, "monitor", None)]
        if callback is monitoring[0]:
            found.append("best")
        if len(monitoring) > 1:
            found.append(_alias(f"best-{callback.monitor}"))
    if _same(getattr(callback, "last_model_path", ""), path) or _becomes_last(callback):
        found.append("last")
    return tuple(found) or ("periodic",)


def _becomes_last(callback: Any) -> bool:
    """Whether the callback links ``last`` to the checkpoint that it saves now; nothing is saved for the link."""
    # Older releases have no links: for them "link" is a true value, and they save a file.
    links = getattr(callback, "save_last", None) == "link" and hasattr(callback, "_link_checkpoint")
    return links and callback.save_top_k != 0


def _same(one: object, path: Path) -> bool:
    return bool(one) and Path(str(one)).absolute() == path


def _alias(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:128]
