"""Whether what a watcher sees was captured where it was before: a move leaves bytes and mtime of each file, and nothing behind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.capture.journal import Captured
from tracelet.core.capture.renames import may_be_renamed
from tracelet.core.capture.snapshots import artifact_name
from tracelet.core.system.files import Stamp

__all__ = ["CapturedFiles"]

#: What a move leaves as it is: the paths and digests of the files in it, and bytes and mtime of each.
_Same = tuple[tuple[tuple[str, str], ...], tuple[tuple[int, int], ...]]
#: How many captures are remembered, so that memory stays flat in a run that saves for weeks.
_MOST = 10_000
_NUMBER = re.compile(r"[-_.=]?\d+$")


@attrs.frozen
class _Files:
    place: str
    captured: Captured
    #: How they looked when they were copied, by their real paths.
    stamps: Mapping[str, Stamp]


class CapturedFiles:
    """How the files looked that were captured in this run, and where they were."""

    def __init__(self) -> None:
        self._files: dict[_Same, list[_Files]] = {}

    def note(self, place: str, captured: Captured, stamps: Mapping[str, Stamp]) -> None:
        """Remember the files of a capture."""
        if stamps:
            known = self._files.setdefault(_same(captured, stamps), [])
            known[:] = [*(one for one in known if one.place != place), _Files(place, captured, stamps)]
            if len(self._files) > _MOST:
                del self._files[next(iter(self._files))]

    def moved(self, place: str, found: Captured, stamps: Mapping[str, Stamp]) -> Captured | None:
        """Return the capture of what was moved to this place; None where it was not, or is to have the name that it has there.

        That is so where the name is given, and where the name before may have been one for a moment.
        """
        said = found.detection
        # Only who watches says how the files looked.
        if not stamps or (said.stamp is None and not said.stamps):
            return None
        for one in self._files.get(_same(found, stamps), ()):
            if (
                one.place != place
                and not may_be_renamed(Path(one.place).name)
                and _is_called_by(found, place)
                and _left(one.stamps, stamps)
            ):
                return one.captured
        return None


def _same(captured: Captured, stamps: Mapping[str, Stamp]) -> _Same:
    return captured.content, tuple(sorted((one.size_bytes, one.mtime_ns) for one in stamps.values()))


def _left(before: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> bool:
    """Tell whether files are where they were no more. Of a copy the files are others, whatever became of its source."""
    if all(_inode(path) is None for path in before):
        return True
    same = {one.inode for one in now.values()} == {one.inode for one in before.values()}
    # They may be back by now.
    return same and any(all(_inode(path) != one.inode for path, one in stamps.items()) for stamps in (before, now))


def _inode(path: str) -> int | None:
    try:
        return Path(path).lstat().st_ino
    except OSError:
        return None


def _is_called_by(found: Captured, place: str) -> bool:
    """Tell whether something has the name of its path, which a watcher gives to a folder, and not one that was asked for."""
    name, kind = found.detection.name, found.detection.type
    assert name is not None
    assert kind is not None
    own = Path(place).name
    return name == artifact_name(found.inside, kind) or any(
        name.endswith(artifact_name(one, kind)) for one in {own, _NUMBER.sub("", own) or own}
    )
