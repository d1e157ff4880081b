"""Paths that leave the manifest: to a file on disk, or to a name that a backend does not mangle."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from urllib.parse import quote

from tracelet.core.artifacts.checks import check_path
from tracelet.exceptions import ArtifactError, UnsafePath

__all__ = ["physical_name", "target_path"]

#: Filesystems end at 255 bytes, and who uses the name may put a suffix to it.
_LONGEST = 240


def physical_name(text: str) -> str:
    """Return ``text`` as one path segment of ``A-Z a-z 0-9 _ . - %``, different for different texts.

    Everything else is percent-encoded as UTF-8, ``/`` too; so are the dots of ``.`` and ``..``. What no
    filesystem would take for its length ends in ``%-`` and the sha256 of the whole.
    """
    encoded = quote(text, safe="").replace("~", "%7E")
    if len(encoded) > _LONGEST:
        return f"{encoded[:128]}%-{hashlib.sha256(text.encode()).hexdigest()}"
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded


def target_path(folder: Path, path: str) -> Path:
    """Return where the artifact's ``path`` goes under ``folder``, and make the folders above it, as open as that one.

    Raises :class:`UnsafePath` for a path that is not safe, or that a symbolic link in ``folder`` would
    lead out of it, and :class:`ArtifactError` where something else is in its way there.
    """
    target = folder / check_path(path)
    # Before anything is made: a link must not get folders made for it elsewhere, either.
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(folder)):
        raise UnsafePath(f"{path!r}: a link in {folder} leads out of it. Choose another folder.")
    try:
        if not target.parent.is_dir():  # it is for most files of many
            folder.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(folder.stat().st_mode)
            for above in reversed(target.relative_to(folder).parents[:-1]):
                (folder / above).mkdir(mode, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ArtifactError(f"{path!r}: a file in {folder} is in the way. Choose another folder.") from error
    if target.is_dir() and not target.is_symlink():
        raise ArtifactError(f"{path!r}: a folder in {folder} is in the way. Choose another folder.")
    return target
