"""Shards of one thing that are saved one by one: the name of each says how many there are, and they are one artifact.

Each has its snapshot at once, and waits in the queue for the others.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from tracelet.core.capture.item import Item
from tracelet.core.capture.queue import CaptureQueue
from tracelet.core.capture.shard_names import shard_of, without_number
from tracelet.core.capture.snapshot_pool import SnapshotPool
from tracelet.core.capture.snapshots import artifact_name, same_look
from tracelet.core.capture.sniffing import tell_type
from tracelet.core.plugins.detector import Detection
from tracelet.core.system.files import Stamp
from tracelet.core.system.messages import many

__all__ = ["ShardSets"]

_LOG = logging.getLogger("tracelet.automagic")
#: Seconds without a further shard after which a set is given up.
_MISSING = 60.0
#: Seconds that a whole set waits for its index, or for a detector that knows of a folder that it is in.
_QUIET = 5.0
#: Bytes of an index that is read.
_LARGEST_INDEX = 64_000_000


@attrs.frozen
class _Set:
    """What the shards of one thing have in common."""

    #: The path that their index has, or would have. The set is known by it.
    index: str
    whole: str
    count: int


def _set_of(item: Item) -> _Set | None:
    path = Path(item.key)
    told = shard_of(path.name)
    # A buffer has no path where others could be.
    if told is None or item.alone or item.folder or not path.is_absolute():
        return None
    whole, count = told
    return _Set(str(path.with_name(f"{whole}.index.json")), whole, count)


class ShardSets:
    """Puts shards together once all of them are there."""

    def __init__(self, pool: SnapshotPool, queue: CaptureQueue) -> None:
        self._pool = pool
        self._queue = queue
        #: By real path: how each shard looked when it was put together with the others last.
        self._told: dict[str, Stamp] = {}

    def knows(self, item: Item) -> bool:
        """Tell whether an item is the same save of a shard that was put together with the others, which another detector saw."""
        return not item.folder and any(
            place in self._told and same_look(self._told[place], look) for place, look in item.stamps.items()
        )

    def waits(self, item: Item, *, ending: bool) -> bool:
        """Return True where an item is not to be submitted by itself: its set has taken it, or it waits for the others."""
        kind = _set_of(item)
        if kind is None:
            return False
        shards: dict[str, Item] = {}
        # The same save, as several detectors saw it.
        seen: list[Item] = []
        following = False
        waiting = [one for one in self._queue.beside(item) if one.kept is not None and _set_of(one) == kind]
        for one in sorted([item, *waiting], key=lambda one: one.number):
            before = shards.setdefault(one.key, one)
            if before is not one and (one.look is None or before.look != one.look):
                # It is saved again: with it the next set begins.
                following = True
                break
            seen.append(one)
        last = max(one.seen for one in seen)
        is_whole = len(shards) == kind.count
        due = last + (_QUIET if is_whole else _MISSING)
        if not following and not ending and due > time.monotonic():
            item.due = due
            self._queue.add(item)
            return True
        if not is_whole:
            _LOG.warning(
                "%s: %s of %d came, and each is captured by itself. Save them all, and they are one artifact.",
                Path(kind.index).with_name(kind.whole),
                many(len(shards), "shard", "shards"),
                kind.count,
            )
        if not is_whole or not self._put_together(kind, list(shards.values()), seen):
            for one in seen:
                one.alone, one.due = True, time.monotonic()
        elif item in seen:
            return True
        if item.alone:
            return False
        self._queue.add(item)
        return True

    def _put_together(self, kind: _Set, shards: Sequence[Item], seen: Sequence[Item]) -> bool:
        """Let one item take the place of all shards; return False where that cannot be written."""
        if not self._queue.has_folder_with(shards):
            try:
                whole = self._pool.join(_described(kind, sorted(shards, key=lambda one: one.key)), shards)
            except OSError as error:
                _LOG.warning("%s: each shard is captured by itself: %s", Path(kind.index).with_name(kind.whole), error)
                return False
            self._queue.add(whole)
        self._queue.take_out(seen)
        for one in seen:
            self._told.update(one.stamps)
            self._pool.forget(one)
        return True


def _described(kind: _Set, shards: Sequence[Item]) -> Detection:
    """Describe the whole: it is what its shards are, and is called as they are without their numbers."""
    first = shards[0].detection
    assert first.path is not None
    assert shards[0].kept is not None
    types = {one.detection.type for one in shards}
    told = types.pop() if len(types) == 1 else None
    told = told or tell_type(shards[0].kept)
    inside = without_number(first.artifact_path or Path(shards[0].key).name)
    paths = [Path(one.key) for one in shards]
    index = _index(kind, paths)
    return Detection(
        path=paths[0],
        beside=(*paths[1:], *([] if index is None else [index])),
        type=told,
        name=artifact_name(inside, told) if first.name is None else without_number(first.name),
        artifact_path=first.artifact_path,
        metadata=first.metadata,
        aliases=first.aliases,
        place=Path(kind.index),
        stamp=next(iter(shards[0].stamps.values()), None),
    )


def _index(kind: _Set, shards: Sequence[Path]) -> Path | None:
    """Return the index, if it is there and of these shards."""
    index = Path(kind.index)
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if index.stat().st_size <= _LARGEST_INDEX:
            named = json.loads(index.read_bytes())["weight_map"].values()
            if {*named} <= {one.name for one in shards}:
                return index
    return None
