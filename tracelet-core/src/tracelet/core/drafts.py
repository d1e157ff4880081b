"""Drafts on their way: where one is staged, by whom, and how it becomes one delivery a backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import attrs

from tracelet.core.outbox import Outbox, Parcel
from tracelet.core.paths import physical_name
from tracelet.core.processes import ProcessId, current
from tracelet.core.sealing import finish
from tracelet.core.store import Store

__all__ = ["drafted_at", "seal_draft", "staged_by", "staging_folder"]


def staging_folder(directory: Path, put_id: str) -> Path:
    """Return the folder where this process makes what belongs to one put; its name says whose it is."""
    owner = current()
    return directory / "staging" / "~".join([put_id, str(owner.pid), owner.started, physical_name(owner.host)])


def staged_by(folder: Path) -> ProcessId | None:
    """Return the process that made a folder of :func:`staging_folder`; None where its name does not say."""
    _, _, owner = folder.name.partition("~")
    pid, started, host = (*owner.split("~"), "", "")[:3]
    return ProcessId(unquote(host), int(pid), started) if pid.isdigit() else None


def drafted_at(path: Path) -> float:
    """Return when a draft was made, in seconds since the epoch: its file's name says it."""
    return int(path.name.partition("~")[0]) / 1e9


def seal_draft(path: Path, outbox: Outbox, store: Store, limit_mb: float | None) -> Iterator[Parcel]:
    """Hash a draft's snapshots and put one delivery a backend into the outbox; yield each once it is there.

    The draft goes when the last one is there. Nothing happens where another process is on it, or was.
    The deliveries are as old as the draft, so that they keep their place, and doing it again after a crash makes
    the same ones. Raises as :func:`tracelet.core.sealing.finish` does.
    """
    found = outbox.take_draft(path)
    if found is None:
        return
    try:
        sealed = finish(found.draft, store=store, limit_mb=limit_mb)
        for name, sdk in found.targets.items():
            own = attrs.evolve(sealed, rendered=found.draft.rendered.get(name))
            yield outbox.add(own, Parcel(name, found.run, found.labels, sdk, sealed.manifest, drafted_at(path)))
        path.unlink()
        shutil.rmtree(found.draft.staging, ignore_errors=True)
    finally:
        outbox.release_draft(path)
