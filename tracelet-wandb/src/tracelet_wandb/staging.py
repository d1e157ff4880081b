"""The copies that the SDK makes for an upload, and their removal after a kill.

The SDK copies every file to its own data folder, and moves the copy to its cache after the upload. If the process is killed
before, the copy stays for ever, and each new attempt adds one. A record of an upload,
``staging/<id>.copies``, is text: its schema in the first line, ``schema 1``, and the path of a copy in each other one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wandb.sdk.artifacts.staging import get_staging_dir

from tracelet.exceptions import NewerFormat
from tracelet.plugin import make_folder
from tracelet_wandb.schemas import SCHEMA, check_text

__all__ = ["Record", "drop_copy", "recorded", "sweep"]

#: How the first line begins. No path of a copy does: they are absolute.
_HEAD = "schema "


class Record:
    """The record of one upload. Its file is locked as long as the upload's process lives."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def add(self, copy: str) -> None:
        """Note a copy."""
        self._stream.write(f"{copy}\n")
        self._stream.flush()


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[Record]:
    """Keep a record of one upload in ``folder``. At the end of the block its remaining copies are removed."""
    make_folder(folder)
    path = folder / f"{uuid.uuid4().hex}.copies"
    with path.open("x+", encoding="utf-8", errors="surrogateescape") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            stream.write(f"{_HEAD}{SCHEMA}\n")
            yield Record(stream)
        finally:
            for _ in _cleared(path, stream):
                pass


def sweep(folder: Path) -> Iterator[int]:
    """Remove the copies that dead processes left; yield the bytes of each. Records of a later release stay."""
    for path in folder.glob("*.copies"):
        if path.is_symlink() or not path.is_file():
            continue
        with (
            contextlib.suppress(OSError, NewerFormat),
            path.open("r+", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            # Raises if a living process holds it.
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield from _cleared(path, stream)


def _cleared(path: Path, stream: IO[str]) -> Iterator[int]:
    stream.seek(0)
    for line in stream:
        if line.startswith(_HEAD):
            check_text(line.removeprefix(_HEAD), f"{path}, the record of an upload,")
        else:
            yield drop_copy(line.removesuffix("\n"))
    path.unlink(missing_ok=True)


def drop_copy(copy: str) -> int:
    """Remove a copy of the SDK's; return its bytes.

    A file outside the SDK's folder is not removed, whatever a record says: the tracelet directory may be somebody else's.
    """
    path, staging = Path(os.path.realpath(copy)), os.path.realpath(get_staging_dir())
    if path.parent == Path(staging):
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            return size
    return 0
