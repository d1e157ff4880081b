"""An artifact of files and folders that are already there: its type is sniffed, and its name made, where none is given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.checks import check_place
from tracelet.core.artifacts.entries import ArtifactType, check_type
from tracelet.core.capture.snapshots import artifact_name
from tracelet.core.capture.sniffing import tell_type

__all__ = ["artifact_of"]


def artifact_of(
    paths: Sequence[str | os.PathLike[str]],
    name: str | None,
    type: ArtifactType | str | None,
    *,
    description: str | None,
    metadata: Mapping[str, Any] | None,
    follow_links: bool,
) -> TraceletArtifact:
    """Return an artifact of files and folders.

    A file is at its own name in it. What is in a folder is at the top where the folder is alone, and else in a folder of
    that name. The name is made of the first path. Raises :class:`~tracelet.ArtifactError` for what cannot be added.
    """
    places = [Path(check_place(path)) for path in paths]
    kind = _common_type(places, follow_links) if type is None else check_type(type)
    made = TraceletArtifact(artifact_name(places[0].name, kind) if name is None else name, kind, description)
    if metadata is not None:
        made.metadata = metadata
    for place in places:
        if os.path.isdir(place):  # noqa: PTH112 - it answers for paths that are too long, too
            made.add_dir(place, place.name if len(places) > 1 else None, follow_links=follow_links)
        else:
            made.add_file(place)
    return made


def _common_type(places: Sequence[Path], follow_links: bool) -> ArtifactType:
    told = {tell_type(place, follow_links=follow_links) for place in places}
    return told.pop() if len(told) == 1 else ArtifactType.CUSTOM
