"""Leases: files that say who is at work on the delivery, the draft, or the other unfinished thing beside them."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import attrs

from tracelet.core.artifacts.checks import time_field
from tracelet.core.delivery.records import encoded, read_record
from tracelet.core.system.files import create
from tracelet.core.system.filesystems import link_or_refuse
from tracelet.core.system.processes import ProcessId, current, lives
from tracelet.exceptions import IntegrityError, NewerFormat

__all__ = ["DAY", "Lease", "write_lease"]

#: Seconds.
DAY = 86400.0
#: Stands for the holders whom this release cannot read; they are on no machine that could be asked.
_NOBODY = ProcessId("", 0, "")


@attrs.frozen
class _Holding:
    """What the file of a lease says."""

    holders: tuple[ProcessId, ...]
    #: Seconds since the epoch, for holders on another machine or in another container, which cannot be asked.
    until: float = attrs.field(validator=time_field)

    def held(self) -> bool:
        known = [lives(holder) for holder in self.holders]
        return True in known or (None in known and time.time() < self.until)


def write_lease(path: Path, holders: Sequence[ProcessId], until: float) -> bool:
    """Write a lease at a path that has none; say whether it was written. Of several at once one writes it.

    Raises :class:`~tracelet.ConfigError` where the filesystem has no hard links, so that nobody could tell who was the first.
    """
    partial = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with create(partial) as writer:
            writer.write(encoded(_Holding(tuple(holders), until)))
        link_or_refuse(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


class Lease:
    """The lease on one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_suffix(".lease")

    def take(self, holders: Sequence[ProcessId] = (), seconds: float = DAY) -> bool:
        """Lease the file to these processes, or to this one; say whether it is theirs.

        ``seconds`` is how long other machines, which cannot ask whether the holders live, respect it.
        """
        holders = holders or [current()]
        if not write_lease(self._path, holders, time.time() + seconds):
            held = self._read(self._path)
            if held is not None and held.held():
                return False
            # Only one of several that find a dead lease gets to move it away.
            aside = self._path.with_name(f".{uuid.uuid4().hex}.lease")
            with contextlib.suppress(FileNotFoundError):
                self._path.rename(aside)
                if self._read(aside) != held:
                    with contextlib.suppress(FileExistsError):
                        os.link(aside, self._path)
                    aside.unlink()
                    return False
                aside.unlink()
            if not write_lease(self._path, holders, time.time() + seconds):
                return False
        if self._file.exists():
            return True
        self._path.unlink(missing_ok=True)
        return False

    def release(self) -> None:
        """Give the file back."""
        self._path.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Tell whether somebody who may be alive has it."""
        held = self._read(self._path)
        return held is not None and held.held()

    def _read(self, path: Path) -> _Holding | None:
        """Read a lease, or return None where it is missing, or was cut off by the end of its machine: then the file is free.

        A lease of a later release counts as held for a day, for its holders cannot be read.
        """
        try:
            return read_record(path, _Holding)
        except (FileNotFoundError, IntegrityError):
            return None
        except NewerFormat:
            with contextlib.suppress(FileNotFoundError):
                return _Holding((_NOBODY,), path.lstat().st_mtime + DAY)
            return None
