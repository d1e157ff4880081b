"""All that is unfinished in a tracelet directory: what of it is damaged, what it needs, and what is left over."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tracelet.core.delivery.layout import DRAFTS, drafted_name
from tracelet.core.delivery.lease import Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.puts import read_put
from tracelet.core.delivery.unreadable import Damaged, Unreadable, describe
from tracelet.core.system.links import read_own
from tracelet.core.system.schemas import SCHEMA, check_schema
from tracelet.exceptions import IntegrityError, NewerFormat

__all__ = ["damaged_in", "leftovers_in", "needed_blobs", "newer_in", "waiting_bytes"]


def damaged_in(outbox: Outbox) -> Iterator[Damaged]:
    """Yield the deliveries and drafts that are not made because they cannot be read; then those of :func:`newer_in`."""
    for path in sorted(outbox.root.glob("*/*/*"), key=lambda path: path.name):
        read = outbox.drafts.load_checked if path.parent.name == DRAFTS else outbox.read
        try:
            if path.suffix in {".json", ".refused", ".damaged"}:
                read(path)
        except Unreadable as error:
            yield error.damaged
        except NewerFormat:
            yield describe(path, newer=True)
        else:
            if path.suffix == ".damaged":
                yield describe(path)
    yield from newer_in(outbox.root.parent)


def newer_in(directory: Path) -> Iterator[Damaged]:
    """Yield the interrupted puts and the journals of captures that a later release wrote."""
    puts, journals = directory.glob("puts/*/*.json"), directory.glob("captured/*/*.jsonl")
    for path in sorted((*puts, *journals), key=lambda path: path.name):
        try:
            read_put(path) if path.suffix == ".json" else _check_lines(path)
        except (OSError, IntegrityError):
            continue  # it is told of where it is read
        except NewerFormat:
            yield Damaged(path, unquote(path.parent.name), "", drafted_name(path), newer=True)


def _check_lines(journal: Path) -> None:
    """Raise :class:`~tracelet.NewerFormat` where a later release wrote a line of a journal."""
    for line in read_own(journal).split(b"\n"):
        with contextlib.suppress(AttributeError, RecursionError, ValueError):
            check_schema(json.loads(line), SCHEMA, str(journal))


def waiting_bytes(outbox: Outbox) -> int:
    """Return how many bytes wait; what several backends wait for is counted once."""
    drafts = [found.draft.manifest for found in outbox.drafts.readable()]
    manifests = {one.put_id: one for one in [*drafts, *(parcel.manifest for parcel in outbox.everything())]}
    return sum(file.size_bytes for one in manifests.values() for file in one.payload)


def needed_blobs(outbox: Outbox) -> set[str]:
    """Return the sha256 of every blob that a delivery, waiting or refused, needs.

    Raises :class:`~tracelet.IntegrityError` where one is damaged, for then it is not known which it needs.
    """
    for one in damaged_in(outbox):
        raise IntegrityError(one.advice)
    parcels = [*outbox.everything(), *outbox.refused()]
    return {file.sha256 for parcel in parcels for file in parcel.manifest.payload if file.sha256}


def leftovers_in(outbox: Outbox) -> Iterator[Path]:
    """Yield what interrupted processes left: leases of dead processes, and renderings that no delivery has any more."""
    for path in outbox.root.glob("*/*/*"):
        alone = not any(path.with_suffix(suffix).exists() for suffix in (".json", ".refused"))
        if (path.suffix == ".lease" and alone and not Lease(path).is_held()) or (path.suffix == ".rendered" and alone):
            yield path
