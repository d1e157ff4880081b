"""Paths that leave the manifest: to a file on disk, or to a name that a backend does not mangle."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tracelet.core.manifest import check_path
from tracelet.exceptions import UnsafePath

__all__ = ["physical_name", "target_path"]


def physical_name(text: str) -> str:
    """Return ``text`` as one path segment of ``A-Z a-z 0-9 _ . - %``, different for different texts.

    Everything else is percent-encoded as UTF-8, ``/`` too; so are the dots of ``.`` and ``..``.
    """
    encoded = quote(text, safe="").replace("~", "%7E")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded


def target_path(folder: Path, path: str) -> Path:
    """Return where the artifact's ``path`` goes under ``folder``, and make the folders above it.

    Raises :class:`UnsafePath` for a path that is not safe, or that a symbolic link in ``folder`` would
    lead out of it.
    """
    target = folder / check_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise UnsafePath(f"{path!r}: a link in {folder} leads out of it. Choose another folder.")
    return target
