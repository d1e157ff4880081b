"""An artifact between its two steps of sealing: settled, and not hashed yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.artifacts.manifest import Manifest

__all__ = ["Draft"]


@attrs.frozen
class Draft:
    """An artifact whose files are snapshots that are not hashed yet."""

    manifest: Manifest
    sources: Mapping[str, Path]
    #: Paths whose sources can no longer change, for they are Tracelet's own.
    owned: tuple[str, ...]
    #: By backend: what its ``render`` made of the models.
    rendered: dict[str, Path]
    #: The folder of what was made for it; it goes when the artifact is delivered.
    staging: Path
