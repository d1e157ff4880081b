"""Functions that save models for a library's own use: caches and backups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tracelet.builtin.saves.watching import Tell
from tracelet.plugin import saving

__all__ = ["INNER", "Inner"]


@attrs.frozen(eq=False)
class Inner:
    """One such function: what is saved while it runs is a part of what it does, and nobody captures it."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], tell: Tell) -> Any:
        """Do what the function does. Raises what it raises."""
        with saving():
            return original(*args, **kwargs)


_BACKUP = "keras.src.callbacks.backup_and_restore"

INNER = (
    # `Memory`, and the `memory` of a pipeline.
    Inner("joblib._store_backends", "StoreBackendMixin.dump_item"),
    Inner(_BACKUP, "BackupAndRestore.on_epoch_end"),
    Inner(_BACKUP, "BackupAndRestore.on_train_batch_end"),
)
