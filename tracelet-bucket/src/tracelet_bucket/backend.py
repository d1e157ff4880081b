"""A bucket as a backend: docs/reference/format.md says what is in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from tracelet.exceptions import ArtifactNotFound
from tracelet.plugin import (
    ArtifactType,
    Damage,
    Labels,
    Remembered,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
    look_up,
    or_damage,
    parse_ref,
    sound,
)
from tracelet_bucket import blobs, garbage
from tracelet_bucket.aliases import Aliases, Holder, Holders
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.claims import Claims
from tracelet_bucket.labels import settle_label
from tracelet_bucket.places import open_bucket
from tracelet_bucket.putting import Put
from tracelet_bucket.records import Record
from tracelet_bucket.settings import BucketSettings
from tracelet_bucket.together import together
from tracelet_bucket.versions import Versions

__all__ = ["BucketBackend", "open_backend"]

T = TypeVar("T")

#: The newest version of a name is remembered where it has no more files.
_FEW_FILES = 100


def open_backend(experiment: str, settings: BucketSettings) -> BucketBackend:
    """Return the backend of an experiment. Nothing is sent yet."""
    return BucketBackend(open_bucket(settings.url), experiment)


class BucketBackend:
    """See :class:`~tracelet.plugin.Backend`. Any number of machines may use one bucket at once."""

    def __init__(self, bucket: Bucket, experiment: str) -> None:
        self._bucket = bucket
        self._versions = Versions(bucket, experiment)
        self._claims = Claims(bucket, experiment)
        self._aliases = Aliases(bucket, self._versions, experiment)
        #: The newest version of each name as it was last seen, and the highest number that was used.
        self._seen = Remembered[StoredArtifact]()
        self._numbers = Remembered[int]()

    def start(self, run: RunInfo) -> None:
        """Runs leave no trace of their own here: each manifest has its run's id."""

    def stop(self, *, failed: bool) -> None:
        """Nothing is held open."""

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.Backend`: the record comes last, and takes the number."""
        name = sealed.manifest.name
        highest = self._numbers.of(name)
        stored = self._put(sealed, labels, self._versions.highest(name) if highest is None else highest)
        assert stored is not None
        return stored

    def recall(self, name: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`."""
        return self._seen.of(name)

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Recalls`. Where others were faster, the bytes were sent, and are those of no version."""
        name = sealed.manifest.name
        seen = self._seen.of(name)
        highest = self._numbers.of(name)
        if seen is None or highest is None:
            return None
        return self._put(sealed, labels, highest, next_alone=True)

    def _put(
        self, sealed: SealedArtifact, labels: Labels, highest: int, *, next_alone: bool = False
    ) -> StoredArtifact | None:
        name = sealed.manifest.name
        self._versions.begin()
        seen = self._seen.of(name)
        known = frozenset() if seen is None else frozenset(str(file.sha256) for file in seen.manifest.payload)
        attempt = Put(self._bucket, self._versions, self._claims, self._aliases, sealed, labels, known)
        made = attempt.store(highest + 1, next_alone=next_alone)
        if made is None:
            self._seen.forget(name)
            self._numbers.forget(name)
            return None
        number, record = made
        if record.manifest.put_id != sealed.manifest.put_id:
            if labels.aliases:
                self._aliases.move(name, labels.aliases, Holder(number, record.manifest.put_id))
            return self._with_aliases(number, record)
        stored = self._stored(number, record, tuple(sorted(labels.aliases)))
        self._numbers.keep(name, number)
        self._remember(stored)
        return stored

    def _remember(self, newest: StoredArtifact) -> None:
        name = newest.manifest.name
        if len(newest.manifest.payload) <= _FEW_FILES:
            self._seen.keep(name, newest)
        else:
            self._seen.forget(name)

    def heal(self, stored: StoredArtifact, sealed: SealedArtifact) -> None:
        """See :class:`~tracelet.plugin.Heals`: equal bytes have the same key."""
        held = {file.sha256 for file in stored.manifest.payload}
        blobs.bring(self._bucket, sealed, [one for one in sealed.manifest.payload if one.sha256 in held], None)

    def place(self, stored: StoredArtifact, path: str) -> str:
        """See :class:`~tracelet.plugin.Heals`."""
        (file,) = (file for file in stored.manifest.payload if file.artifact_path == path)
        return blobs.place_of(self._bucket, file)

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._versions.check()
        wanted = parse_ref(ref)
        return look_up(
            wanted,
            latest=partial(self._latest, name),
            number=partial(self._numbered, name),
            label=partial(self._labelled, name),
            digest=lambda beginning: self._numbered(name, self._versions.of_digest(name, beginning)),
            put_id=partial(self._of_put, name),
        )

    def _latest(self, name: str) -> StoredArtifact | None:
        newest = self._versions.latest(name)
        self._numbers.keep(name, newest.highest)
        if newest.record is None:
            return None
        holders: Holders | None = None if newest.has_aliases else {}
        stored = self._with_aliases(newest.number, newest.record, holders)
        self._remember(stored)
        return stored

    def _numbered(self, name: str, number: int | None) -> StoredArtifact | None:
        if number is None:
            return None
        record, holders = self._both(partial(self._versions.record, name, number), name)
        return None if record is None else self._with_aliases(number, record, holders)

    def _labelled(self, name: str, label: str) -> StoredArtifact | None:
        note, holders = self._both(partial(self._claims.label, name, label), name)
        if note is not None:
            record = self._versions.record(name, note.number)
            if record is not None and record.manifest.digest == note.digest:
                return self._with_aliases(note.number, record, holders)
        found = self._aliases.number_of(name, label, holders)
        return None if found is None else self._numbered(name, found)

    def _of_put(self, name: str, put_id: str) -> StoredArtifact | None:
        note = self._claims.number_of_put(put_id)
        if note is None or note.name != name:
            return None
        found = self._numbered(name, note.number)
        # Another put may have taken the number that this one was about to take.
        return found if found is not None and found.manifest.put_id == put_id else None

    def list(self, *, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.Backend`: where records are damaged, it gives the others first, and raises then."""
        yield from sound(self._every(name, type))

    def _every(self, name: str | None, type: ArtifactType | None) -> Iterator[StoredArtifact | Damage]:
        self._versions.check()
        numbers, with_aliases = self._versions.every(name)
        read = or_damage(self._aliases.of, "the aliases of {0!r}".format)
        holders = {owner: read(owner) for owner in with_aliases}
        yield from (found for found in holders.values() if isinstance(found, Damage))
        for owner, number, found in self._versions.records(numbers):
            if isinstance(found, Record):
                theirs = holders.get(owner, {})
                # Whose aliases cannot be read is not shown as if it had none.
                if not isinstance(theirs, Damage) and (type is None or type is found.manifest.type):
                    yield self._with_aliases(number, found, theirs)
            elif found is not None:
                yield found

    def fetch(self, stored: StoredArtifact, paths: Collection[str], dest: Path) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        wanted = frozenset(paths)
        files = [file for file in stored.manifest.payload if file.artifact_path in wanted]
        blobs.fetch(self._bucket, files, dest)

    def relabel(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """See :class:`~tracelet.plugin.MovesAliases`."""
        name, number = stored.manifest.name, stored.number
        if labels.version and labels.version != stored.label:
            owner, _ = settle_label(self._claims, self._versions, stored.manifest, labels.version, number)
            if owner == number:
                self._versions.change_label(name, number, labels.version)
        if labels.aliases:
            self._aliases.move(name, labels.aliases, _holder(stored))
        return self._changed(stored)

    def remove_aliases(self, stored: StoredArtifact, aliases: Collection[str]) -> StoredArtifact:
        """See :class:`~tracelet.plugin.RemovesAliases`."""
        self._aliases.remove(stored.manifest.name, _holder(stored), aliases)
        return self._changed(stored)

    def _changed(self, stored: StoredArtifact) -> StoredArtifact:
        name, number = stored.manifest.name, stored.number
        found = self._numbered(name, number)
        if found is None:
            raise ArtifactNotFound(f"{name!r} v{number} was deleted meanwhile: list_artifacts() shows what there is.")
        return found

    def used_by(self, digest: str) -> Iterator[StoredArtifact]:
        """See :class:`~tracelet.plugin.FindsUsers`."""
        self._versions.check()
        for name, number in self._versions.users(digest):
            found = self._numbered(name, number)
            if found is not None and digest in found.manifest.inputs:
                yield found

    def experiments(self) -> Iterator[str]:
        """See :class:`~tracelet.plugin.ListsExperiments`. One whose versions are all deleted is among them."""
        return self._versions.experiments()

    def delete(self, stored: StoredArtifact) -> int | None:
        """See :class:`~tracelet.plugin.Deletes`. Its bytes stay until they are collected, for anything may share them."""
        name = stored.manifest.name
        # They come first: who is killed here deletes the version by doing it again, and no alias falls back to another one.
        self._aliases.remove(name, _holder(stored))
        self._versions.delete(stored.manifest, stored.number)
        self._remember_deleted(name, stored.number)
        return None

    def take_back(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.TakesBack`: aliases are where they were before."""
        manifest, number = stored.manifest, stored.number
        self._versions.delete(manifest, number)
        self._remember_deleted(manifest.name, number)
        if stored.label is not None:
            self._claims.free_label(manifest.name, stored.label, number)

    def _remember_deleted(self, name: str, number: int) -> None:
        seen = self._seen.of(name)
        if seen is not None and seen.number == number:
            self._seen.forget(name)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`."""
        return garbage.collect(self._bucket, older_than)

    def _both(self, call: Callable[[], T], name: str) -> tuple[T, Holders]:
        """Make a call, and read the aliases of a name at the same time."""
        reading: Callable[[], T | Holders] = partial(self._aliases.of, name)
        given, holders = together(call, reading)
        return cast(T, given), cast(Holders, holders)

    def _with_aliases(self, number: int, record: Record, holders: Holders | None = None) -> StoredArtifact:
        name = record.manifest.name
        every = self._aliases.of(name) if holders is None else holders
        return self._stored(number, record, self._aliases.held_by(name, Holder(number, record.manifest.put_id), every))

    def _stored(self, number: int, record: Record, aliases: tuple[str, ...]) -> StoredArtifact:
        uri = self._versions.uri(record.manifest.name, number)
        return StoredArtifact(record.manifest, number, uri, record.label, aliases)


def _holder(stored: StoredArtifact) -> Holder:
    return Holder(stored.number, stored.manifest.put_id)
