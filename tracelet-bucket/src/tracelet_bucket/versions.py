"""Which versions an experiment has in a bucket. One exists from the moment in which its record is written, and that takes its number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import unquote

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import Damage, Manifest, of_digest, or_damage, physical_name
from tracelet_bucket.bucket import Bucket, Listed
from tracelet_bucket.keys import EXPERIMENTS, Keys, number_in
from tracelet_bucket.records import SCHEMA, Deleted, Record, is_deleted, loads, read_record
from tracelet_bucket.together import each

__all__ = ["Latest", "Versions"]


@attrs.frozen
class Latest:
    """What is newest of a name."""

    #: The highest number that was used, also by a version that was deleted; -1 where none was.
    highest: int
    has_aliases: bool
    #: The newest version that exists.
    number: int = -1
    record: Record | None = None


class Versions:
    """The versions of one experiment."""

    def __init__(self, bucket: Bucket, experiment: str) -> None:
        self._bucket = bucket
        self._experiment = experiment
        self._keys = Keys(experiment)
        #: Whether the schema was looked at, and whether it is known to be there, in a place that can do what is needed.
        self._is_checked = self._is_begun = False
        #: What says the schema.
        self._found: bytes | None = None

    def check(self) -> None:
        """Raise :class:`~tracelet.NewerFormat` where a later release keeps this experiment in another way."""
        if not self._is_checked:
            found = self._bucket.get(self._keys.experiment)
            if found is not None:
                loads(found.data, self._shown(self._keys.experiment))
                self._found = found.data
            self._is_checked = True

    def begin(self) -> None:
        """Check the schema, and write it where there is none; and see once that no two writers write the same."""
        self.check()
        if not self._is_begun:
            if self._found is None:
                self._found = json.dumps({"schema": SCHEMA, "experiment": self._experiment}).encode()
                if not self._bucket.create(self._keys.experiment, self._found):
                    self._is_checked = False  # somebody was faster, and may be of a later release
                    self.check()
            self._bucket.check_conditions(self._keys.experiment, self._found)
            self._is_begun = True

    def experiments(self) -> Iterator[str]:
        """Yield the names of all experiments."""
        for folder in self._bucket.folders(EXPERIMENTS):
            name = unquote(folder)
            if physical_name(name) != folder:  # it was shortened
                found = self._bucket.get(f"{EXPERIMENTS}/{folder}/experiment.json")
                said = {} if found is None else loads(found.data, self._shown(folder))
                name = said["experiment"] if isinstance(said.get("experiment"), str) else folder
            yield name

    def highest(self, name: str) -> int:
        """Return the highest number that a name has used, or -1: one request."""
        numbers = (number_in(one.key) for one in self._bucket.below(self._keys.versions(name)))
        return next((number for number in numbers if number is not None), -1)

    def latest(self, name: str) -> Latest:
        """Return the newest version that exists, and what the same page of the listing says."""
        highest, has_aliases = -1, False
        for one in self._bucket.below(self._keys.versions(name)):
            number = number_in(one.key)
            if number is None:
                has_aliases = has_aliases or one.key == self._keys.aliases(name)
                continue
            highest = max(highest, number)
            if not is_deleted(one.size_bytes) and (found := self.record(name, number)) is not None:
                return Latest(highest, has_aliases, number, found)
        return Latest(highest, has_aliases)

    def record(self, name: str, number: int) -> Record | None:
        """Return the record of a version, or None where it does not exist, or was deleted.

        Raises :class:`~tracelet.IntegrityError`, :class:`~tracelet.UnsafePath` or :class:`~tracelet.NewerFormat` where it
        cannot be read.
        """
        found = self.slot(name, number)
        return found if isinstance(found, Record) else None

    def slot(self, name: str, number: int) -> Record | Deleted | None:
        """Return what has taken a number, or None where nobody has. Raises as :meth:`record` does."""
        key = self._keys.version(name, number)
        found = self._bucket.get(key)
        return None if found is None else self._read(name, key, found.data)

    def _read(self, name: str, key: str, data: bytes) -> Record | Deleted:
        record = read_record(data, self._shown(key))
        if isinstance(record, Record) and record.manifest.name != name:
            raise IntegrityError(f"{self._shown(key)} is the record of {record.manifest.name!r}: restore it.")
        return record

    def commit(self, number: int, record: Record) -> bool:
        """Write a version's record unless its number is taken; say whether it was written: the version exists from then on."""
        return self._bucket.create(self._keys.version(record.manifest.name, number), record.to_bytes())

    def change_label(self, name: str, number: int, label: str) -> None:
        """Note the label of a version that exists."""
        key = self._keys.version(name, number)
        while (found := self._bucket.get(key)) is not None:
            record = self._read(name, key, found.data)
            if not isinstance(record, Record) or record.label == label:
                return
            if self._bucket.swap(key, attrs.evolve(record, label=label).to_bytes(), found.etag):
                return

    def delete(self, manifest: Manifest, number: int) -> None:
        """Have a version exist no more. Its number is not used again."""
        self._bucket.put(self._keys.version(manifest.name, number), Deleted().to_bytes())
        # A put of which nothing is left keeps no bytes.
        self._bucket.remove(self._keys.put(manifest.put_id))
        self._bucket.remove(self._keys.digest(manifest.name, manifest.digest, number))
        for digest in manifest.inputs:
            self._bucket.remove(self._keys.input(digest, manifest.name, number))

    def every(self, name: str | None) -> tuple[dict[str, list[int]], list[str]]:
        """Return the numbers of a name's versions, or of all names', newest first, by name; and the names that have aliases."""
        numbers: dict[str, list[int]] = {}
        with_aliases: list[str] = []
        for one in self._bucket.below(self._keys.versions(name)):
            owner, number = _folder(one), number_in(one.key)
            if number is not None and not is_deleted(one.size_bytes):
                numbers.setdefault(owner, []).append(number)
            elif one.key == self._keys.aliases(owner):
                with_aliases.append(owner)
        return numbers, with_aliases

    def records(self, numbers: dict[str, list[int]]) -> Iterator[tuple[str, int, Record | Damage | None]]:
        """Yield name, number and record of these versions; an error for one that cannot be read, None for one that is gone."""
        places = [(name, number) for name, found in numbers.items() for number in found]

        def one(place: tuple[str, int]) -> Record | None:
            return self.record(*place)

        read = or_damage(one, lambda place: f"{place[0]!r} v{place[1]}")
        for (name, number), record in zip(places, each(read, places), strict=True):
            yield name, number, record

    def of_digest(self, name: str, beginning: str) -> int | None:
        """Return the number of the newest version whose digest begins so, or None."""
        folder = self._keys.digests(name)
        places: list[tuple[str, int]] = []
        for one in self._bucket.below(folder, after=f"{folder}/{beginning}"):
            digest = _folder(one)
            if not digest.startswith(beginning):
                break
            if (number := number_in(one.key)) is not None:
                places.append((digest, number))
        # A note may be that of a put which was never finished, or got another number.
        found = [
            (digest, number)
            for digest, number in sorted(places, key=lambda place: place[1], reverse=True)
            if (record := self.record(name, number)) is not None and record.manifest.digest == digest
        ]
        return of_digest(name, beginning, found)

    def users(self, digest: str) -> Iterator[tuple[str, int]]:
        """Yield name and number of the versions that may be made from a digest."""
        for one in self._bucket.below(self._keys.inputs(digest)):
            number = number_in(one.key)
            if number is not None:
                yield _folder(one), number

    def uri(self, name: str, number: int) -> str:
        """Return where the record of a version is."""
        return self._shown(self._keys.version(name, number))

    def _shown(self, key: str) -> str:
        return f"{self._bucket.url}/{key}"


def _folder(listed: Listed) -> str:
    """The last folder of a key: a name, or a digest."""
    return listed.key.split("/")[-2]
