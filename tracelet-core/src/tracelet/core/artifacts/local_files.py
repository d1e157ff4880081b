"""Files of this machine that are to be part of an artifact: what they are, and which are in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

import attrs

from tracelet.core.artifacts.checks import check_new_text
from tracelet.core.artifacts.entries import ArtifactFile
from tracelet.exceptions import ArtifactError
from tracelet.settings import TraceletSettings

__all__ = ["OWN_FOLDER", "file_entry", "files_under"]

#: What a tracelet directory is called that is given no other name.
OWN_FOLDER = str(attrs.fields(TraceletSettings).dir.default)

#: How often links may lead to folders that were walked already: a few links that lead to folders of links stand for
#: billions of folders.
_MOST_AGAIN = 10_000


def file_entry(source: Path | str, artifact_path: str, description: str | None) -> ArtifactFile:
    """Return the entry of a file. Its sha256 is not known yet, for the file may still change.

    Raises :class:`ArtifactError` where ``source`` is no regular file, or cannot be read.
    """
    try:
        status = os.stat(source)  # noqa: PTH116 - one of many, as text
    except OSError as error:
        raise ArtifactError(f"{str(source)!r} cannot be added: {error.strerror or error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ArtifactError(f"{str(source)!r} is a folder: use add_dir.")
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{str(source)!r} is not a regular file: only files can be stored.")
    if not os.access(source, os.R_OK):
        raise ArtifactError(f"{str(source)!r} cannot be read: check its permissions.")
    return ArtifactFile(artifact_path, status.st_size, description=check_new_text(description, "description"))


def files_under(root: Path, empty: list[Path], own: list[Path], *, follow_links: bool = False) -> Iterator[str]:
    """Yield the files under ``root`` in order, as text, and add its empty folders to ``empty``.

    A tracelet directory in it is left out, and added to ``own``: it would have all that was logged before in it, each time.

    Links are followed while they stay inside; with ``follow_links`` wherever they lead. Raises :class:`ArtifactError` for a
    link that is not followed, for one whose target is not there, and for a folder that cannot be read; with
    ``follow_links`` also for links that go in a circle.
    """
    inside = os.path.realpath(root)
    folders = [(root, inside, frozenset({inside}))]
    walked: set[str] = set()
    again = 0
    while folders:
        folder, place, above = folders.pop()
        again += place in walked
        if again > _MOST_AGAIN:
            raise ArtifactError(
                f"the links in {str(root)!r} lead to the same folders more than {_MOST_AGAIN:,} times: add these folders "
                "once each."
            )
        walked.add(place)
        try:
            with os.scandir(place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            raise ArtifactError(f"{str(folder)!r} cannot be read: {error.strerror or error}.") from error
        if not entries:
            empty.append(folder)
        for entry in entries:
            if entry.name == OWN_FOLDER and entry.is_dir():
                own.append(folder / entry.name)
                continue
            real = entry.path
            if entry.is_symlink():
                real = os.path.realpath(real)
                _check_link(folder / entry.name, real, inside, above, follow_links=follow_links)
            if not entry.is_dir():
                yield os.path.join(folder, entry.name)  # noqa: PTH118 - one of many
            elif real not in above:
                folders.append((folder / entry.name, real, above | {real}))


def _check_link(path: Path, real: str, inside: str, above: Collection[str], *, follow_links: bool) -> None:
    try:
        Path(real).stat()
    except OSError as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be reached ({error.strerror})"
        raise ArtifactError(
            f"{str(path)!r} is a link to {real!r}, which {why}: mend or delete the link, or add the other files one by one "
            "with add_file."
        ) from error
    if not follow_links and not _is_in(real, inside):
        raise ArtifactError(
            f"{str(path)!r} is a link out of the folder: say follow_links=True to add what it leads to, or add its target "
            "with add_file."
        )
    if follow_links and any(_is_in(one, real) for one in above):
        raise ArtifactError(
            f"{str(path)!r} is a link to {real!r}, a folder that it is in itself, so that its files have no end: delete the "
            "link, or add the folders beside it one by one."
        )


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
