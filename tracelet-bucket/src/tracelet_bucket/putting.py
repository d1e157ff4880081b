"""How one version comes into a bucket: what it needs is noted, its bytes are sent, and its record takes the number, last.

Another delivery of the same put may be under way, or have been killed. The note under the put's id says which number it takes,
and all deliveries of it try that number: one of them gets it, and the others find it taken by their own put. Two puts of one
content under one label agree on a number by the label's note in the same way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Container
from functools import partial

import attrs

from tracelet.exceptions import IntegrityError, UnsafePath
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket import blobs, garbage
from tracelet_bucket.aliases import Aliases, Holder
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.claims import Claims, PutNote
from tracelet_bucket.labels import settle_label
from tracelet_bucket.records import Record
from tracelet_bucket.together import together
from tracelet_bucket.versions import Versions

__all__ = ["Put"]

#: A put that took longer says again what it needs, and looks again whether that is there.
_LONG_SECONDS = garbage.STALE_SECONDS / 6
#: A look that itself took longer is no look: who clears may have taken the note for an old one.
_LONGEST_LOOK = garbage.STALE_SECONDS / 2
#: Who lost a number more often, or is slower, waits no longer for the next one.
_MOST_LOST, _LONGEST_WAIT = 16, 10.0


@attrs.define
class Put:
    """One attempt to store a version."""

    bucket: Bucket
    versions: Versions
    claims: Claims
    aliases: Aliases
    sealed: SealedArtifact
    labels: Labels
    #: The sha256 of bytes that are there in all likelihood.
    known: Container[str]
    #: When it was last said what this put needs, by both clocks.
    said_at: tuple[float, float] = (0.0, 0.0)

    def store(self, number: int, *, next_alone: bool = False) -> tuple[int, Record] | None:
        """Store a version under this number, or a later one; return it, or the one that has its label and its content.

        Args:
            number: the first number to try.
            next_alone: whether to give up where that is taken: then None is returned.

        Raises:
            VersionConflict: The label belongs to another content.
        """
        manifest = self.sealed.manifest
        name, put_id = manifest.name, manifest.put_id
        number = self.claims.claim_put(put_id, self._note(number))
        self.said_at = _clocks()
        is_sent = False
        lost = 0
        while True:
            began = time.monotonic()
            if self.labels.version is not None:
                owner, there = settle_label(self.claims, self.versions, manifest, self.labels.version, number)
                if there is not None:
                    return owner, there
                if owner != number:  # whoever has the label has not stored it yet: the faster one does
                    number = self.claims.move_put(put_id, number, self._note(owner))
                    continue
            self._announce(number)
            if not is_sent:
                blobs.bring(self.bucket, self.sealed, manifest.payload, self.known)
                is_sent = True
                began = time.monotonic()  # bytes are sent once: no other turn takes that long
            self._look_again(number)
            record = Record(manifest, self.labels.version)
            if self.versions.commit(number, record):
                self._look_again(number)
                return number, record
            other = self._readable(number)
            if other is not None and other.manifest.put_id == put_id:
                return number, other
            if next_alone:
                return None
            # Many who want one name's next number hinder each other less where each waits by chance.
            lost = min(lost + 1, _MOST_LOST)
            time.sleep(min(random.uniform(0.0, lost) * (time.monotonic() - began), _LONGEST_WAIT))
            # One that is taken is never tried again, whatever a listing says.
            higher = max(number, self.versions.highest(name)) + 1
            number = self.claims.move_put(put_id, number, self._note(higher))

    def _readable(self, number: int) -> Record | None:
        """The record that has taken a number; one that is damaged is nobody's, and stops no put."""
        try:
            return self.versions.record(self.sealed.manifest.name, number)
        except (IntegrityError, UnsafePath):
            return None

    def _note(self, number: int) -> PutNote:
        manifest = self.sealed.manifest
        return PutNote(manifest.name, number, frozenset(str(file.sha256) for file in manifest.payload))

    def _announce(self, number: int) -> None:
        """Write what finds the version, before it exists."""
        manifest = self.sealed.manifest
        calls = [partial(self.claims.note_digest, manifest.name, manifest.digest, number)]
        if manifest.inputs:
            calls.append(partial(self.claims.note_inputs, manifest.name, manifest.inputs, number))
        if self.labels.aliases:
            holder = Holder(number, manifest.put_id)
            calls.append(partial(self.aliases.move_with, manifest.name, self.labels.aliases, holder))
        together(*calls)

    def _look_again(self, number: int) -> None:
        """Have whoever clears bytes away know this put, also where it takes hours."""
        longest = _LONG_SECONDS
        while max(now - said for now, said in zip(_clocks(), self.said_at, strict=True)) > longest:
            self.said_at = _clocks()
            self.claims.claim_put(self.sealed.manifest.put_id, self._note(number))
            blobs.bring_back(self.bucket, self.sealed, self.sealed.manifest.payload)
            longest = _LONGEST_LOOK


def _clocks() -> tuple[float, float]:
    """The clock that only runs, and stands still while the machine sleeps; and the one that anybody may set."""
    return time.monotonic(), time.time()
