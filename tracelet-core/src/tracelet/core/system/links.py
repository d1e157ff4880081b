"""Links in a tracelet directory: it may have come from elsewhere, and what lies behind a link is somebody else's.

The directory itself may be reached by a link. Below it none is followed when anything is read, written or deleted.
A hard link cannot be told from a file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tracelet.exceptions import ConfigError, IntegrityError

__all__ = ["check_directory", "check_parts", "check_tree", "check_way", "entries", "raise_unless_gone", "read_own"]

#: Folders that are found by listing, and how many floors of them there are: a link there would lead all below it away.
_LISTED = {"outbox": 1, "uses": 1, "captured": 0, "puts": 0}


def check_directory(directory: Path) -> None:
    """Raise :class:`~tracelet.ConfigError` where a folder that Tracelet makes in its directory is a link instead."""
    for folder, floors in ((directory, 0), *((directory / name, floors) for name, floors in _LISTED.items())):
        for link in _links(folder, floors):
            raise ConfigError(
                f"{link} is a link, and Tracelet follows none in its directory: delete it. The directory itself may be "
                "a link; or set TRACELET_DIR to another disk."
            )


def _links(folder: Path, floors: int) -> Iterator[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return  # it is no folder; or whoever uses it says why it cannot be listed
    for entry in found:
        if entry.is_symlink():
            yield entry
        elif floors:
            yield from _links(entry, floors - 1)


def check_way(root: Path, path: Path) -> Path:
    """Return ``path``, which is below ``root``; raises :class:`~tracelet.IntegrityError` where a link is on the way to it, or in its place."""
    check_parts(str(root), path.relative_to(root).parts)
    return path


def check_parts(root: str, parts: Iterable[str]) -> str:
    """Return the path that these parts lead to from ``root``; raises as :func:`check_way` does.

    It is all text: whoever lists thousands of versions comes this way thousands of times.
    """
    place = root
    for part in parts:
        place = f"{place}{os.sep}{part}"
        if os.path.islink(place):  # noqa: PTH114 - see above
            raise IntegrityError(f"{place} is a link, and Tracelet follows none in its own folders: delete it.")
    return place


def check_tree(path: Path) -> Path:
    """Return ``path``; raises :class:`~tracelet.IntegrityError` where it is, or holds, anything but folders and regular files."""
    below = (Path(folder, name) for folder, names, files in os.walk(path) for name in (*names, *files))
    for place in (path, *below):
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            continue  # others may be deleting it
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise IntegrityError(f"{place} is a link, or no regular file: delete it.")
    return path


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without its links; nothing where there is no folder, or a link to one."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.is_symlink())


def read_own(path: Path) -> bytes:
    """Read a small file of Tracelet's own.

    Raises ``OSError`` where it cannot be read, and :class:`~tracelet.IntegrityError` where it is a link, or no regular
    file, which a reader might wait for for ever.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise IntegrityError(f"{path} is a link, or no regular file: delete it.")
    return path.read_bytes()


def raise_unless_gone(error: OSError) -> None:
    """Raise, for ``os.walk``: a folder that cannot be listed is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error
