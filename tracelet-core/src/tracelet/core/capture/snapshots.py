"""Snapshots of what a detector saw: copies, links, or files of the detector's own, which are moved."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.packed_names import stem_of
from tracelet.core.capture.readable_names import readable_name
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import Stamp, copy_file, hash_blob, make_folder, stamp

__all__ = [
    "Look",
    "Outdated",
    "artifact_name",
    "content_of",
    "delete_taken",
    "has_grown",
    "keep_file",
    "look_of",
    "same_look",
    "size_of",
    "snapshot",
    "weight_of",
]

#: What tells one state of a file from another, whatever it is called: device, inode, bytes and mtime.
Look = tuple[int, int, int, int]

_LONGEST_NAME = 128


def artifact_name(artifact_path: str, kind: ArtifactType) -> str:
    """Return the name of an artifact that nobody named: its folders, its file's stem, and its type.

    ``run1/model.pth`` of weights is ``run1.model-weights``, as is a packed ``run1/model.pth.gz``; a stem that ends with the
    type's name says it already.
    """
    *folders, file = artifact_path.split("/")
    stem = stem_of(file) if stem_of(file).strip(".") else file
    said = re.fullmatch(rf"(.*[^A-Za-z0-9])?{kind.value}", stem, re.IGNORECASE)
    ending = "" if said else f"-{kind.value}"
    whole = ".".join([*folders, stem])
    return readable_name(whole, _LONGEST_NAME - len(ending), strip=".-", otherwise="file") + ending


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, or the file itself. A link out of the folder is left out."""
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            if file.is_file() and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path)):
                yield file


def has_grown(detection: Detection) -> bool:
    """Tell whether files have come into a folder after those that its detector found there."""
    if detection.path is None or not detection.stamps:
        return False
    newest = max(one.mtime_ns for one in detection.stamps.values())
    with contextlib.suppress(OSError):
        return any(file not in detection.stamps and file.stat().st_mtime_ns > newest for file in _files(detection.path))
    return True


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of the files of a folder. Raises ``OSError`` where there is none."""
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    return sum(file.stat().st_size for file in _files(path))


def look_of(path: Path) -> Look | None:
    """Return how a regular file looks; None for anything else."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def weight_of(model: Any) -> int:
    """Return the bytes of a live model's parameters, or 0 where it has none to show. Its files are about as large."""
    total = 0
    for name in ("parameters", "buffers"):
        give = getattr(model, name, None)
        with contextlib.suppress(TypeError, ValueError, AttributeError, RuntimeError):
            total += sum(int(getattr(one, "nbytes", 0)) for one in give()) if callable(give) else 0
    return total


def delete_taken(detection: Detection, workspace: Path) -> None:
    """Delete a file or folder that a detector made for capture, and the empty folder around it."""
    made = detection.path
    if made is None or detection.snapshot != "take":
        return
    if made.is_dir():
        shutil.rmtree(made, ignore_errors=True)
    else:
        made.unlink(missing_ok=True)
    if made.parent != workspace and made.is_relative_to(workspace):
        with contextlib.suppress(OSError):  # the folder is not empty
            made.parent.rmdir()


class Outdated(Exception):
    """A file has changed since its detector found it complete."""


def snapshot(detection: Detection, target: Path) -> dict[str, Stamp]:
    """Make a snapshot of a detection's file or folder at ``target``, which does not exist yet.

    Returns how each file looked, by its real path; of what is moved it returns nothing. Raises ``OSError`` where it cannot
    be read, :class:`~tracelet.core.system.files.FileChanged` where it changes meanwhile, and :class:`Outdated` where it has
    changed since it was found complete.
    """
    assert detection.path is not None
    if detection.snapshot == "take":
        shutil.move(detection.path, target)
        return {}
    files: Iterable[Path]
    if detection.beside:
        files, folder = (detection.path, *detection.beside), detection.path.parent
    elif detection.path.is_dir():
        files, folder = detection.stamps or _files(detection.path), detection.path
    else:
        return {os.path.realpath(detection.path): _keep(detection, detection.path, target)}
    make_folder(target)
    looks = {}
    for file in files:
        kept = target / file.relative_to(folder)
        make_folder(kept.parent)
        looks[os.path.realpath(file)] = _keep(detection, file, kept)
    return looks


def _keep(detection: Detection, file: Path, target: Path) -> Stamp:
    seen = keep_file(file, target, linked=detection.snapshot == "link")
    told = detection.stamp if file == detection.path else detection.stamps.get(file)
    if told is not None and not same_look(seen, told):
        raise Outdated
    return seen


def same_look(one: Stamp, other: Stamp) -> bool:
    """Tell whether two looks at a file, whenever they were, saw the same."""
    return attrs.evolve(one, taken_ns=0) == attrs.evolve(other, taken_ns=0)


def keep_file(source: Path, target: Path, *, linked: bool) -> Stamp:
    """Copy a file, or link it where that is possible; return how it looked. Raises ``OSError`` where that fails."""
    if linked:
        with contextlib.suppress(OSError):  # another filesystem, or one without links
            os.link(os.path.realpath(source), target)
            return stamp(target.stat())
    return copy_file(source, target, durable=False)


def content_of(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the relative path and the sha256 of each file of a snapshot."""
    return tuple(sorted((str(file.relative_to(path)), hash_blob(file)) for file in _files(path)))
