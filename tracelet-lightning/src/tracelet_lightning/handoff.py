"""The detections that a child process leaves for the detector in its parent.

``ddp_spawn`` and ``ddp_fork`` train in children, and the experiment runs in their parent. In the children, rank 0 leaves
each detection as a folder: a copy of the file, and ``detection.json``, which is written last. A claim keeps other
detectors from the file until the parent has collected the detection. A child leaves no copy of a model: when ``fit``
returns, the parent has the model, and needs only its name and metadata.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracelet.plugin import ArtifactType, Detection, announce_save, make_folder

__all__ = ["collect", "leave"]

_RECORD = "detection.json"
_CONTENT = "content"


def leave(folder: Path, detection: Detection) -> None:
    """Leave a detection for the parent. Raises ``OSError`` where its file cannot be copied."""
    item = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}"
    make_folder(item / _CONTENT)
    source = detection.path
    place = announced = None
    if source is not None:
        if detection.snapshot != "take":
            place = str(source)
            announced = str(announce_save(folder, [source]))
        target = item / _CONTENT / source.name
        if detection.snapshot == "take":
            source.rename(target)
        elif source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    record = {
        "file": None if source is None else source.name,
        "type": None if detection.type is None else detection.type.value,
        "name": detection.name,
        "artifact_path": detection.artifact_path,
        "description": detection.description,
        "metadata": detection.metadata,
        "aliases": detection.aliases,
        "place": place,
        "claim": announced,
    }
    part = item / f"{_RECORD}.part"
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(item / _RECORD)


def collect(folder: Path, model: Any = None) -> Iterator[Detection]:
    """Yield the complete detections, oldest first; each is removed from the folder when the next one is asked for.

    ``model`` is the model that was trained. Without it, the detections of models stay in the folder.
    """
    for file in sorted(folder.glob(f"*/{_RECORD}")):
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        name, announced = record.pop("file"), record.pop("claim")
        if name is None and model is None:
            continue
        record["type"] = None if record["type"] is None else ArtifactType(record["type"])
        record["aliases"] = tuple(record["aliases"])
        record["place"] = None if record["place"] is None else Path(record["place"])
        if name is None:
            yield Detection(model=model, **record)
        else:
            yield Detection(path=file.parent / _CONTENT / name, snapshot="take", **record)
        shutil.rmtree(file.parent, ignore_errors=True)
        if announced is not None:
            Path(announced).unlink(missing_ok=True)
