"""What a put claims before its version exists: its number, so that who tries again finds it, and its label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet_bucket.bucket import Bucket, Etag
from tracelet_bucket.keys import Keys, is_number
from tracelet_bucket.records import SCHEMA, loads

__all__ = ["Claims", "LabelNote", "PutNote", "read_put"]


@attrs.frozen
class PutNote:
    """What a put is about to store. Whoever clears bytes away leaves those that it names."""

    name: str
    number: int
    blobs: frozenset[str]

    def to_bytes(self) -> bytes:
        """Return what is stored."""
        told = {"schema": SCHEMA, "name": self.name, "number": self.number, "blobs": sorted(self.blobs)}
        return json.dumps(told).encode()


@attrs.frozen
class LabelNote:
    """Which content a label belongs to, and the version that has it, or is about to."""

    number: int
    #: None where that version was taken back: any content may have the label.
    digest: str | None

    def to_bytes(self) -> bytes:
        """Return what is stored."""
        return json.dumps({"schema": SCHEMA, "number": self.number, "digest": self.digest}).encode()


def read_put(data: bytes, place: str) -> PutNote:
    """Read what :meth:`PutNote.to_bytes` gave. Raises :class:`~tracelet.IntegrityError` where it is damaged."""
    found = loads(data, place)
    name, number, blobs = found.get("name"), _number(found), found.get("blobs")
    if not isinstance(name, str) or number is None or not isinstance(blobs, list):
        raise IntegrityError(f"{place} is damaged: delete it.")
    return PutNote(name, number, frozenset(map(str, blobs)))


def _read_label(data: bytes, place: str) -> LabelNote:
    found = loads(data, place)
    number, digest = _number(found), found.get("digest")
    if number is None or not isinstance(digest, str | None):
        raise IntegrityError(f"{place} is damaged: restore it, or use another label.")
    return LabelNote(number, digest)


def _number(found: Mapping[str, Any]) -> int | None:
    number = found.get("number")
    return number if is_number(number) else None


class Claims:
    """The claims of one experiment."""

    def __init__(self, bucket: Bucket, experiment: str) -> None:
        self._bucket = bucket
        self._keys = Keys(experiment)

    def number_of_put(self, put_id: str) -> PutNote | None:
        """Return what a put was about to store, or None."""
        found = self._note(self._keys.put(put_id))
        return found[0] if found else None

    def claim_put(self, put_id: str, wanted: PutNote) -> int:
        """Note that a put is about to take a number; return the number that it takes, which another process may have noted before.

        All deliveries of one put try the same number, so that one of them alone gets it. The note is young afterwards: who
        clears bytes away takes no notice of an old one.
        """
        key = self._keys.put(put_id)
        while not self._bucket.create(key, wanted.to_bytes()):
            found = self._note(key)
            if found is not None:  # its version could have been deleted in this moment
                note, etag = found
                said = attrs.evolve(wanted, number=note.number) if note.name == wanted.name else wanted
                if self._bucket.swap(key, said.to_bytes(), etag):
                    return said.number
        return wanted.number

    def move_put(self, put_id: str, taken: int, wanted: PutNote) -> int:
        """Note another number, for somebody else has taken that one; return the number that the put takes now."""
        key = self._keys.put(put_id)
        while (found := self._note(key)) is not None:
            note, etag = found
            if note.number != taken:
                return note.number
            if self._bucket.swap(key, wanted.to_bytes(), etag):
                return wanted.number
        return self.claim_put(put_id, wanted)

    def _note(self, key: str) -> tuple[PutNote, Etag] | None:
        found = self._bucket.get(key)
        return None if found is None else (read_put(found.data, self._shown(key)), found.etag)

    def label(self, name: str, label: str) -> LabelNote | None:
        """Return what a label belongs to, or None."""
        key = self._keys.label(name, label)
        found = self._bucket.get(key)
        note = None if found is None else _read_label(found.data, self._shown(key))
        return None if note is None or note.digest is None else note

    def claim_label(self, name: str, label: str, wanted: LabelNote) -> LabelNote:
        """Claim a label for a version; return which one it belongs to."""
        key = self._keys.label(name, label)
        while not self._bucket.create(key, wanted.to_bytes()):
            found = self._bucket.get(key)
            note = None if found is None else _read_label(found.data, self._shown(key))
            if note is not None and note.digest is not None:
                return note
            if found is not None and self._bucket.swap(key, wanted.to_bytes(), found.etag):
                break
        return wanted

    def move_label(self, name: str, label: str, taken: int, wanted: LabelNote) -> LabelNote:
        """Have a label belong to a version, where it still belongs to that number; return which one it belongs to now."""
        key = self._keys.label(name, label)
        while (found := self._bucket.get(key)) is not None:
            note = _read_label(found.data, self._shown(key))
            if note.digest is None:
                break
            if (note.number, note.digest) != (taken, wanted.digest):
                return note
            if self._bucket.swap(key, wanted.to_bytes(), found.etag):
                return wanted
        return self.claim_label(name, label, wanted)

    def free_label(self, name: str, label: str, number: int) -> None:
        """Free a label where it still belongs to this version: another content may take it."""
        key = self._keys.label(name, label)
        while (found := self._bucket.get(key)) is not None:
            if _read_label(found.data, self._shown(key)).number != number:
                return
            # Nobody can delete an object only where it is still the same. It can be swapped so.
            if self._bucket.swap(key, LabelNote(number, None).to_bytes(), found.etag):
                return

    def note_digest(self, name: str, digest: str, number: int) -> None:
        """Note which digest a version is to have."""
        self._bucket.put(self._keys.digest(name, digest, number), b"")

    def note_inputs(self, name: str, inputs: Iterable[str], number: int) -> None:
        """Note under the digest of each input that a version is to be made from it."""
        for digest in inputs:
            self._bucket.put(self._keys.input(digest, name, number), b"")

    def _shown(self, key: str) -> str:
        return f"{self._bucket.url}/{key}"
