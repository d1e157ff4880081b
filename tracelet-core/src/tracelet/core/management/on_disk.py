"""What a tracelet directory, and a store elsewhere on this machine, take of the disk."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import attrs

__all__ = ["EMBEDDED", "OnDisk", "Scan", "scan"]

#: The backend that keeps its versions in the tracelet directory.
EMBEDDED = "local"
_BLOB = re.compile(r"sha256/[0-9a-f]{2}/([0-9a-f]{64})")
#: The folders of a tracelet directory, and of a store, that are measured first.
_VERSIONS, _BLOBS = "local", "objects"
#: Which folders hold what waits.
_WAITING = frozenset({"outbox", "staging", "puts", "captured"})


@attrs.frozen
class OnDisk:
    """Bytes on this machine, of all experiments of a tracelet directory. They add up to the sizes of its files, links counted once.

    Example:
        >>> from tracelet import ArtifactType, Experiment
        >>> exp = Experiment("digits", artifacts=True).start()
        >>> exp.log_artifact(exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.pt"))
        <LogResults local: v0>
        >>> exp.disk_usage().on_disk.versions
        7
    """

    #: Files that versions of ``local`` need; what several of them need is counted once.
    versions: int
    #: The manifests and notes of ``local``.
    records: int
    #: Large files, in a store on this machine.
    store: int
    #: What waits to be delivered, hashed or completed.
    outbox: int
    downloads: int
    #: What nothing that can be read needs any more. ``tracelet gc`` removes it when it is old enough.
    unneeded: int
    #: Logs, clocks, notes, and what trackers' offline modes keep.
    other: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(attrs.astuple(self))


@attrs.frozen
class Scan:
    """The sizes of files, by what they are."""

    #: By sha256: the blobs of ``local``, and those of the store and the outbox.
    local: dict[str, int]
    objects: dict[str, int]
    #: Bytes of everything else, by the fields of :class:`OnDisk`.
    others: Counter[str]

    def divide(self, needed: Collection[str], recorded: Collection[str], waiting: Collection[str]) -> OnDisk:
        """Divide the bytes by who needs them.

        Args:
            needed: The blobs that versions of ``local`` need.
            recorded: The blobs of the store that references point at.
            waiting: The blobs that the outbox needs.
        """
        sums = Counter(self.others)
        for sha256, size in self.local.items():
            sums["versions" if sha256 in needed else "unneeded"] += size
        for sha256, size in self.objects.items():
            sums["store" if sha256 in recorded else "outbox" if sha256 in waiting else "unneeded"] += size
        return OnDisk(**{field.name: sums[field.name] for field in attrs.fields(OnDisk)})


def scan(directory: Path, store: Path) -> Scan:
    """Measure every file of a tracelet directory, and of the store if that is another folder. No link is followed."""
    found = Scan({}, {}, Counter())
    seen: set[tuple[int, int]] = set()
    # What a link shares with a version counts there.
    for top in (_VERSIONS, _BLOBS, ""):
        for place, size in _files(directory, top, seen):
            first, _, inside = place.partition("/")
            if first == _VERSIONS:
                _take(inside.removeprefix("blobs/"), size, found.local, "records", found.others)
            elif first == _BLOBS:
                _take(inside, size, found.objects, "unneeded", found.others)
            elif first in _WAITING:
                found.others["outbox"] += size
            else:
                found.others["downloads" if first == "downloads" else "other"] += size
    if store != directory:
        found.others["store"] += sum(size for _, size in _files(store, _BLOBS, seen))
    return found


def _take(place: str, size: int, blobs: dict[str, int], otherwise: str, others: Counter[str]) -> None:
    if blob := _BLOB.fullmatch(place):
        blobs[blob[1]] = size
    else:
        others["unneeded" if place.endswith(".tmp") else otherwise] += size


def _files(root: Path, top: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """Yield the place and the size of each regular file that was not seen yet, as far as nobody deletes it meanwhile."""
    start = len(str(root)) + 1
    apart = {str(root / _VERSIONS), str(root / _BLOBS)} if not top else set()
    folders = [] if top and (root / top).is_symlink() else [str(root / top)]
    while folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders += {entry.path} - apart
                elif entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat(follow_symlinks=False)
                        if (stat.st_dev, stat.st_ino) not in seen:
                            seen.add((stat.st_dev, stat.st_ino))
                            yield entry.path[start:], stat.st_size
