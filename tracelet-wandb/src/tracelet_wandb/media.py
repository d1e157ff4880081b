"""Show images, sounds, videos, plots and tables of samples on the run, as W&B's users expect it."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import wandb
from PIL.Image import DecompressionBombError

from tracelet.plugin import MEDIA_FAULTS, ArtifactFile, ArtifactType, SealedArtifact
from tracelet_wandb.names import table_name

__all__ = ["show"]

_LOG = logging.getLogger("tracelet.wandb")

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
_SOUNDS = frozenset({".wav", ".mp3", ".ogg", ".flac", ".m4a"})
_VIDEOS = frozenset({".mp4", ".webm", ".ogg", ".gif"})
_PAGES = frozenset({".html", ".htm"})
#: By type: suffixes, and the W&B object that shows such a file.
_MAKERS: dict[ArtifactType, tuple[tuple[frozenset[str], Callable[[str, str], Any]], ...]] = {
    ArtifactType.IMAGE: ((_IMAGES, lambda path, caption: wandb.Image(path, caption=caption)),),
    ArtifactType.AUDIO: ((_SOUNDS, lambda path, caption: wandb.Audio(path, caption=caption)),),
    ArtifactType.VIDEO: ((_VIDEOS, lambda path, caption: wandb.Video(path, caption=caption)),),
    ArtifactType.VISUALIZATION: (
        (_IMAGES, lambda path, caption: wandb.Image(path, caption=caption)),
        (_PAGES, lambda path, caption: wandb.Html(Path(path).read_text(errors="replace"), inject=False)),
    ),
}
#: What the SDK, Pillow and the readers of tables raise for what cannot be shown.
_FAULTS: tuple[type[Exception], ...] = (*MEDIA_FAULTS, wandb.Error, csv.Error, DecompressionBombError)


def show(run: wandb.Run, sealed: SealedArtifact, folder: Path, *, files: int, rows: int) -> None:
    """Log an artifact's media under its name: at most ``files`` files, and ``rows`` rows of each table.

    Each of several tables is under the artifact's name and its own path. The artifact is stored by then. For what cannot be
    shown (a damaged image, a missing library) there is a warning.
    """
    name = sealed.manifest.name
    if not files:
        return
    try:
        with TemporaryDirectory(dir=folder) as scratch:
            shown = list(islice(_shown(sealed, Path(scratch), rows), files))
            if sealed.manifest.type is ArtifactType.SAMPLE:
                # W&B shows several tables only if each has a name of its own.
                several = len(shown) > 1
                run.log({table_name(f"{name}/{path}" if several else name, run.id): table for path, table in shown})
            elif shown:
                run.log({name: [one for _, one in shown] if len(shown) > 1 else shown[0][1]})
    except _FAULTS as error:
        _LOG.warning("W&B shows nothing of %r on the run: %s: %s", name, type(error).__name__, error)


def _shown(sealed: SealedArtifact, scratch: Path, rows: int) -> Iterator[tuple[str, Any]]:
    """Yield what can be shown, with its path. For a file that cannot there is a warning."""
    for file in sealed.manifest.payload:
        try:
            if sealed.manifest.type is ArtifactType.SAMPLE:
                one = _table(file, sealed.sources[file.artifact_path], rows)
            else:
                one = _medium(file, sealed, scratch)
        except _FAULTS as error:
            _LOG.warning(
                "%r is stored, and W&B does not show its %r: %s: %s",
                sealed.manifest.name,
                file.artifact_path,
                type(error).__name__,
                error,
            )
        else:
            if one is not None:
                yield file.artifact_path, one


def _medium(file: ArtifactFile, sealed: SealedArtifact, scratch: Path) -> Any:
    suffix = PurePosixPath(file.artifact_path).suffix.lower()
    for suffixes, make in _MAKERS.get(sealed.manifest.type, ()):
        if suffix in suffixes:
            # The SDK needs the suffix, and a file that waited in the outbox has none.
            copy = scratch / f"{len(list(scratch.iterdir()))}{suffix}"
            shutil.copyfile(sealed.sources[file.artifact_path], copy)
            return make(str(copy), file.artifact_path)
    return None


def _table(file: ArtifactFile, source: Path, rows: int) -> wandb.Table | None:
    suffix = PurePosixPath(file.artifact_path).suffix.lower()
    if suffix in {".csv", ".tsv"}:
        with source.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream, delimiter="\t" if suffix == ".tsv" else ",")
            columns = next(reader, [])
            data: list[list[Any]] = [
                [_number(cell) for cell in row] for row in islice(reader, rows) if len(row) == len(columns)
            ]
    elif suffix == ".jsonl":
        with source.open(encoding="utf-8") as stream:
            columns, data = _records([json.loads(line) for line in islice(stream, rows) if line.strip()])
    elif suffix == ".json":
        with source.open(encoding="utf-8") as stream:
            content = json.load(stream)
        columns, data = _records(content[:rows] if isinstance(content, list) else [])
    else:
        return None
    return wandb.Table(columns=[*columns], data=data, allow_mixed_types=True) if columns else None


def _records(records: list[Any]) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows of a list of objects; nothing where it is a list of anything else."""
    if not all(isinstance(record, dict) for record in records):
        return [], []
    columns = list(dict.fromkeys(key for record in records for key in record))
    return columns, [[_cell(record.get(key)) for key in columns] for record in records]


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
