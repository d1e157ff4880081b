"""The aliases of an experiment's names: all those of a name in one object, which is swapped when one moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.keys import Keys
from tracelet_bucket.records import SCHEMA, loads
from tracelet_bucket.versions import Versions

__all__ = ["Aliases", "Holder", "Holders"]


@attrs.frozen
class Holder:
    """A version that an alias was moved to. Its number may be another put's by now: then it does not exist."""

    number: int
    put_id: str


#: By alias: the versions that it was moved to, newest first. It points at the first that exists.
Holders = Mapping[str, tuple[Holder, ...]]


class Aliases:
    """The aliases of one experiment."""

    def __init__(self, bucket: Bucket, versions: Versions, experiment: str) -> None:
        self._bucket = bucket
        self._versions = versions
        self._keys = Keys(experiment)

    def of(self, name: str) -> Holders:
        """Return the aliases of a name: one request."""
        found = self._bucket.get(self._keys.aliases(name))
        return {} if found is None else self._read(name, found.data)

    def held_by(self, name: str, holder: Holder, holders: Holders) -> tuple[str, ...]:
        """Return the aliases that point at a version which exists."""
        return tuple(
            alias
            for alias, every in sorted(holders.items())
            if holder in every and not any(map(self._exists_in(name), every[: every.index(holder)]))
        )

    def number_of(self, name: str, alias: str, holders: Holders) -> int | None:
        """Return the number of the version that an alias points at, or None."""
        return next((one.number for one in holders.get(alias, ()) if self._exists_in(name)(one)), None)

    def move(self, name: str, aliases: Iterable[str], holder: Holder) -> None:
        """Move aliases to a version that exists."""
        moved = dict.fromkeys(aliases, (holder,))
        self._change(name, lambda holders: {**holders, **moved})

    def move_with(self, name: str, aliases: Iterable[str], holder: Holder) -> None:
        """Move aliases in the moment in which the version begins to exist, and not at all where that never comes."""

        def moved(holders: Holders) -> Holders:
            before = {alias: self._before(name, holder, holders.get(alias, ())) for alias in aliases}
            return {**holders, **{alias: (holder, *found) for alias, found in before.items()}}

        self._change(name, moved)

    def remove(self, name: str, aliases: Iterable[str]) -> None:
        """Have aliases name nothing any more."""
        gone = frozenset(aliases)
        if gone:
            self._change(name, lambda holders: {alias: every for alias, every in holders.items() if alias not in gone})

    def _before(self, name: str, holder: Holder, every: tuple[Holder, ...]) -> tuple[Holder, ...]:
        """The holders that count while a new one does not exist yet: those down to the first that exists."""
        others = tuple(one for one in every if one.put_id != holder.put_id)
        if len(others) < 2:
            return others
        first = next((place for place, one in enumerate(others) if self._exists_in(name)(one)), len(others) - 1)
        return others[: first + 1]

    def _exists_in(self, name: str) -> Callable[[Holder], bool]:
        def exists(holder: Holder) -> bool:
            record = self._versions.record(name, holder.number)
            return record is not None and record.manifest.put_id == holder.put_id

        return exists

    def _change(self, name: str, change: Callable[[Holders], Holders]) -> None:
        key = self._keys.aliases(name)
        while True:
            found = self._bucket.get(key)
            before = {} if found is None else self._read(name, found.data)
            after = change(before)
            if after == before:
                return
            data = _written(after)
            if self._bucket.create(key, data) if found is None else self._bucket.swap(key, data, found.etag):
                return

    def _read(self, name: str, data: bytes) -> Holders:
        place = f"{self._bucket.url}/{self._keys.aliases(name)}"
        found: Any = loads(data, place).get("aliases")
        try:
            return {
                str(alias): tuple(Holder(int(number), str(put_id)) for number, put_id in every)
                for alias, every in found.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{place} is damaged: restore it, or delete it and name the versions again."
            ) from error


def _written(holders: Holders) -> bytes:
    plain = {alias: [[one.number, one.put_id] for one in every] for alias, every in sorted(holders.items())}
    return json.dumps({"schema": SCHEMA, "aliases": plain}).encode()
