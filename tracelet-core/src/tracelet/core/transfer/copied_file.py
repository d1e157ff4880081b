"""A file of this machine, copied to where an import looks at it."""

from __future__ import annotations

from pathlib import Path

from tracelet.core.system.files import Stamp, copy_file
from tracelet.exceptions import ArtifactError, ArtifactNotFound

__all__ = ["copied_here"]


def copied_here(source: Path, target: Path) -> Stamp:
    """Copy a file as cheaply as its filesystem can; return how the source looked.

    Raises :class:`~tracelet.ArtifactNotFound` where the source cannot be read, and :class:`~tracelet.ArtifactError` where
    the copy cannot be written.
    """
    try:
        return copy_file(source, target, durable=False)
    except OSError as error:
        if error.filename is not None and Path(error.filename) == source:
            raise ArtifactNotFound(
                f"{str(source)!r} cannot be read: {error.strerror}. Import again when it can."
            ) from error
        raise ArtifactError(
            f"{str(target.parent)!r} does not take the files: {error}. Free space there, then import again."
        ) from error
