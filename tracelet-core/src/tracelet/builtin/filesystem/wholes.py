"""Files that wait for others, because they are one thing with them: those of a new folder, and those of a group.

A folder that is made while it is watched may turn out to be one thing, a checkpoint or a model, when its last file comes.
So its files wait until nothing has happened in it for a while. Files elsewhere are told at once, but for the few kinds of
:mod:`.groups`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from tracelet.builtin.filesystem.groups import Kind, head_of, kind_of, may_be_part, other_shards
from tracelet.builtin.filesystem.places import Place
from tracelet.builtin.filesystem.stamps import Stamp, growing_in, looks_in, stamp_of
from tracelet.builtin.filesystem.writers import Writers, being_written
from tracelet.plugin import ArtifactType, tell_whole

__all__ = ["Told", "Wholes"]

#: Seconds without news after which what is told to be one thing is complete.
QUIET = 1.0
#: The same, for a folder of which nothing tells what it is.
UNKNOWN = 3.0
#: The same, for what names files that are not there; and the silence after which a file is not waited for that was growing.
MISSING = 30.0
_SHARE, _SHARE_OF_COMING = 4, 20


@attrs.frozen
class Told:
    """Something that is complete: a file, a folder that is one thing, or a head with its parts."""

    place: Place
    path: str
    #: Of a file alone.
    stamp: Stamp | None = None
    #: Of a folder that is one thing.
    type: ArtifactType | None = None
    #: How all its files looked when it was complete.
    looks: Mapping[str, Stamp] = attrs.field(factory=dict)
    #: Of a head.
    kind: Kind | None = None
    beside: tuple[Path, ...] = ()


@attrs.frozen
class _Growing:
    """A file that is not complete."""

    stamp: Stamp
    #: When it was seen first.
    since: float
    #: When it was seen to have changed.
    changed: float = float("-inf")


@attrs.define
class _Unit:
    """Files that wait for the same: a new folder, the head of a group, or, of a file alone, a head that names it."""

    place: Place
    path: str
    kind: Kind | None
    since: float
    last: float
    due: float
    #: When it is looked at though files come.
    latest: float
    files: dict[str, Stamp] = attrs.field(factory=dict)
    #: When a file came last that was not there before.
    grown: float = attrs.field(init=False, default=attrs.Factory(lambda unit: unit.since, takes_self=True))
    #: Whether a file that had come came again. Who copies writes each file once.
    rewritten: bool = False
    growing: dict[str, _Growing] = attrs.field(factory=dict)

    def see(self, looks: Mapping[str, Stamp], now: float) -> None:
        """Look at the files that are not complete."""
        self.growing = {path: self._seen(path, stamp, now) for path, stamp in looks.items()}

    def _seen(self, path: str, stamp: Stamp, now: float) -> _Growing:
        before = self.growing.get(path)
        if before is None:
            return _Growing(stamp, now)
        return before if before.stamp == stamp else attrs.evolve(before, stamp=stamp, changed=now)

    def grows(self, now: float, silence: float, root: str = "", begun: float = float("inf")) -> bool:
        """Tell whether a file below a folder has changed since such a silence, of those that were seen first before a time."""
        return any(
            now - file.changed < silence and file.since < begun
            for path, file in self.growing.items()
            if path.startswith(root)
        )


def _folder_of(path: str) -> str:
    return path.rpartition(os.sep)[0]


def _folders_around(paths: Iterable[str], tops: Collection[str]) -> set[str]:
    """Return the folders that files are in, and those around them up to one of ``tops``."""
    found: set[str] = set()
    for path in paths:
        folder = _folder_of(path)
        while folder and folder not in found:
            found.add(folder)
            if folder in tops:
                break
            folder = _folder_of(folder)
    return found


def _shards_beside(path: str) -> list[str]:
    folder, _, name = path.rpartition(os.sep)
    return [f"{folder}{os.sep}{shard}" for shard in other_shards(name)]


class Wholes:
    """The files that wait for others."""

    def __init__(
        self,
        known: Mapping[str, Stamp],
        busy: Callable[[str], bool],
        pace: float = 1.0,
        writers: Writers = being_written,
        holds_captured: Callable[[Path], bool] = lambda folder: False,
        tops: Collection[str] = (),
    ) -> None:
        """``known`` are the files that were there before, below the folders ``tops``; ``busy`` tells whether a path, or what is in it, is not complete.

        ``writers`` tells which files are being written: the news of that may be on their way. ``holds_captured`` tells
        whether a folder in a folder was captured, by whichever detector, or the model that it had. The waits are ``pace`` times as long.
        """
        self._busy = busy
        self._pace = pace
        self._writers = writers
        self._holds_captured = holds_captured
        self._units: dict[str, _Unit] = {}
        #: Folders that were looked at, and are not one thing.
        self._plain: set[str] = set()
        #: Folders that were told as one thing.
        self._told: set[str] = set()
        #: By the path of a part: its head.
        self._heads: dict[str, str] = {}
        self._plain.update(folder for folder in _folders_around(known, tops) if tell_whole(Path(folder)) is None)

    @property
    def due(self) -> float:
        """The monotonic time of the next look; infinity where nothing waits."""
        return min((unit.due for unit in self._units.values()), default=float("inf"))

    def hold(self, place: Place, path: str, stamp: Stamp) -> bool:
        """Let a complete file wait; False where it need not."""
        root, kind = self._new_folder(place, path), None
        if root is None:
            root, kind = self._head(path)
        if root is None and may_be_part(Path(path).name):
            root = path
        if root is None:
            return False
        now = time.monotonic()
        unit = self._units.get(root)
        if unit is None:
            unit = self._units[root] = _Unit(place, root, kind, now, now, now, now + UNKNOWN * self._pace)
        if path not in unit.files:
            unit.grown = now
        elif unit.files[path] != stamp:
            unit.rewritten = True
        unit.files[path] = stamp
        unit.last, unit.due = now, min(now + QUIET * self._pace, unit.latest)
        if kind is not None:
            if kind.nested and path != root:
                self._heads.update((str(part), root) for part in kind.needs(Path(root)))
            # Parts that came before their head waited by themselves.
            for part in [one for one in self._units if one != root and self._heads.get(one) == root]:
                unit.files.update(self._units.pop(part).files)
        return True

    def _new_folder(self, place: Place, path: str) -> str | None:
        """Return the outermost folder of a place in which a file is, and that is not known to be no whole."""
        at = len(place.prefix)
        while (at := path.find(os.sep, at)) >= 0:
            if path[:at] not in self._plain:
                return path[:at]
            at += 1
        return None

    def _head(self, path: str) -> tuple[str | None, Kind | None]:
        head = self._heads.get(path)
        if head is None:
            kind = kind_of(Path(path).name)
            if kind is not None:
                needed = kind.needs(Path(path))
                came = {part for part in map(str, kind.may_have(Path(path))) if part in self._units}
                self._heads.update((part, path) for part in {*map(str, needed), *came})
                if needed or kind.waits:
                    return path, kind
            head = head_of(path)
        return head, None if head is None else kind_of(Path(head).name)

    def complete(self, *, ending: bool = False) -> Iterator[Told]:
        """Give what is complete by now. With ``ending`` nothing waits any more: what is not complete is given file by file."""
        now = time.monotonic()
        while due := [one for one in self._units.values() if ending or one.due <= now]:
            yield from self._look(due, now, ending)

    def _look(self, units: list[_Unit], now: float, ending: bool) -> Iterator[Told]:
        for unit in units:
            if unit.kind:
                found = self._group(unit, now, ending)
            elif unit.path in unit.files:
                found = self._alone(unit, now, ending)
            else:
                found = self._folder(unit, now, ending)
            if found is None:
                # However many files there are, looking at them takes a quarter of the time at most, and less while they come.
                taken = time.monotonic() - now
                unit.due = now + max(QUIET * self._pace / 2, _SHARE * taken)
                unit.latest = now + max(UNKNOWN * self._pace, _SHARE_OF_COMING * taken)
                continue
            del self._units[unit.path]
            yield from found

    def _is_quiet(self, unit: _Unit, now: float, *, known: bool) -> bool:
        """Tell whether nothing comes into a folder any more, or it is one in which a program lives."""
        if now - unit.last >= (QUIET if known else UNKNOWN) * self._pace:
            return True
        return (unit.rewritten or not known) and now - unit.since >= MISSING * self._pace

    def _group(self, unit: _Unit, now: float, ending: bool) -> list[Told] | None:
        kind, head = unit.kind, Path(unit.path)
        assert kind is not None
        parts = kind.needs(head) | kind.may_have(head)
        files = [head, *parts]
        looks = {path: stamp for path in map(str, files) if (stamp := stamp_of(unit.place, path)) is not None}
        if len(looks) == len(files) and not any(map(self._busy, looks)) and not self._written(unit.place, looks):
            self._heads.update((str(part), unit.path) for part in parts)
            others = [
                Told(unit.place, path, stamp)
                for path, stamp in unit.files.items()
                if Path(path) not in files and not self._waits_elsewhere(path, unit)
            ]
            if not parts:
                return (
                    [*others, Told(unit.place, unit.path, unit.files[unit.path])] if unit.path in unit.files else others
                )
            for path in map(str, files):
                self._forget(path, unit)
            return [*others, Told(unit.place, unit.path, looks=looks, kind=kind, beside=tuple(sorted(parts)))]
        coming = {str(path) for path in files}.union(*map(_shards_beside, unit.files)) - unit.files.keys()
        unit.see({path: stamp for path in coming if (stamp := stamp_of(unit.place, path)) is not None}, now)
        if ending or (now - unit.grown >= MISSING * self._pace and not unit.grows(now, MISSING * self._pace)):
            return [Told(unit.place, path, stamp) for path, stamp in unit.files.items()]
        return None

    def _alone(self, unit: _Unit, now: float, ending: bool) -> list[Told] | None:
        if ending or now - unit.last >= QUIET * self._pace:
            return [Told(unit.place, path, stamp) for path, stamp in unit.files.items()]
        return None

    def _waits_elsewhere(self, path: str, unit: _Unit) -> bool:
        return any(path in one.files for one in self._units.values() if one is not unit)

    def _forget(self, path: str, keeps: _Unit) -> None:
        """Take a part off another unit in which it waits."""
        for unit in self._units.values():
            if unit is not keeps:
                unit.files.pop(path, None)

    def _folder(self, unit: _Unit, now: float, ending: bool) -> list[Told] | None:
        longest = MISSING * self._pace
        if not ending:
            unit.see(growing_in(unit.place, unit.path, unit.files), now)
            # What is nothing yet may be a model when a file is copied whose copy has begun by now.
            if self._busy(unit.path) and now - unit.since < longest:
                return None
            if unit.grows(now, longest, begun=unit.since + longest):
                return None
        types: dict[str, ArtifactType | None] = {}
        roots = {path: self._root(unit, path, types) for path in unit.files}
        wholes = {root for root in roots.values() if root is not None}
        if not ending and not self._is_quiet(unit, now, known=None not in roots.values()):
            return None
        looks = {root: looks_in(unit.place, root) for root in wholes}
        missing = {root for root in wholes if self._misses(root) or self._written(unit.place, looks[root])}
        # Who copies slowly may take long for all files, and for each.
        if not ending and any(
            now - unit.grown < longest or unit.grows(now, longest, root + os.sep) for root in missing
        ):
            return None
        whole = sorted(wholes - missing)
        self._told.update(whole)
        found = [Told(unit.place, root, type=types[root], looks=looks[root]) for root in whole]
        # Heads go first: some parts are known only by what their head says.
        for path, stamp in sorted(unit.files.items(), key=lambda one: kind_of(Path(one[0]).name) is None):
            if roots[path] in whole:
                continue
            folder = _folder_of(path)
            while len(folder) >= len(unit.path):
                self._plain.add(folder)
                folder = _folder_of(folder)
            # It may be in a group.
            if not self.hold(unit.place, path, stamp):
                found.append(Told(unit.place, path, stamp))
        return found

    def _root(self, unit: _Unit, path: str, types: dict[str, ArtifactType | None]) -> str | None:
        """Return the outermost folder of a unit in which a file is and that is one thing, and not one around others."""
        # What a link out of a folder leads to is no part of it.
        target = Path(os.path.realpath(path)) if Path(path).is_symlink() else None
        at = len(unit.path)
        while at >= 0:
            folder = path[:at]
            if folder not in types:
                told = tell_whole(Path(folder))
                types[folder] = None if told is None or self._is_around_others(folder) else told
            if types[folder] is not None and (target is None or target.is_relative_to(os.path.realpath(folder))):
                return folder
            at = path.find(os.sep, at + 1)
        return None

    def _is_around_others(self, folder: str) -> bool:
        told = any(one.startswith(folder + os.sep) for one in self._told)
        return told or self._holds_captured(Path(folder))

    def _written(self, place: Place, looks: Mapping[str, Stamp]) -> bool:
        """Tell whether somebody is seen to write one of these files. What is temporary or hidden may be open for ever."""
        files = {(look.device, look.inode) for path, look in looks.items() if place.passes_over(path) is None}
        return bool(files and self._writers(files))

    def again(self, told: Told) -> None:
        """Look again at a folder that was told: what is in it has changed meanwhile."""
        for path, stamp in told.looks.items():
            if told.place.passes_over(path) is None:
                self.hold(told.place, path, stamp)

    def _misses(self, root: str) -> bool:
        """Tell whether a folder has a file that is not complete, or is named and not there."""
        if self._busy(root):
            return True
        try:
            names = os.listdir(root)
        except OSError:
            return False
        heads = [(kind, Path(root, name)) for name in names if (kind := kind_of(name)) is not None]
        if any(not part.is_file() for kind, head in heads for part in kind.needs(head)):
            return True
        return not {shard for name in names for shard in other_shards(name)} <= set(names)
