"""What a save is, as it is told to whoever listens."""

from __future__ import annotations

from typing import Any

import attrs

from tracelet.plugin import ArtifactType

__all__ = ["LAST", "What"]

#: The aliases of a checkpoint that is saved in the course of a training.
LAST = ("last",)


@attrs.frozen
class What:
    """What was saved, where that is not to be told by its file."""

    type: ArtifactType
    metadata: dict[str, Any] = attrs.field(factory=dict)
    #: Of the artifact; None has it made of the file's name.
    name: str | None = None
    aliases: tuple[str, ...] = ()
