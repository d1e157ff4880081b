"""What a file or a folder is, told by its content and its name: one of the 13 types, and ``CUSTOM`` for what is unknown.

The rules are two tables, in :mod:`tracelet.core.capture.sniffing.rules`.
"""

from __future__ import annotations

from pathlib import Path

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.capture.sniffing.budget import Budget
from tracelet.core.capture.sniffing.looking import FOLDERS_STEPS, MOST_FILES, FileLook, FolderLook
from tracelet.core.capture.sniffing.names import tell_type_by_names
from tracelet.core.capture.sniffing.rules import FILES, FOLDERS, WHOLES

__all__ = ["tell_type", "tell_whole"]


def tell_type(path: Path, *, follow_links: bool = False) -> ArtifactType:
    """Return what a file, or a folder that is one thing, is.

    Of a file the first 16 KB are read, with the directory of a zip archive and 4 MB at most of a pickle of torch in
    it, whose opcodes are read; nothing is unpickled. Entries and opcodes are counted: what is beyond the first 25,000 is
    not seen, so that no content makes a look long. Of a packed file (gzip, zlib, bzip2, xz, LZMA, zstd, LZ4) it is the
    beginning of what is inside that is read, and the name is taken without the suffix that says so; where nothing inside
    can be seen, that name alone decides. A folder that no rule knows has the type of its files, if all
    1,000 of them at most have the same; with ``follow_links`` also those behind its links. It raises nothing: what is unknown, gone or cannot be read is ``CUSTOM``.
    """
    try:
        if not path.is_dir():
            return _file(FileLook.at(path))
        look = FolderLook.at(path, follow_links=follow_links)
        return next((rule.type for rule in FOLDERS if rule.told.seen(look)), None) or _common(look)
    except (OSError, ValueError):
        # A path with a null character is a ValueError.
        return ArtifactType.CUSTOM


def tell_whole(folder: Path) -> ArtifactType | None:
    """Return the type of a folder that is one thing; None for every other folder, and for what cannot be read."""
    try:
        look = FolderLook.at(folder)
    except (OSError, ValueError):
        return None
    return next((rule.type for rule in WHOLES if rule.told.seen(look)), None)


def _file(look: FileLook) -> ArtifactType:
    told = next((rule.type for rule in FILES if rule.told.seen(look)), None)
    return told or (tell_type_by_names([look.name]) if look.unseen else ArtifactType.CUSTOM)


def _common(folder: FolderLook) -> ArtifactType:
    """The type that all files of a folder have."""
    if len(folder.files) > MOST_FILES:
        return ArtifactType.CUSTOM
    types = set()
    budget = Budget(FOLDERS_STEPS)
    for path in folder.files:
        types.add(_file(FileLook.at(path, budget)))
        if len(types) > 1:
            break
    return types.pop() if len(types) == 1 else ArtifactType.CUSTOM
