"""Make Aim's own objects of files, so that its explorers show them and compare versions."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
from aim import Audio, Figure, Image, Text
from PIL import Image as Pillow

from tracelet.plugin import MEDIA_FAULTS, ArtifactFile, ArtifactType, SealedArtifact

__all__ = ["Shown", "media"]

_LOG = logging.getLogger("tracelet.aim")

#: Bytes of one file, and files of one artifact, that are shown at most. The run has a second copy of them.
_LARGEST, _MOST = 16_000_000, 100
#: Bytes of a text. Explorers show it whole.
_LONGEST = 200_000
_SEEN = {ArtifactType.IMAGE, ArtifactType.VISUALIZATION, ArtifactType.SAMPLE, ArtifactType.REPORT, ArtifactType.VIDEO}
_READ = {ArtifactType.REPORT, ArtifactType.CONFIG, ArtifactType.CODE, ArtifactType.SAMPLE}
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
_AUDIO = {".wav": "wav", ".mp3": "mp3", ".flac": "flac"}
_TEXTS = frozenset({".txt", ".md", ".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".py", ".sh", ".csv", ".html"})
#: What Pillow, Aim and Plotly raise for a file that is damaged, or is not what its name says.
_UNREADABLE: tuple[type[Exception], ...] = (*MEDIA_FAULTS, Pillow.DecompressionBombError)


@attrs.frozen
class Shown:
    """One step of one sequence of a run."""

    #: ``images``, ``audios``, ``texts`` or ``figures``.
    kind: str
    #: An object, or a list of them.
    value: Any
    #: What distinguishes its sequence from others of the same name.
    context: dict[str, str]


def media(sealed: SealedArtifact) -> Iterator[Shown]:
    """Yield what Aim can show of an artifact. A file that is not what its name says is left out; it is stored all the same."""
    found: dict[str, dict[str, Any]] = {}
    for file in sealed.manifest.payload:
        how = _how(sealed.manifest.type, file)
        if how is None or file.size_bytes > _LARGEST or sum(map(len, found.values())) == _MOST:
            continue
        kind, make = how
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shown = make(sealed.sources[file.artifact_path], file.artifact_path)
        except _UNREADABLE as error:
            _LOG.warning(
                "%r is stored, and Aim does not show its %r: %s: %s",
                sealed.manifest.name,
                file.artifact_path,
                type(error).__name__,
                error,
            )
        else:
            if shown is not None:
                found.setdefault(kind, {})[file.artifact_path] = shown
    for kind, objects in found.items():
        context = {"type": sealed.manifest.type.value}
        if kind == "figures":
            # Aim accepts a list of figures, but shows none of them.
            yield from (Shown(kind, figure, {**context, "file": path}) for path, figure in objects.items())
        else:
            yield Shown(kind, list(objects.values()), context)


def _how(kind: ArtifactType, file: ArtifactFile) -> tuple[str, Callable[[Path, str], Any]] | None:
    suffix = PurePosixPath(file.artifact_path).suffix.lower()
    if suffix in _IMAGES and kind in _SEEN:
        return "images", _image
    if suffix in _AUDIO and kind in {ArtifactType.AUDIO, ArtifactType.SAMPLE}:
        return "audios", lambda source, path: Audio(str(source), format=_AUDIO[suffix], caption=path)
    if suffix == ".json" and kind is ArtifactType.VISUALIZATION:
        return "figures", _figure
    if suffix in _TEXTS and kind in _READ and file.size_bytes <= _LONGEST:
        return "texts", lambda source, path: Text(source.read_text(encoding="utf-8"))
    return None


def _image(source: Path, path: str) -> Any:
    # The format is told by the content: a staged file has no suffix.
    with Pillow.open(source) as picture:
        return Image(picture, caption=path, format=picture.format)


def _figure(source: Path, path: str) -> Any:
    """Return a figure for Plotly's own JSON, and None for any other JSON."""
    content = json.loads(source.read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get("data"), list) or "layout" not in content:
        return None
    from plotly.io import from_json

    return Figure(from_json(json.dumps(content)))
