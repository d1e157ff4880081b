"""What the SDK copies aside for an upload, so that a killed upload leaves nothing behind for good.

The SDK copies every file to its own data folder, and moves the copy to its cache when it is uploaded. Where the process
is killed before, the copy stays there for ever, and with every new attempt there is one more. A record of an upload,
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

#: No path begins so: those of copies are absolute.
_HEAD = "schema "


class Record:
    """The copies of one upload; its file is locked for as long as the upload's process lives."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def add(self, copy: str) -> None:
        """Write a copy down, before anything can happen to it."""
        self._stream.write(f"{copy}\n")
        self._stream.flush()


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[Record]:
    """Keep a record of one upload in ``folder``; at the end of the block what is left of its copies goes."""
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
    """Remove what uploads of dead processes left; yield the bytes of each copy. What a later release left is left to it."""
    for path in folder.glob("*.copies"):
        if path.is_symlink() or not path.is_file():
            continue
        with (
            contextlib.suppress(OSError, NewerFormat),
            path.open("r+", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            # Raises where a living process has it.
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

    What lies elsewhere is none, whatever a record says: the tracelet directory may have come from somebody else.
    """
    path, staging = Path(os.path.realpath(copy)), os.path.realpath(get_staging_dir())
    if path.parent == Path(staging):
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            return size
    return 0
