"""Files of this machine that are to be part of an artifact: what they are, and which are in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tracelet.core.artifacts.checks import check_new_text
from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.exceptions import ArtifactError

__all__ = ["file_entry", "files_under"]


def file_entry(source: Path, artifact_path: str, description: str | None) -> ArtifactFile:
    """Return the entry of a file. Its sha256 is not known yet, for the file may still change.

    Raises :class:`ArtifactError` where ``source`` is no regular file, or cannot be read.
    """
    try:
        status = source.stat()
    except OSError as error:
        raise ArtifactError(f"{str(source)!r} cannot be added: {error.strerror or error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ArtifactError(f"{str(source)!r} is a folder: use add_dir.")
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{str(source)!r} is not a regular file: only files can be stored.")
    if not os.access(source, os.R_OK):
        raise ArtifactError(f"{str(source)!r} cannot be read: check its permissions.")
    return ArtifactFile(artifact_path, status.st_size, description=check_new_text(description, "description"))


def files_under(root: Path, empty: list[Path]) -> Iterator[Path]:
    """Yield the files under ``root`` in order, and add its empty folders to ``empty``.

    Links are followed only while they stay inside. Raises :class:`ArtifactError` for one that does not, for one whose
    target is not there, and for a folder that cannot be read.
    """
    inside = os.path.realpath(root)
    folders = [(root, frozenset({inside}))]
    while folders:
        folder, above = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise ArtifactError(f"{str(folder)!r} cannot be read: {error.strerror or error}.") from error
        if not entries:
            empty.append(folder)
        for entry in entries:
            real = os.path.realpath(entry)
            if entry.is_symlink() and not Path(real).exists():
                raise ArtifactError(
                    f"{str(entry)!r} is a link to {real!r}, which is not there: mend or delete the link, or add the "
                    "other files one by one with add_file."
                )
            if entry.is_symlink() and not Path(real).is_relative_to(inside):
                raise ArtifactError(f"{str(entry)!r} is a link out of the folder: add its target with add_file.")
            if not entry.is_dir():
                yield entry
            elif real not in above:
                folders.append((entry, above | {real}))
