"""Drafts on their way: where one is staged, by whom, and how it becomes one delivery a backend."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import attrs

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.delivery.draft_files import DraftFile
from tracelet.core.delivery.layout import drafted_at, order_of
from tracelet.core.delivery.lease import Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.plugins.store import Store
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.sealing.finish import finish
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import TraceletError

__all__ = ["parcels_of", "seal_draft", "seal_some", "staged_by", "staging_folder"]

#: How many drafts are kept at once, how many files of them are in memory, about, and for how many seconds they are hashed
#: before they are kept: who is killed meanwhile begins again.
_SOME, _SOME_FILES, _SOME_SECONDS = 64, 1000, 0.5


def staging_folder(directory: Path, put_id: str) -> Path:
    """Return the folder where this process makes what belongs to one put; its name says whose it is."""
    owner = current()
    name = [put_id, str(owner.pid), owner.started, physical_name(owner.host), *([owner.table] if owner.table else [])]
    return directory / "staging" / "~".join(name)


def staged_by(folder: Path) -> ProcessId | None:
    """Return the process that made a folder of :func:`staging_folder`; None where its name does not say."""
    _, _, owner = folder.name.partition("~")
    pid, started, host, table = (*owner.split("~"), "", "", "")[:4]
    is_number = pid.isascii() and pid.isdigit()
    return ProcessId(unquote(host), int(pid), started, table=table) if is_number else None


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
        for own, parcel in _deliveries(path, found, finish(found.draft, store=store, limit_mb=limit_mb)):
            yield outbox.add(own, parcel)
        _forget(path, found)
    finally:
        Lease(path).release()


def seal_some(
    drafts: deque[Path], outbox: Outbox, store_of: Callable[..., tuple[Store, float | None]]
) -> dict[Path, Exception]:
    """Take some drafts from a queue, and do with them as :func:`seal_draft` does, at once; return what was raised for each.

    ``store_of`` returns the store, and the limit in megabytes, for backends of these names.
    """
    failed: dict[Path, Exception] = {}
    leased: list[Path] = []
    taken: dict[Path, tuple[DraftFile, SealedArtifact]] = {}
    try:
        files, until = 0, time.monotonic() + _SOME_SECONDS
        while (
            len(taken) < _SOME
            and files < _SOME_FILES
            and time.monotonic() < until
            and (path := _next(drafts)) is not None
        ):
            try:
                found = outbox.drafts.take(path)
                if found is not None:
                    leased.append(path)
                    store, limit_mb = store_of(*(found.targets if found.backends is None else found.backends))
                    taken[path] = found, finish(found.draft, store=store, limit_mb=limit_mb)
                    files += len(found.draft.sources)
            except (TraceletError, OSError) as error:
                failed[path] = error
        try:
            outbox.add_many(
                [one for path, (found, sealed) in taken.items() for one in _deliveries(path, found, sealed)]
            )
        except (TraceletError, OSError):
            # Each by itself then: one that cannot be kept hinders no other.
            for path, (found, sealed) in list(taken.items()):
                try:
                    outbox.add_many([*_deliveries(path, found, sealed)])
                except (TraceletError, OSError) as error:
                    failed[path] = error
        for path, (found, _) in taken.items():
            if path not in failed:
                _forget(path, found)
    finally:
        for path in leased:
            Lease(path).release()
    return failed


def _next(drafts: deque[Path]) -> Path | None:
    try:
        return drafts.popleft()
    except IndexError:  # others take from it, too
        return None


def _deliveries(path: Path, found: DraftFile, sealed: SealedArtifact) -> Iterator[tuple[SealedArtifact, Parcel]]:
    for parcel in parcels_of(path, found, sealed.manifest):
        yield attrs.evolve(sealed, rendered=found.draft.rendered.get(parcel.backend)), parcel


def _forget(path: Path, found: DraftFile) -> None:
    path.unlink()
    shutil.rmtree(found.draft.staging, ignore_errors=True)
