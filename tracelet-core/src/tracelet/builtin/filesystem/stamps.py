"""How files look, so that a change of one is seen."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Iterator
from pathlib import Path

import attrs

from tracelet.builtin.filesystem.passing import PassedOver
from tracelet.builtin.filesystem.places import Place
from tracelet.plugin import final_name

__all__ = ["Stamp", "growing_in", "looks_in", "scan", "stamp_of"]


@attrs.frozen
class Stamp:
    """What tells one state of a file from another, and whose it is."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    owner: int


def stamp_of(place: Place, path: str) -> Stamp | None:
    """Return how a regular file of a place looks, also one behind a link that stays inside; None where there is none."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            if place.leads_out(path):
                return None
            status = os.stat(path)  # noqa: PTH116 - see Place
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_uid)


def looks_in(place: Place, folder: str) -> dict[str, Stamp]:
    """Return how each file of a folder looks, also a hidden one, but none behind a link that leads out of the folder."""
    real = os.path.realpath(folder)
    paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]  # noqa: PTH118 - see Place
    inside = [path for path in paths if Path(os.path.realpath(path)).is_relative_to(real)]
    return {path: stamp for path in inside if (stamp := stamp_of(place, path)) is not None}


#: Files that a program adds to for as long as it runs: that they grow does not say that a folder is being copied.
_ADDED_TO = re.compile(
    r".*\.(?:log|out|err|txt|md|csv|tsv|jsonl|ndjson|h5|hdf5|db|sqlite3?)(?:-wal|-journal)?|(?:.*\.)?tfevents\..*",
    re.IGNORECASE | re.DOTALL,
)


def growing_in(place: Place, folder: str, complete: Container[str]) -> dict[str, Stamp]:
    """Return how those files of a folder look that are not complete, under temporary names too.

    Logs and their kin are left out, and what is hidden for good.
    """
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = f"{where}{os.sep}{name}"
            last = final_name(name) or ""
            if path in complete or last.startswith(".") or _ADDED_TO.fullmatch(last):
                continue
            if (stamp := stamp_of(place, path)) is not None:
                found[path] = stamp
    return found


def scan(place: Place, folder: str | None = None, passed: PassedOver | None = None) -> Iterator[tuple[str, Stamp]]:
    """Give the absolute path of every file of a place that is to be looked at, or of those in a folder of it.

    Links to folders are not followed, and links to files only where they stay inside. What cannot be read is left out.
    ``passed`` is told of all that is passed over.
    """
    folders = [folder or place.path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                inside = list(entries)
        except OSError:
            continue
        for entry in inside:
            if (found := place.passes_over(entry.path)) is not None:
                if passed is not None:
                    passed.say(*found)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif (stamp := stamp_of(place, entry.path)) is not None:
                yield entry.path, stamp
            elif passed is not None:
                passed.look(place, entry.path)
