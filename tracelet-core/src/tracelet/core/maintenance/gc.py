"""Clearing away what nobody needs any more: what interrupted processes left, and what was delivered.

Everything has an age, and what is younger than the limit stays, for a process may be on its way from a
file to the note that it is needed. What such a process finds and means to use, it marks as young again.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from tracelet.core.capture.journal import journals
from tracelet.core.delivery.drafts import staged_by
from tracelet.core.delivery.inventory import leftovers_in, needed_blobs, newer_in
from tracelet.core.delivery.lease import DAY
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.puts import noted_puts
from tracelet.core.lanes.lane import open_lane
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import Registry
from tracelet.core.system.files import discard
from tracelet.core.system.filesystems import check_filesystem
from tracelet.core.system.links import check_directory, entries
from tracelet.core.system.processes import family, lives
from tracelet.exceptions import IntegrityError, NewerFormat, TraceletError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["SHORTEST_AGE", "Collected", "Swept", "collect"]

#: Seconds; a delivery that takes longer than that between its first blob and its note does not happen.
SHORTEST_AGE = 3600.0
#: Seconds by which the time that a file was last read may be behind: Linux notes it once a day.
_RELATIME = 86400.0
#: Clearing is about all experiments, and a lane is about one: this one has nothing.
_NOBODY = "tracelet-gc"


@attrs.frozen
class Swept:
    """What of one kind was removed: pieces, and the bytes that became free."""

    kind: str
    count: int
    size_bytes: int


@attrs.frozen
class Collected:
    """What was removed; and what could not be cleared up, of the directory or in a backend, with the reason."""

    swept: tuple[Swept, ...]
    failed: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """Bytes that became free."""
        return sum(one.size_bytes for one in self.swept)


def collect(directory: Path, settings: TraceletSettings, plugins: Registry, older_than: float) -> Collected:
    """Remove the garbage of a tracelet directory that was last needed before ``older_than`` (seconds since the epoch).

    Then ask each configured backend that clears garbage of its own to do so. Nothing goes that a delivery,
    waiting or refused, a draft, a reference or a living process needs.
    """
    check_directory(directory)
    check_filesystem(directory)
    outbox = Outbox(directory)
    kinds = {
        "staging folders": _staging(directory, outbox, older_than),
        "deliveries' leftovers": _leftovers(directory, outbox),
        "blobs": _blobs(outbox, older_than),
        "partial files": _partials(directory, older_than),
        "lane logs": _lane_logs(directory, older_than),
        "downloads": _downloads(directory, older_than - _RELATIME),
    }
    swept: list[Swept] = []
    failed: dict[str, str] = {}
    for kind, freed in kinds.items():
        try:
            swept.append(_swept(kind, freed))
        except (IntegrityError, NewerFormat) as error:
            failed[kind] = str(error)  # nobody can tell what it needs: all of this kind stays
    for name in settings.backend:
        try:
            freed_bytes = _backend(name, directory, settings, plugins, older_than)
        except (TraceletError, OSError) as error:
            failed[name] = str(error)
        else:
            swept.append(Swept(f"backend {name}", int(freed_bytes > 0), freed_bytes))
    return Collected(tuple(one for one in swept if one.count), failed)


def _swept(kind: str, freed: Iterable[int]) -> Swept:
    pieces = list(freed)
    return Swept(kind, len(pieces), sum(pieces))


def _staging(directory: Path, outbox: Outbox, older_than: float) -> Iterator[int]:
    """Folders of dead processes that no draft, no capture and no put that is noted needs.

    They are looked at in this order, for only a living process writes what needs them.
    """
    orphans = [folder for folder in entries(directory / "staging") if _last(folder) < _needed_since(folder, older_than)]
    for newer in newer_in(directory) if orphans else ():
        raise NewerFormat(newer.advice)
    drafts = [outbox.drafts.load(path) for path in outbox.drafts.files()]
    needed = {found.draft.staging.name for found in drafts if found is not None}
    # Also those of other machines, whose processes may be alive.
    needed |= {one.head.folder.name for one in journals(directory)}
    # What a backend made of a model is there alone, until the put is completed.
    noted = {put.parcel.manifest.put_id for _, put in noted_puts(directory)}
    for folder in orphans:
        if folder.name not in needed and folder.name.partition("~")[0] not in noted:
            yield _remove(folder)


def _needed_since(folder: Path, older_than: float) -> float:
    """Return when a staging folder must have been touched last, for its owner to need it still."""
    owner = staged_by(folder)
    known = False if owner is None else lives(owner)
    if known is None:  # it is on another machine, and has the time that such a one's lease has
        return older_than - DAY
    return -math.inf if known else older_than


def _leftovers(directory: Path, outbox: Outbox) -> Iterator[int]:
    """A rendering comes before its delivery, and its put's staging folder goes after that: look in this order."""
    found = list(leftovers_in(outbox))
    staged = {folder.name.partition("~")[0] for folder in entries(directory / "staging")}
    still = set(leftovers_in(outbox))
    for path in found:
        if path not in still:
            continue
        if path.suffix == ".lease":
            path.unlink(missing_ok=True)
            yield 0
        elif path.name.split("~")[1] not in staged:
            yield _remove(path)


