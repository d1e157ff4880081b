"""The tracelet directory that a folder belongs to: in it, or in one above it, as git finds its own."""

from __future__ import annotations

import os
from pathlib import Path

from tracelet.exceptions import ConfigError

__all__ = ["check_owner", "nearest_directory"]


def nearest_directory(folder: Path, name: str) -> Path | None:
    """Return the directory of that name in an absolute folder, or else in the nearest folder above it.

    Only what is a directory counts. None is returned where there is none up to the root of the file system.
    """
    places = (above / name for above in (folder, *folder.parents))
    return next((place for place in places if os.path.isdir(place)), None)  # noqa: PTH112 - Path's raises where it may not look


def check_owner(directory: Path) -> None:
    """Raise :class:`~tracelet.ConfigError` where a directory, or a link to it, is another user's.

    Who can make one in a folder above yours would choose what your commands show and send.
    """
    owners = {directory.lstat().st_uid, directory.stat().st_uid}
    if owners != {os.geteuid()}:
        raise ConfigError(
            f"{directory} is another user's, and is not used unless you name it: say --dir {directory}, or set TRACELET_DIR."
        )
