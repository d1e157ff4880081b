"""What a tracelet directory still holds, as `sync` reports it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import attrs

from tracelet.core.capture.journal import leftovers
from tracelet.core.delivery.drafts import parcels_of
from tracelet.core.delivery.inventory import damaged_in
from tracelet.core.delivery.layout import drafted_at
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import interrupted_puts
from tracelet.core.maintenance.sync_report import Delivery, DeliveryState
from tracelet.core.system.processes import lives
from tracelet.exceptions import NewerFormat

__all__ = ["delivery_of", "left", "refused"]


def delivery_of(parcel: Parcel, state: DeliveryState, reason: str = "") -> Delivery:
    """Return a delivery of the outbox as it is reported."""
    manifest = parcel.manifest
    return Delivery(
        state=state,
        experiment=parcel.run.experiment,
        backend=parcel.backend,
        name=manifest.name,
        put_id=manifest.put_id,
        size_bytes=manifest.size_bytes,
        queued_at=parcel.queued_at,
        reason=reason,
    )


def left(
    directory: Path, outbox: Outbox, reasons: Mapping[tuple[str, str], str], failures: Mapping[Path, str]
) -> tuple[Delivery, ...]:
    """Return what is in a tracelet directory and not delivered. It is read off the disk, for others may be at work too.

    ``reasons`` says, by backend and put id, why a delivery is left, and ``failures``, by file, why something was not queued.
    """
    waiting = [
        delivery_of(
            parcel,
            DeliveryState.LEFT,
            reasons.get((parcel.backend, parcel.manifest.put_id), "it was queued in the meantime."),
        )
        for parcel in outbox.everything()
    ]
    return (
        *_captures(directory, failures),
        *_drafts(outbox, failures),
        *_interrupted(directory, failures),
        *_damaged(outbox),
        *waiting,
    )


def refused(outbox: Outbox) -> tuple[Delivery, ...]:
    """Return the deliveries that their backends refused."""
    return tuple(
        attrs.evolve(delivery_of(parcel, DeliveryState.REFUSED, parcel.error), file=outbox.refusal(parcel))
        for parcel in outbox.refused()
    )


def _captures(directory: Path, failures: Mapping[Path, str]) -> list[Delivery]:
    return [
        Delivery(
            state=DeliveryState.LEFT,
            experiment=found.head.run.experiment,
            backend=backend,
            name=kept.detection.name or Path(kept.key).name,
            put_id="",
            size_bytes=0,
            queued_at=found.head.run.started_at,
            reason=failures.get(found.path, "another process is on it."),
        )
        for found in leftovers(directory)
        for kept in found.waiting
        for backend in found.head.backends
    ]


def _drafts(outbox: Outbox, failures: Mapping[Path, str]) -> list[Delivery]:
    found = []
    for path in outbox.drafts.files():
        draft = None
        with contextlib.suppress(NewerFormat):  # it is among what cannot be read
            draft = outbox.drafts.load(path)
        if draft is None:
            continue
        is_seen = lives(draft.owner) is not None
        theirs = "another process is on it." if is_seen else _elsewhere(draft.owner.host)
        found += [
            delivery_of(parcel, DeliveryState.LEFT, failures.get(path, theirs))
            for parcel in parcels_of(path, draft, draft.draft.manifest)
        ]
    return found


def _elsewhere(host: str) -> str:
    return f"its process is on {host}: sync there, or say --gone {host} here if it does not run any more."


def _interrupted(directory: Path, failures: Mapping[Path, str]) -> list[Delivery]:
    return [
        delivery_of(parcel, DeliveryState.LEFT, failures.get(path, "another process is on it."))
        for path, put in interrupted_puts(directory)
        for parcel in put.parcels
    ]


def _damaged(outbox: Outbox) -> list[Delivery]:
    return [
        Delivery(
            state=DeliveryState.LEFT,
            experiment=one.experiment,
            backend=one.backend,
            name=one.name,
            put_id="",
            size_bytes=0,
            queued_at=drafted_at(one.path),
            reason=one.advice,
        )
        for one in damaged_in(outbox)
    ]
