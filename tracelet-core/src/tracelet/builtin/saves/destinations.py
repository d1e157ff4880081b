"""Where a save goes: a file, a folder, or a buffer with a name; and what of it can be kept when the save returns."""

from __future__ import annotations

import io
import itertools
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.plugin import final_name, make_folder

__all__ = [
    "Destination",
    "file_destination",
    "folder_destination",
    "logger",
    "parts_destination",
    "shared_folder_destination",
]

logger = logging.getLogger("tracelet.automagic")

#: Files whose bytes are on their way to the disk once they are flushed. What packs or buffers on top of them is
#: complete only when it is closed.
_REAL_FILES = (io.BufferedWriter, io.BufferedRandom, io.FileIO)
#: Files of a folder that are looked at before and after a save, which takes a hundredth of a second.
_MOST_FILES = 2000


@attrs.frozen
class Destination:
    """Where a save goes."""

    #: Absolute where it is on disk; of a buffer, its name.
    path: Path
    #: The open file that is written to.
    stream: Any = None
    #: Whether the content is in memory only, for ``stream.getvalue()`` to give.
    memory: bool = False
    folder: bool = False
    #: Returns the names of those files of a folder that are saved, where it may hold more than what is saved.
    chosen: Callable[[Path], list[str]] | None = None

    @property
    def saved_paths(self) -> tuple[Path, ...]:
        """What others are not to capture meanwhile."""
        return () if self.memory else (self.path,)

    @property
    def artifact_path(self) -> str | None:
        """What a buffer is called in the artifact, where that is not its own name: it is never renamed."""
        return final_name(self.path.name) if self.memory else None

    @property
    def place(self) -> Path | None:
        """Where it is on disk."""
        return None if self.memory else self.path

    def size_bytes(self) -> int:
        """Return how many bytes :meth:`write_to` writes. Raises ``OSError`` where that cannot be told."""
        if self.chosen is None:
            return len(self.stream.getvalue())
        return sum((self.path / name).stat().st_size for name in self.chosen(self.path))

    def write_to(self, path: Path) -> None:
        """Write what is in memory, or those files of the folder that are saved.

        Raises ``OSError`` where they cannot be written.
        """
        if self.chosen is None:
            path.touch(mode=0o600)  # who else may read the user's own file is not known here
            path.write_bytes(self.stream.getvalue())
            return
        make_folder(path)
        for name in self.chosen(self.path):
            make_folder((path / name).parent)
            shutil.copy(self.path / name, path / name)

    def complete(self) -> bool:
        """Write out what the open file holds back, and say whether the bytes are where the target says.

        Raises ``OSError`` where they cannot be written.
        """
        if self.memory:
            return True
        try:
            status = self.path.stat()
        except FileNotFoundError:
            logger.debug("%s is not captured: it is not there.", self.path)
            return False
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            logger.debug("%s is not captured: it is a device or a pipe.", self.path)
            return False
        if self.stream is not None:
            self.stream.flush()
            if not os.path.samestat(os.fstat(real_file(self.stream).fileno()), status):
                logger.debug("%s is not captured: the open file of that name is another one.", self.path)
                return False
        return True


def _absolute(path: str | bytes | os.PathLike[Any]) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))


def file_destination(place: Any) -> Destination | None:
    """Return the destination of a save to a path or an open file; None, with the reason at DEBUG, where there is none."""
    if isinstance(place, (str, os.PathLike)):
        return Destination(_absolute(place))
    name = getattr(place, "name", None)
    what = f"what is saved to {type(place).__name__} {name!r}" if name else f"what is saved to {type(place).__name__}"
    if getattr(place, "temp", None) is not None and not getattr(place, "autocommit", True):
        logger.debug("%s is not captured: the file is in place only when its transaction ends.", what)
        return None
    if not isinstance(name, (str, bytes, os.PathLike)) or not name:
        logger.debug("%s is not captured: it has no name.", what)
        return None
    if isinstance(real_file(place), _REAL_FILES):
        return Destination(_absolute(name), place)
    if callable(getattr(place, "getvalue", None)):
        return Destination(Path(os.fsdecode(name)), place, memory=True)
    logger.debug("%s is not captured: it is complete only when it is closed.", what)
    return None


def real_file(stream: Any) -> Any:
    """Return the file that a wrapper of tempfile's or fsspec's is around, or what was given."""
    for attribute in ("file", "f"):
        inner = getattr(stream, attribute, None)
        if isinstance(inner, _REAL_FILES):
            return inner
    return stream


def _looks(folder: Path) -> dict[str, object]:
    """Return how each file looks; where there are too many for a moment, only those that are in no folder of the folder."""
    files = list(itertools.islice(_files(folder), _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        files = [file for file in folder.iterdir() if file.is_file()]
    looks = {str(file.relative_to(folder)): file.stat() for file in files}
    return {name: (status.st_size, status.st_mtime_ns, status.st_ino) for name, status in looks.items()}


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (file for file in (Path(where, name) for name in names) if file.is_file())


def folder_destination(place: Any) -> Destination | None:
    """Return the destination of a save to a folder; None where it is on no disk of this machine, or is not given."""
    if not isinstance(place, (str, os.PathLike)) or "://" in os.fspath(place):
        logger.debug("what is saved to %r is not captured: it is no folder of this machine.", place)
        return None
    return Destination(_absolute(place), folder=True)


def shared_folder_destination(place: Any) -> Destination | None:
    """Return the destination of a save into a folder that may hold more than what is saved, such as other checkpoints."""
    destination = folder_destination(place)
    if (
        destination is None
        or not destination.path.is_dir()
        or not any(place.is_dir() for place in destination.path.iterdir())
    ):
        return destination
    before = _looks(destination.path)
    return attrs.evolve(
        destination,
        chosen=lambda folder: [name for name, look in _looks(folder).items() if before.get(name) != look],
    )


def parts_destination(place: Any, *parts: str) -> Destination | None:
    """Return the destination of a save of these files and folders in a folder."""
    destination = folder_destination(place)
    if destination is None:
        return None

    def chosen(folder: Path) -> list[str]:
        files = [folder / part for part in parts if (folder / part).is_file()]
        files += [file for part in parts for file in _files(folder / part)]
        return [str(file.relative_to(folder)) for file in files]

    return attrs.evolve(destination, chosen=chosen)
