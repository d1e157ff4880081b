"""Files become blobs of a directory: many at once, each all at once, and none has its name before its bytes are on the disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from tracelet.core.system.durability import Disk
from tracelet.core.system.files import Stamp, copy_verified, is_marked, make_folder, make_way, mark

__all__ = ["NewBlob", "bring"]

#: How many blobs are brought at once: each has a name of its own until all are on the disk.
_AT_ONCE = 1000


@attrs.frozen
class NewBlob:
    """A file whose bytes are to be a blob."""

    source: Path
    #: Where the blob is to be.
    target: Path
    sha256: str
    size_bytes: int
    #: How the source looked when it was hashed. Without it the bytes are hashed again.
    stamp: Stamp | None = None
    #: Whether the source is a file of Tracelet's own, which never changes: it is linked, and costs nothing.
    is_own: bool = False


def bring(blobs: Iterable[NewBlob], root: Path) -> set[Path]:
    """Write blobs that are missing or damaged below ``root``, which is there, so many at once that memory stays flat.

    Each is marked as whole then. Returns the folders with new names in them: those are not on the disk yet. Raises
    :class:`~tracelet.plugin.FileChanged` where a source does not have the bytes of its sha256 any more.
    """
    grown: set[Path] = set()
    left = iter(blobs)
    # A content that is there twice is one blob.
    while some := {blob.target: blob for blob in itertools.islice(left, _AT_ONCE)}:
        grown |= _bring_together(list(some.values()), root)
    return grown


def _bring_together(blobs: Sequence[NewBlob], root: Path) -> set[Path]:
    grown: set[Path] = set()
    for folder in {blob.target.parent for blob in blobs}:
        grown.update(make_folder(folder), [folder])
    blobs = [blob for blob in blobs if not (blob.is_own and _is_linked(blob))]
    partials: list[Path] = []
    #: Those whose bytes are not on the disk yet.
    unsettled: list[Path] = []
    try:
        with Disk(root, len(blobs)) as disk:
            for blob in blobs:
                make_way(blob.target, blob.sha256, blob.size_bytes)
                partials.append(blob.target.with_name(f".{uuid.uuid4().hex}.tmp"))
                if not _write(blob, partials[-1]):
                    unsettled.append(partials[-1])
            disk.settle_files(unsettled, sum(partial.stat().st_size for partial in unsettled))
        for blob, partial in zip(blobs, partials, strict=True):
            partial.replace(blob.target)
            with contextlib.suppress(FileNotFoundError):  # a deletion was faster: who stores looks again
                mark(blob.target)
            if blob.is_own:  # a link to what another process has linked there meanwhile keeps its own name
                partial.unlink(missing_ok=True)
    except BaseException:
        for partial in partials:
            partial.unlink(missing_ok=True)
        raise
    return grown


def _is_linked(blob: NewBlob) -> bool:
    """Give a blob whose bytes are on the disk its further name at once, where nothing is; tell whether it has it."""
    try:
        if not is_marked(blob.source):
            return False
        # It may be as old as the run that made it: its link must look young, too.
        mark(blob.source)
        os.link(blob.source, blob.target)
    except OSError:
        return False
    return True


def _write(blob: NewBlob, partial: Path) -> bool:
    """Write the bytes of a blob; tell whether they were on the disk before, as those of another blob."""
    if blob.is_own:
        with contextlib.suppress(OSError):  # a filesystem without links, or the source is on another one
            is_settled = is_marked(blob.source)
            # It may be as old as the run that made it: its link must look young, too.
            (mark if is_settled else os.utime)(blob.source)
            os.link(blob.source, partial)
            return is_settled
    copy_verified(blob.source, partial, blob.sha256, blob.stamp, durable=False)
    return False
