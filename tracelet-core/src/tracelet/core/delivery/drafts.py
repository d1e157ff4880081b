"""Drafts on their way: where one is staged, by whom, and how it becomes one delivery a backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import attrs

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.delivery.draft_files import DraftFile
from tracelet.core.delivery.layout import drafted_at, order_of
from tracelet.core.delivery.lease import Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.sealing.finish import finish
from tracelet.core.storage.blob_store import Store
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.processes import ProcessId, current

__all__ = ["parcels_of", "seal_draft", "staged_by", "staging_folder"]


def staging_folder(directory: Path, put_id: str) -> Path:
    """Return the folder where this process makes what belongs to one put; its name says whose it is."""
    owner = current()
    return directory / "staging" / "~".join([put_id, str(owner.pid), owner.started, physical_name(owner.host)])


def staged_by(folder: Path) -> ProcessId | None:
    """Return the process that made a folder of :func:`staging_folder`; None where its name does not say."""
    _, _, owner = folder.name.partition("~")
    pid, started, host = (*owner.split("~"), "", "")[:3]
    is_number = pid.isascii() and pid.isdigit()
    return ProcessId(unquote(host), int(pid), started) if is_number else None


def parcels_of(path: Path, found: DraftFile, manifest: Manifest) -> Iterator[Parcel]:
    """Yield the deliveries that a draft is to become; they are as old as it, so that they keep its place."""
    queued_at = drafted_at(path) if found.queued_at is None else found.queued_at
    for name, sdk in found.targets.items():
        yield Parcel(name, found.run, found.labels, sdk, manifest, queued_at, order=order_of(path))


def seal_draft(
    path: Path, outbox: Outbox, store: Store, limit_mb: float | None, session: str | None = None
) -> Iterator[Parcel]:
    """Hash a draft's snapshots and put one delivery a backend into the outbox; yield each once it is there.

    The draft goes when the last one is there. Nothing happens where it is of another ``session``, which goes on, or
    another process is on it, or was. Doing it again after a crash makes the same deliveries.
    Raises as :func:`tracelet.core.sealing.finish.finish` does.
    """
    found = outbox.drafts.take(path, session)
    if found is None:
        return
    try:
        sealed = finish(found.draft, store=store, limit_mb=limit_mb)
        for parcel in parcels_of(path, found, sealed.manifest):
            own = attrs.evolve(sealed, rendered=found.draft.rendered.get(parcel.backend))
            yield outbox.add(own, parcel)
        path.unlink()
        shutil.rmtree(found.draft.staging, ignore_errors=True)
    finally:
        Lease(path).release()