def _blobs(outbox: Outbox, older_than: float) -> Iterator[int]:
    keep = needed_blobs(outbox) | outbox.store.recorded()
    for _, freed in outbox.store.collect(keep, older_than):
        yield freed


def _partials(directory: Path, older_than: float) -> Iterator[int]:
    found = list(directory.glob(".*.tmp"))
    for top in ("outbox", "refs"):
        for folder, _, names in os.walk(directory / top):
            found += [Path(folder, name) for name in names if name.startswith(".") and name.endswith(".tmp")]
    yield from _discarded(found, older_than)


def _discarded(paths: Iterable[Path], older_than: float) -> Iterator[int]:
    for path in paths:
        freed = discard(path, older_than)
        if freed is not None:
            yield freed


def _lane_logs(directory: Path, older_than: float) -> Iterator[int]:
    logs = [path for path in entries(directory / "lanes") if not family(path.stem.rpartition("-")[2])]
    yield from _discarded(logs, older_than)


def _downloads(directory: Path, older_than: float) -> Iterator[int]:
    """A folder that is used meanwhile is marked as young, and comes back under its name."""
    for folder in entries(directory / "downloads"):
        if _last(folder, read=True) >= older_than:
            continue
        aside = folder.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            folder.rename(aside)
        except FileNotFoundError:
            continue
        if _last(aside) >= older_than and not folder.exists():
            aside.rename(folder)
        else:
            yield _remove(aside)


def _backend(name: str, directory: Path, settings: TraceletSettings, plugins: Registry, older_than: float) -> int:
    spec = plugins.backends.get(name)
    if Capability.COLLECT not in spec.capabilities:
        return 0
    lane = open_lane(spec, _NOBODY, load_plugin(spec.settings, name), BackendContext(directory))
    try:
        lane.open(settings.open_timeout)
        freed: int = lane.request("collect", None, older_than=older_than)
    finally:
        lane.close(settings.stop_timeout, failed=False)
    return freed


def _tree(path: Path) -> list[os.stat_result]:
    """A folder and all in it, as far as nobody else deletes it meanwhile."""
    found = []
    for folder, _, names in os.walk(path):
        for entry in (Path(folder), *(Path(folder, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                found.append(entry.lstat())
    return found


def _last(folder: Path, *, read: bool = False) -> float:
    """When anything in a folder was last changed, or, where asked, a file of it read."""
    times = [max(one.st_mtime, one.st_atime if read and stat.S_ISREG(one.st_mode) else 0.0) for one in _tree(folder)]
    return max(times, default=math.inf)


def _remove(folder: Path) -> int:
    """Delete a folder; return the bytes that this frees."""
    freed = sum(one.st_size for one in _tree(folder) if stat.S_ISREG(one.st_mode) and one.st_nlink == 1)
    shutil.rmtree(folder, ignore_errors=True)
    return freed
