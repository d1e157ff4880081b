"""Checkpoints of Orbax: each is complete once Orbax commits it, maybe in a thread of its own after the save has returned."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from tracelet.builtin.saves.destinations import Destination, folder_destination
from tracelet.builtin.saves.naming import numbered
from tracelet.builtin.saves.watching import Tell, guarded
from tracelet.builtin.saves.what import LAST, What
from tracelet.plugin import ArtifactType, checkpoint_name, plain_data, saving

__all__ = ["COMMITS", "Commit"]


#: Bytes of a file of metrics that is read.
_LARGEST_METRICS = 100_000


@attrs.frozen(eq=False)
class Commit:
    """The coroutine function that gives a checkpoint its last name, which all of Orbax's checkpointers call."""

    switch: str
    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}"

    def around(
        self, original: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], tell: Tell
    ) -> Awaitable[Any]:
        """Return the commit, and tell of the checkpoint at its end: Orbax deletes older checkpoints only then."""
        commit = original(*args, **kwargs)
        destination: Destination | None = guarded(self, _destination, *args, *kwargs.values())
        return commit if destination is None else _told(commit, destination, tell)


async def _told(commit: Awaitable[Any], destination: Destination, tell: Tell) -> Any:
    with saving(*destination.saved_paths) as outermost:
        result = await commit
        if outermost:
            guarded(destination.path, _tell, destination, tell)
    return result


def _destination(temporary: Any, *_: Any) -> Destination | None:
    return folder_destination(temporary.get_final())


def _tell(destination: Destination, tell: Tell) -> None:
    if destination.complete():
        tell(destination, _what(destination.path))


def _what(folder: Path) -> What:
    """A folder that is called by its step alone is of the folder that it is in."""
    metadata = {"global_step": numbered(folder), "metrics": _metrics(folder)}
    return What(
        ArtifactType.CHECKPOINT,
        {
            **{key: value for key, value in metadata.items() if value is not None},
            "framework": f"orbax {sys.modules['orbax.checkpoint'].__version__}",
        },
        checkpoint_name(folder.parent if folder.name.isdecimal() else folder, "orbax"),
        LAST,
    )


def _metrics(folder: Path) -> dict[str, Any] | None:
    """Return the metrics that a ``CheckpointManager`` was given with a checkpoint; None where it was given none."""
    path = folder / "metrics" / "metrics"
    try:
        if path.stat().st_size > _LARGEST_METRICS:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return plain_data(found) if isinstance(found, dict) else None


COMMITS = (Commit("orbax", "orbax.checkpoint._src.path.atomicity", "on_commit_callback"),)
