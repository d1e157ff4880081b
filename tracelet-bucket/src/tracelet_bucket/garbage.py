"""Clear away bytes that no version needs, while others store and read.

Nobody's clock is trusted, and no two machines need agree on the time. A put notes which bytes it needs before it looks whether
they are there. Whoever clears takes bytes aside first and looks then who needs them: either the note is there by then, and the
bytes are put back; or the put looks after they were taken, and sends them again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator

import attrs

from tracelet.exceptions import ConfigError, IntegrityError, NewerFormat, UnsafePath
from tracelet_bucket.bucket import Bucket, Listed
from tracelet_bucket.claims import read_put
from tracelet_bucket.keys import (
    ASIDE,
    EXPERIMENTS,
    NOTES,
    OBJECTS,
    REFS,
    aside_blob,
    aside_folder,
    blob_key,
    blob_of,
    is_note,
    listed_key,
    number_in,
)
from tracelet_bucket.records import Record, is_deleted, loads, read_record
from tracelet_bucket.together import each

__all__ = ["STALE_SECONDS", "collect"]

_LOG = logging.getLogger("tracelet.bucket")
#: The note of a put counts for so long at least. A put that takes longer renews it.
STALE_SECONDS = 3600.0
_PUTS, _VERSIONS, _EXPERIMENT = "puts", "versions", "experiment.json"


@attrs.frozen
class _Needs:
    """What a record needs: it never changes."""

    put_id: str
    blobs: frozenset[str]


def collect(bucket: Bucket, older_than: float) -> Iterator[int]:
    """Delete the bytes that no version needs and that were written before then; give the size of each piece.

    Where a record cannot be read, nobody knows which bytes it needs: all stay, and a WARNING names it.

    Args:
        bucket: where.
        older_than: seconds since the epoch, by the clock of this machine.

    Raises:
        ConfigError: Listings show what was written only later: who needs which bytes cannot be told.
    """
    now = bucket.now()
    _check_listings(bucket)
    limit = older_than + now - time.time()
    stale = min(limit, now - STALE_SECONDS)
    known: dict[str, _Needs] = {}
    needed = _needed(bucket, stale, known)
    # What others have aside is theirs: they may not have deleted yet what they copied. Who was killed comes back no more.
    aside = [one for one in bucket.below(ASIDE) if one.written_at < stale]
    if needed is not None:
        for one in bucket.below(OBJECTS):
            sha256 = blob_of(one.key)
            if sha256 is not None and sha256 not in needed and one.written_at < limit:
                taken = attrs.evolve(one, key=f"{aside_folder(sha256)}/{uuid.uuid4().hex}")
                if bucket.move(one.key, taken.key, one.size_bytes):
                    aside.append(taken)
    needed = _needed(bucket, stale, known) if aside and needed is not None else None
    for one in aside:
        sha256 = aside_blob(one.key)
        if sha256 is None:
            continue
        if needed is not None and sha256 not in needed:
            bucket.remove(one.key)
            yield one.size_bytes
        elif bucket.size_of(blob_key(sha256)) is None:
            bucket.move(one.key, blob_key(sha256), one.size_bytes)
        else:  # somebody has sent them again: what is there is not overwritten
            bucket.remove(one.key)
    for one in bucket.below(NOTES):
        if is_note(one.key) and one.written_at < limit:
            bucket.remove(one.key)
            yield one.size_bytes
    yield from bucket.sweep(limit)


def _check_listings(bucket: Bucket) -> None:
    key = listed_key(uuid.uuid4().hex)
    bucket.put(key, b"")
    is_listed = any(one.key == key for one in bucket.below(NOTES))
    bucket.remove(key)
    if not is_listed:
        raise ConfigError(
            f"{bucket.url}: what is written is not listed at once, so that nobody can tell which bytes are needed. Nothing "
            "is cleared away there; a store that lists at once is needed for that."
        )


def _needed(bucket: Bucket, stale: float, known: dict[str, _Needs]) -> set[str] | None:
    """Return the sha256 of all bytes that somebody needs; None where that cannot be told.

    ``known`` has what the records need that were read before, by their keys, and gets that of the others.
    """
    puts: list[Listed] = []
    records: list[Listed] = []
    whole = True
    # The puts come before the versions: what is stored meanwhile is among the one or the other.
    for one in bucket.below(EXPERIMENTS):
        kind = one.key.split("/")[2] if one.key.count("/") > 1 else ""
        if kind == _PUTS and one.key.endswith(".json"):
            puts.append(one)
        elif kind == _VERSIONS and number_in(one.key) is not None and not is_deleted(one.size_bytes):
            records.append(one)
        elif kind == _EXPERIMENT:
            whole = _is_readable(bucket, one.key) and whole
    there = {one.key for one in records}
    fresh = [one.key for one in records if one.key not in known]
    for key, needs in zip(fresh, each(lambda key: _needs(bucket, key), fresh), strict=True):
        if isinstance(needs, _Needs):
            known[key] = needs
        else:
            whole = whole and needs
    needed = {one.key.split("/")[1] for one in bucket.below(REFS)}
    stored = {needs.put_id for key, needs in known.items() if key in there}
    for key, needs in known.items():
        if key in there:
            needed |= needs.blobs
    for one in puts:
        put_id = one.key.rpartition("/")[2].removesuffix(".json")
        if put_id not in stored and one.written_at >= stale:
            found = bucket.get(one.key)
            if found is not None:
                try:
                    needed |= read_put(found.data, f"{bucket.url}/{one.key}").blobs
                except (IntegrityError, NewerFormat) as error:
                    _LOG.warning("bytes are kept that may be garbage: %s", error)
                    whole = False
    return needed if whole else None


def _is_readable(bucket: Bucket, key: str) -> bool:
    found = bucket.get(key)
    try:
        if found is not None:
            loads(found.data, f"{bucket.url}/{key}")
    except NewerFormat as error:
        _LOG.warning("bytes are kept that may be garbage: %s", error)
        return False
    except IntegrityError:
        pass  # each record has a schema of its own
    return True


def _needs(bucket: Bucket, key: str) -> _Needs | bool:
    """Return what a record needs; True where it is gone, and False where it cannot be read."""
    found = bucket.get(key)
    if found is None:
        return True
    try:
        record = read_record(found.data, f"{bucket.url}/{key}")
    except (IntegrityError, UnsafePath, NewerFormat) as error:
        _LOG.warning("bytes are kept that may be garbage: %s", error)
        return False
    if not isinstance(record, Record):
        return True
    manifest = record.manifest
    return _Needs(manifest.put_id, frozenset(str(file.sha256) for file in (*manifest.payload, *manifest.stored)))
