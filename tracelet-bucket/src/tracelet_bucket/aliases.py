"""The aliases of an experiment's names: all those of a name in one object, which is swapped when one moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.keys import Keys, is_number
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
        return {} if found is None else self._holders(name, self._read(name, found.data))

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

    def remove(self, name: str, holder: Holder, aliases: Collection[str] | None = None) -> None:
        """Take aliases away from a version, or all that it has. One that has moved on stays; so does what a put is about to move."""

        def left(holders: Holders) -> Holders:
            held = set(self.held_by(name, holder, holders))
            gone = held if aliases is None else held & set(aliases)
            kept = {alias: every[: every.index(holder)] if alias in gone else every for alias, every in holders.items()}
            return {alias: every for alias, every in kept.items() if every}

        self._change(name, left)

    def _before(self, name: str, holder: Holder, every: tuple[Holder, ...]) -> tuple[Holder, ...]:
        """The holders that count while a new one does not exist yet: those down to the first that exists."""
        others = tuple(one for one in every if one.put_id != holder.put_id)
        if len(others) < 2:
            return others
        first = next((place for place, one in enumerate(others) if self._exists_in(name)(one)), len(others) - 1)
        return others[: first + 1]

    def _exists_in(self, name: str) -> Callable[[Holder], bool]:
        def exists(holder: Holder) -> bool:
            try:
                record = self._versions.record(name, holder.number)
            except (IntegrityError, UnsafePath, NewerFormat):
                return True  # whoever asks for that version is told; the others have names of their own
            return record is not None and record.manifest.put_id == holder.put_id

        return exists

    def _change(self, name: str, change: Callable[[Holders], Holders]) -> None:
        key = self._keys.aliases(name)
        while True:
            found = self._bucket.get(key)
            record = {} if found is None else self._read(name, found.data)
            before = self._holders(name, record)
            after = change(before)
            if after == before:
                return
            data = _written(record, after)
            if self._bucket.create(key, data) if found is None else self._bucket.swap(key, data, found.etag):
                return

    def _read(self, name: str, data: bytes) -> dict[str, Any]:
        return loads(data, self._place(name))

    def _holders(self, name: str, record: Mapping[str, Any]) -> Holders:
        try:
            return {
                str(alias): tuple(_holder(*one) for one in every) for alias, every in record.get("aliases", {}).items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"{self._place(name)} is damaged: restore it, or delete it and name the versions again."
            ) from error

    def _place(self, name: str) -> str:
        return f"{self._bucket.url}/{self._keys.aliases(name)}"


def _holder(number: object, put_id: object) -> Holder:
    if not is_number(number) or not isinstance(put_id, str):
        raise ValueError("it is no holder")
    return Holder(number, put_id)


def _written(record: Mapping[str, Any], holders: Holders) -> bytes:
    """What is stored: what a later release has added to the record stays in it."""
    plain = {alias: [[one.number, one.put_id] for one in every] for alias, every in sorted(holders.items())}
    return json.dumps({"schema": SCHEMA, **record, "aliases": plain}).encode()
