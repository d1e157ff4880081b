"""What was captured and is not in the outbox yet: noted at once, so that a later process finds it after a crash.

    captured/<experiment>/<time>~<id>.jsonl    about one run of one process: a line for the run, one for each thing that
                                               was kept, and one when that is submitted, or need not be
    captured/<experiment>/<…>.lease            who is finishing it in place of a dead owner

A line is one write at the end of the file: it is there, or it is not, and threads do not mix theirs.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.backend import RunInfo
from tracelet.core.detector import Detection
from tracelet.core.entries import ArtifactType
from tracelet.core.paths import physical_name
from tracelet.core.plain import converter
from tracelet.core.processes import ProcessId, alive, current

__all__ = ["Captured", "Head", "Journal", "Kept", "Leftover", "leftovers"]

#: The files of a capture with their sha256, by path.
Content = tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class Head:
    """Whose captures they are, and where their bytes and they themselves are to go."""

    owner: ProcessId
    run: RunInfo
    backends: list[str]
    routing: str
    #: Where the snapshots are.
    folder: Path


@attrs.frozen
class Kept:
    """Something that was kept: its snapshot is in a folder of its number."""

    number: int
    #: Two detections of the same key are of the same thing.
    key: str
    detection: Detection


@attrs.frozen
class Captured:
    """What was captured last of one thing."""

    content: Content
    detection: Detection
    inside: str
    aliases: frozenset[str]


@attrs.frozen
class Leftover:
    """A journal whose process is dead."""

    path: Path
    head: Head
    #: What was kept and not submitted.
    waiting: tuple[Kept, ...]
    #: By key: what was submitted last.
    last: dict[str, Captured]


class Journal:
    """Notes of what one process captures in one run; there is no file before the first note."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        self._head = head
        self._file = -1

    @classmethod
    def begun(cls, directory: Path, head: Head) -> Journal:
        """Begin a journal in a tracelet directory."""
        name = f"{time.time_ns():020d}~{uuid.uuid4().hex}.jsonl"
        return cls(directory / "captured" / physical_name(head.run.experiment) / name, head)

    def kept(self, what: Kept) -> None:
        """Note what was kept; raises ``OSError`` where that cannot be written."""
        seen = what.detection
        self._write(
            {
                "number": what.number,
                "key": what.key,
                "path": str(seen.path),
                "type": seen.type.value if seen.type is not None else None,
                "name": seen.name,
                "artifact_path": seen.artifact_path,
                "description": seen.description,
                "metadata": seen.metadata,
                "aliases": seen.aliases,
                "snapshot": seen.snapshot,
            }
        )

    def done(self, number: int, key: str = "", captured: Captured | None = None) -> None:
        """Note that something is submitted, or need not be."""
        noted: dict[str, Any] = {"done": number}
        if captured is not None:
            kind = captured.detection.type
            assert kind is not None
            noted |= {
                "key": key,
                "content": captured.content,
                "name": captured.detection.name,
                "type": kind.value,
                "inside": captured.inside,
                "aliases": sorted(captured.aliases),
            }
        self._write(noted)

    def close(self, *, finished: bool) -> None:
        """Write no more; the file goes where all that it tells of is ``finished``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if finished:
            self._path.unlink(missing_ok=True)
        self._path.with_suffix(".lease").unlink(missing_ok=True)

    def _write(self, note: dict[str, Any]) -> None:
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = not self._path.exists()
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if new:
                self._write(converter().unstructure(self._head))
        os.write(self._file, json.dumps(note).encode() + b"\n")


def leftovers(directory: Path, experiment: str | None = None) -> Iterator[Leftover]:
    """Yield the journals of dead processes of this machine, of one experiment or all, oldest first."""
    folder = "*" if experiment is None else physical_name(experiment)
    for path in sorted((directory / "captured").glob(f"{folder}/*.jsonl"), key=lambda path: path.name):
        found = _read(path)
        if found is not None and found.head.owner.host == current().host and not alive(found.head.owner):
            yield found


def _read(path: Path) -> Leftover | None:
    """Read a journal; the end of the last line may be missing. None where another process has finished it."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        head, *notes = [json.loads(line) for line in lines]
    except (FileNotFoundError, ValueError):
        return None
    waiting: dict[int, Kept] = {}
    last: dict[str, Captured] = {}
    for note in notes:
        if "done" not in note:
            waiting[note["number"]] = Kept(note["number"], note["key"], _detection(note))
            continue
        kept = waiting.pop(note["done"])
        if "content" in note:
            said = attrs.evolve(kept.detection, name=note["name"], type=ArtifactType(note["type"]))
            content = tuple((file, sha256) for file, sha256 in note["content"])
            last[note["key"]] = Captured(content, said, note["inside"], frozenset(note["aliases"]))
    return Leftover(path, converter().structure(head, Head), tuple(waiting.values()), last)


def _detection(note: dict[str, Any]) -> Detection:
    return Detection(
        path=Path(note["path"]),
        type=ArtifactType(note["type"]) if note["type"] is not None else None,
        name=note["name"],
        artifact_path=note["artifact_path"],
        description=note["description"],
        metadata=note["metadata"],
        aliases=tuple(note["aliases"]),
        snapshot=note["snapshot"],
    )
