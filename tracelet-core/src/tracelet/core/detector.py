"""What a detector is: it watches, and emits what it sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs

from tracelet.core.entries import ArtifactType, check_name
from tracelet.settings import NoSettings

__all__ = ["Detection", "Detector", "DetectorSpec"]


@attrs.frozen(kw_only=True)
class Detection:
    """A file that a detector saw completed."""

    path: Path
    #: Name of the artifact it belongs to.
    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value))
    type: ArtifactType
    description: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    aliases: tuple[str, ...] = ()


class Detector(Protocol):
    """Watches one source of artifacts. Neither method may raise into, print into or slow the user's code."""

    def start(self, emit: Callable[[Detection], None]) -> None:
        """Begin to watch. ``emit`` never blocks and may be called from any thread."""
        ...

    def stop(self) -> None:
        """Stop watching and leave nothing behind; a second call does nothing."""
        ...


@attrs.frozen(kw_only=True)
class DetectorSpec:
    """How core gets a detector; what a plugin's ``tracelet_detectors`` hook returns."""

    name: str = attrs.field(validator=lambda _self, _field, value: check_name(value, "detector"))
    create: Callable[[Any], Detector]
    #: An attrs class, read from ``TRACELET_<NAME>_*``.
    settings: type[attrs.AttrsInstance] = NoSettings
