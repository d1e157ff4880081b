"""Completing a put that a kill left in some backends and not in the others."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path
from types import TracebackType

from tracelet.core.delivery.drafts import staging_folder
from tracelet.core.delivery.lease import Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import Put
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import Registry
from tracelet.core.plugins.versions import SealedArtifact, StoredArtifact
from tracelet.core.system.files import hash_blob
from tracelet.core.system.processes import owned_by
from tracelet.exceptions import BackendUnavailable, IntegrityError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["Completion"]

#: Seconds between two looks at a dead process's lanes.
_POLL = 0.05
_LOG = logging.getLogger("tracelet.delivery")


class Completion:
    """Asks each backend of an interrupted put whether it has it, and queues it for those that lack it."""

    def __init__(self, directory: Path, settings: TraceletSettings, plugins: Registry, outbox: Outbox) -> None:
        self._directory = directory
        self._settings = settings
        self._plugins = plugins
        self._outbox = outbox
        #: By backend: the lane in use, and what it is for. One lane a backend is open at a time.
        self._lanes: dict[str, tuple[str, Lane]] = {}

    def __enter__(self) -> Completion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for backend in list(self._lanes):
            self._end(backend)

    def _end(self, backend: str) -> None:
        _, lane = self._lanes.pop(backend)
        lane.close(self._settings.stop_timeout, failed=False)

    def complete(self, path: Path, put: Put) -> None:
        """Queue the put for the backends that lack it. Where nobody has it, forget it: its call had not returned.

        Raises where a backend cannot say what it has, or the bytes do not come back as they were.
        """
        if not Lease(path).take():
            return
        try:
            self._outlive(put)
            queued = [parcel for parcel in put.parcels if self._outbox.holds(parcel)]
            others = [parcel for parcel in put.parcels if parcel not in queued]
            found = [(parcel, stored) for parcel in others if (stored := self._stored(parcel)) is not None]
            # What this machine alone has, and the outbox has not, would reach no server.
            having = [(parcel, stored) for parcel, stored in found if not stored.pending]
            holders = [parcel for parcel, _ in having]
            lacking = [parcel for parcel in others if parcel not in holders]
            if having:
                lacking = [parcel for parcel in lacking if not self._has_newer(parcel, *having[0])]
            if not queued and not found and not self._outbox.has_bytes(put.parcel.manifest):
                _LOG.info("%r was interrupted before any backend had it, and is forgotten.", put.parcel.manifest.name)
            elif lacking:
                self._queue(lacking, queued, found)
            path.unlink(missing_ok=True)
        finally:
            Lease(path).release()

    def _outlive(self, put: Put) -> None:
        """Wait while a lane of the dead process is still at its last delivery, which must not be made twice."""
        until = time.monotonic() + deadline_for(put.parcel.manifest.size_bytes, self._settings)
        while owned_by(put.owner):
            if time.monotonic() > until:
                raise BackendUnavailable(
                    "its process is dead, and one of its lanes is still at work: sync again later."
                )
            time.sleep(_POLL)

    def _stored(self, parcel: Parcel) -> StoredArtifact | None:
        """Return the version with the id of the put, or the newest one if it has its content."""
        manifest, limit = parcel.manifest, self._settings.deadline
        lane = self._lane(parcel)
        stored: StoredArtifact | None = lane.request("find", limit, name=manifest.name, ref=f"put:{manifest.put_id}")
        if stored is not None:
            return stored
        latest: StoredArtifact | None = lane.request("find", limit, name=manifest.name, ref="latest")
        return latest if latest is not None and latest.manifest.digest == manifest.digest else None

    def _has_newer(self, lacking: Parcel, holder: Parcel, stored: StoredArtifact) -> bool:
        """Tell whether the backend that lacks the put has got a later version: the put would come after that, as the latest."""
        name, limit = stored.manifest.name, self._settings.deadline
        latest: StoredArtifact | None = self._lane(holder).request("find", limit, name=name, ref="latest")
        if latest is None or latest.number <= stored.number:
            return False
        later = self._lane(lacking).request("find", limit, name=name, ref=f"put:{latest.manifest.put_id}") is not None
        if later:
            _LOG.warning(
                "%s has got newer versions of %r meanwhile: %s of %s, whose call was interrupted, stays out of it.",
                *(lacking.backend, name, stored.version, holder.backend),
            )
        return later

    def _queue(self, lacking: list[Parcel], queued: list[Parcel], having: list[tuple[Parcel, StoredArtifact]]) -> None:
        put_id = lacking[0].manifest.put_id
        folder = staging_folder(self._directory, put_id)
        try:
            if queued:
                sealed = self._outbox.sealed(queued[0])
            elif having:
                sealed = self._fetched(*having[0], folder)
            else:
                sealed = SealedArtifact(lacking[0].manifest, self._outbox.store.places(lacking[0].manifest.payload))
            for parcel in lacking:
                made = list((self._directory / "staging").glob(f"{put_id}~*/rendered/{parcel.backend}"))
                self._outbox.add(
                    SealedArtifact(parcel.manifest, sealed.sources, rendered=next(iter(made), None)), parcel
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fetched(self, parcel: Parcel, stored: StoredArtifact, folder: Path) -> SealedArtifact:
        """Fetch the bytes from a backend that has them, and verify them."""
        files = parcel.manifest.payload
        folder.mkdir(parents=True, exist_ok=True)
        if files:
            limit = deadline_for(parcel.manifest.size_bytes, self._settings)
            paths = tuple(file.artifact_path for file in files)
            self._lane(parcel).request("fetch", limit, stored=stored, paths=paths, dest=folder)
        for file in files:
            if hash_blob(folder / file.artifact_path) != file.sha256:
                raise IntegrityError(
                    f"{parcel.backend} gives other bytes for {file.artifact_path!r} of {parcel.manifest.name!r} than it got."
                )
        return SealedArtifact(parcel.manifest, {file.artifact_path: folder / file.artifact_path for file in files})

    def _lane(self, parcel: Parcel) -> Lane:
        purpose = json.dumps([parcel.run.experiment, parcel.sdk], sort_keys=True)
        if parcel.backend in self._lanes and self._lanes[parcel.backend][0] != purpose:
            self._end(parcel.backend)
        if parcel.backend not in self._lanes:
            spec = self._plugins.backends.get(parcel.backend)
            own = load_plugin(spec.settings, parcel.backend)
            context = BackendContext(self._directory, parcel.sdk)
            self._lanes[parcel.backend] = purpose, open_lane(spec, parcel.run.experiment, own, context)
        _, lane = self._lanes[parcel.backend]
        lane.open(self._settings.open_timeout)
        return lane
