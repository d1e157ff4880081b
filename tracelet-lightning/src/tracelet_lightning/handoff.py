"""What a child process saw, for the detector in its parent.

``ddp_spawn`` and ``ddp_fork`` train in children, in which no experiment runs: rank 0 leaves each thing as a folder
with the snapshot and ``detection.json``, which is written last. The file itself is claimed until the parent has
taken that up: what a watcher sees of it is not told first. A model is not left: it is in the parent when ``fit``
has returned, and only what is to be said about it comes from the child.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracelet.plugin import ArtifactType, Detection, leave_claim, make_folder

__all__ = ["collect", "leave"]

_FACTS = "detection.json"
_CONTENT = "content"


def leave(folder: Path, detection: Detection) -> None:
    """Keep a detection for the parent. Raises ``OSError`` where its file cannot be kept."""
    item = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}"
    make_folder(item / _CONTENT)
    source = detection.path
    place = claim = None
    if source is not None:
        if detection.snapshot != "take":
            place = str(source)
            claim = str(leave_claim(folder, [source]))
        target = item / _CONTENT / source.name
        if detection.snapshot == "take":
            source.rename(target)
        elif source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    facts = {
        "file": None if source is None else source.name,
        "type": None if detection.type is None else detection.type.value,
        "name": detection.name,
        "artifact_path": detection.artifact_path,
        "description": detection.description,
        "metadata": detection.metadata,
        "aliases": detection.aliases,
        "place": place,
        "claim": claim,
    }
    part = item / f"{_FACTS}.part"
    part.write_text(json.dumps(facts), encoding="utf-8")
    part.replace(item / _FACTS)


def collect(folder: Path, model: Any = None) -> Iterator[Detection]:
    """Give what is complete, oldest first; each is gone from the folder when the next is asked for.

    ``model`` is what detections of a model are about; without one they stay where they are.
    """
    for facts in sorted(folder.glob(f"*/{_FACTS}")):
        told: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
        name, claim = told.pop("file"), told.pop("claim")
        if name is None and model is None:
            continue
        told["type"] = None if told["type"] is None else ArtifactType(told["type"])
        told["aliases"] = tuple(told["aliases"])
        told["place"] = None if told["place"] is None else Path(told["place"])
        if name is None:
            yield Detection(model=model, **told)
        else:
            yield Detection(path=facts.parent / _CONTENT / name, snapshot="take", **told)
        shutil.rmtree(facts.parent, ignore_errors=True)
        if claim is not None:
            Path(claim).unlink(missing_ok=True)
