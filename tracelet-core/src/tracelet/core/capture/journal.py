"""What was captured and is not in the outbox yet: noted at once, so that a later process finds it after a crash.

    captured/<experiment>/<order>~<id>.jsonl   about one run of one process: a line for the run, one for each thing that
                                               was kept, one when that is submitted, or need not be, and one when the
                                               run ends and leaves something to others
    captured/<experiment>/<…>.lease            who is finishing it in place of a dead owner

A note is one write at the end of the file: it is there, or it is not, and threads do not mix theirs. It begins with the end
of a line, so that one that a full disk cut off spoils no other.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.plain import converter
from tracelet.core.delivery.clock import clock_of
from tracelet.core.plugins.detector import Detection
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.files import Stamp, make_folder, share
from tracelet.core.system.links import read_own
from tracelet.core.system.messages import many
from tracelet.core.system.processes import ProcessId, is_dead
from tracelet.core.system.schemas import SCHEMA, check_schema
from tracelet.exceptions import IntegrityError, NewerFormat, TraceletError

__all__ = ["Captured", "Head", "Journal", "Kept", "Leftover", "journals", "leftovers"]

_LOG = logging.getLogger("tracelet.automagic")

#: The files of a capture with their sha256, by path.
Content = tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class Head:
    """The first line of a journal: whose captures they are, and for which backends."""

    owner: ProcessId
    run: RunInfo
    backends: list[str]
    routing: str
    #: Where the snapshots are.
    folder: Path


@attrs.frozen
class Kept:
    """A detection whose snapshot is in a folder of its number."""

    number: int
    #: Two detections of the same key are of the same thing.
    key: str
    detection: Detection


@attrs.frozen
class Captured:
    """The last capture of one thing."""

    content: Content
    detection: Detection
    inside: str
    aliases: frozenset[str]


@attrs.frozen
class Leftover:
    """A journal whose run is over, or whose process is dead."""

    path: Path
    head: Head
    #: What was kept and not submitted.
    waiting: tuple[Kept, ...]
    #: By key: what was submitted last.
    last: dict[str, Captured]
    #: The first number that nothing in it has had.
    free_number: int
    #: Whether its run has ended, and left it to others.
    over: bool = False


class Journal:
    """The notes of one process about one run. The file is made by :meth:`open`, and deleted when all is submitted."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        self._head = head
        self._file = -1

    @classmethod
    def begun(cls, directory: Path, head: Head) -> Journal:
        """Begin a journal in a tracelet directory."""
        order = clock_of(directory, head.run.experiment).tick()
        name = f"{order:020d}~{uuid.uuid4().hex}.jsonl"
        return cls(directory / "captured" / physical_name(head.run.experiment) / name, head)

    def open(self) -> None:
        """Make the file, or open it again; one thread does so before the first note. Raises ``OSError`` where it cannot be written."""
        make_folder(self._path.parent)
        new = not self._path.exists()
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if new:
                share(self._path)
                self._write({"schema": SCHEMA, **converter().unstructure(self._head)}, b"")
        except OSError:
            self.let_go()
            self._path.unlink()
            raise

    def kept(self, what: Kept) -> None:
        """Note a snapshot. Raises ``OSError`` where that cannot be written."""
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
                "beside": [str(one) for one in seen.beside],
                "stamp": None if seen.stamp is None else attrs.astuple(seen.stamp),
                "stamps": {str(path): attrs.astuple(one) for path, one in seen.stamps.items()},
            }
        )

    def done(self, number: int, key: str = "", captured: Captured | None = None) -> None:
        """Note that something is submitted, or need not be.

        Where that cannot be written a later process finds no snapshot of it, and does nothing either.
        """
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
        try:
            self._write(noted)
        except OSError as error:
            _LOG.debug("%s: the end of number %d is not noted: %s", self._path, number, error)

    def close(self, *, finished: bool) -> None:
        """Close the file. Where all is ``finished`` it is deleted; otherwise any process may finish it."""
        if self._file >= 0 and not finished:
            with contextlib.suppress(OSError):  # or it is at the end of this process
                self._write({"over": True})
        self.let_go()
        if finished:
            self._path.unlink(missing_ok=True)
        self._path.with_suffix(".lease").unlink(missing_ok=True)

    def let_go(self) -> None:
        """Close the file and leave it as it is. A forked child may do no more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _write(self, note: dict[str, Any], before: bytes = b"\n") -> None:
        line = before + json.dumps(note).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))


def leftovers(directory: Path, experiment: str | None = None) -> Iterator[Leftover]:
    """Yield the journals of runs that are over, and of processes that are known to be dead, of one experiment or all, oldest first."""
    for found in journals(directory, experiment):
        if found.over or is_dead(found.head.owner):
            yield found


def journals(directory: Path, experiment: str | None = None) -> Iterator[Leftover]:
    """Yield all journals that can be read, also those of living processes, of one experiment or all, oldest first."""
    folder = "*" if experiment is None else physical_name(experiment)
    for path in sorted((directory / "captured").glob(f"{folder}/*.jsonl"), key=lambda path: path.name):
        found = _read(path)
        if found is None:
            continue
        if "~" not in found.head.folder.name:
            _LOG.warning("%s names a folder that is not its own: what it tells of is not delivered.", path)
            continue
        # The directory may have moved since.
        own = attrs.evolve(found.head, folder=directory / "staging" / found.head.folder.name)
        yield attrs.evolve(found, head=own)


def _read(path: Path) -> Leftover | None:
    """Read a journal. A line that cannot be read spoils no other.

    Returns None where there is no journal, or none that this release can read.
    """
    try:
        lines = read_own(path).split(b"\n")
    except FileNotFoundError:
        return None  # another process has finished it
    except (OSError, IntegrityError) as error:
        _LOG.warning("%s cannot be read: %s", path, error)
        return None
    ended, cut = lines[:-1], lines[-1]
    notes = [note for line in ended if line and (note := _parsed(line)) is not None]
    reading = _Reading()
    try:
        bad = sum(bool(line) for line in ended) - len(notes) + sum(not reading.take(note) for note in notes)
    except NewerFormat as error:
        _LOG.warning("%s: %s", path, error)
        return None
    if reading.head is None:
        if notes or bad or cut:
            _LOG.warning("%s does not say whose captures it is about: they are not delivered.", path)
        return None
    if bad:
        _LOG.warning(
            "%s: %s: what is told there is not delivered.",
            path,
            many(bad, "line is unreadable", "lines are unreadable"),
        )
    return Leftover(
        path, reading.head, tuple(reading.waiting.values()), reading.last, reading.free_number, reading.over
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        note = json.loads(line)
    except (RecursionError, ValueError):
        return None
    return note if isinstance(note, dict) else None


class _Reading:
    """The state of a journal, read note by note."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.waiting: dict[int, Kept] = {}
        self.last: dict[str, Captured] = {}
        self.over = False
        #: Two threads may have noted the end of one thing.
        self._ended: dict[int, Kept] = {}

    @property
    def free_number(self) -> int:
        return max((*self.waiting, *self._ended), default=-1) + 1

    def take(self, note: dict[str, Any]) -> bool:
        """Apply a note; return False for one that means nothing. Raises :class:`NewerFormat` for the notes of a later release."""
        try:
            check_schema(note, SCHEMA, "this journal of captures")
            if "owner" in note:
                self.head = self.head or converter().structure(note, Head)
            elif "done" in note:
                self._end(note)
            elif "over" in note:
                self.over = True
            else:
                self.waiting[note["number"]] = Kept(note["number"], note["key"], _detection(note))
        except NewerFormat:
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, TraceletError):
            return False
        return True

    def _end(self, note: dict[str, Any]) -> None:
        number = note["done"]
        if number in self.waiting:
            self._ended[number] = self.waiting.pop(number)
        kept = self._ended.get(number)
        if kept is not None and "content" in note:
            said = attrs.evolve(kept.detection, name=note["name"], type=ArtifactType(note["type"]))
            content = tuple((file, sha256) for file, sha256 in note["content"])
            # The one that was captured last comes last.
            self.last.pop(note["key"], None)
            self.last[note["key"]] = Captured(content, said, note["inside"], frozenset(note["aliases"]))


def _detection(note: dict[str, Any]) -> Detection:
    path = Path(note["path"])
    if path.name in {"", ".."} or not isinstance(note["number"], int):
        raise ValueError(note)
    return Detection(
        path=path,
        type=ArtifactType(note["type"]) if note["type"] is not None else None,
        name=note["name"],
        artifact_path=note["artifact_path"],
        description=note["description"],
        metadata=note["metadata"],
        aliases=tuple(note["aliases"]),
        snapshot=note["snapshot"],
        # Earlier releases did not note what follows. The snapshot was compared with the stamps before it was noted; they
        # still tell that who watches found this, so that it is a version of what was saved there.
        beside=tuple(map(Path, note.get("beside", ()))),
        stamp=None if (stamp := note.get("stamp")) is None else Stamp(*stamp),
        stamps={Path(path): Stamp(*stamp) for path, stamp in note.get("stamps", {}).items()},
    )
