"""Labels: each belongs to one content of a name, for ever."""

from __future__ import annotations

from tracelet.plugin import Manifest, label_conflict
from tracelet_bucket.claims import Claims, LabelNote
from tracelet_bucket.records import Record
from tracelet_bucket.versions import Versions

__all__ = ["settle_label"]


def settle_label(
    claims: Claims, versions: Versions, manifest: Manifest, label: str, number: int
) -> tuple[int, Record | None]:
    """Claim a label for a version that is about to be stored.

    Args:
        claims: where.
        versions: where.
        manifest: the version's.
        label: the label.
        number: the number that the version is about to take.

    Returns:
        The number that the label belongs to, and the version where there is one: it has the same content. Where there is none,
        another put of the same content is about to take that number.

    Raises:
        VersionConflict: The label belongs to another content.
    """
    name, wanted = manifest.name, LabelNote(number, manifest.digest)
    note = claims.claim_label(name, label, wanted)
    while note != wanted:
        there = versions.slot(name, note.number)
        if note.digest != wanted.digest:
            raise label_conflict(name, label, note.number if isinstance(there, Record) else None)
        if there is None:
            return note.number, None
        if isinstance(there, Record) and there.manifest.digest == wanted.digest:
            return note.number, there
        # Its version was deleted, or another put took its number.
        note = claims.move_label(name, label, note.number, wanted)
    return number, None
