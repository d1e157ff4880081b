"""The side that a transfer writes to: what it holds, and how a version gets there once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from tracelet.core.delivery.drafts import staged_by, staging_folder
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
from tracelet.core.system.files import make_folder
from tracelet.core.system.links import entries
from tracelet.core.system.messages import advice_of, sentence
from tracelet.core.system.processes import alive, current, owned_by
from tracelet.core.transfer.side import Side
from tracelet.core.transfer.trying import tried
from tracelet.exceptions import (
    ArtifactError,
    BackendUnavailable,
    IntegrityError,
    NewerFormat,
    UnsafePath,
)

__all__ = ["Target"]


class Target:
    """A backend that versions are brought to, through one lane."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._reader = side.reader()
        #: What it holds, by digest.
        self._by_digest: dict[str, StoredArtifact] = {}
        #: Which run was noted to use which digest.
        self._noted: set[tuple[str, str]] = set()

    def versions(self) -> list[StoredArtifact]:
        """Return the versions that the target holds. One whose manifest is damaged is not among them."""
        found: Iterable[StoredArtifact]
        try:
            found = self._reader.request("list", name=None, type=None)
        except (IntegrityError, UnsafePath, NewerFormat) as error:
            found = error.answers
        self._by_digest.update({one.manifest.digest: one for one in found})
        return list(found)

    def scratch(self, put_id: str) -> Path:
        """Make the folder for what is brought of one put, of this process alone.

        Raises :class:`~tracelet.BackendUnavailable` where another living process is at the same one. What a dead process has
        left at work for it is ended: else it could store the version once more, later.
        """
        directory = self.side.directory
        folder = staging_folder(directory, put_id)
        try:
            make_folder(directory, shared=False)
            make_folder(folder)
        except OSError as error:
            raise ArtifactError(
                f"{str(folder)!r} cannot be made: {sentence(error)} {advice_of(error) or 'Files go there on their way'}."
            ) from error
        for other in entries(folder.parent):
            if other == folder or not other.name.startswith(f"{put_id}~"):
                continue
            owner = staged_by(other)
            if owner is None or owner.host != current().host:
                continue
            if alive(owner):
                raise BackendUnavailable(
                    f"process {owner.pid} is storing it in this moment: copy again when it is done."
                )
            for pid in owned_by(owner):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return folder

    def put(self, sealed: SealedArtifact, labels: Labels, run: RunInfo) -> StoredArtifact:
        """Store a version once; where the tracker shows what a run used, that is noted first."""
        if Capability.INPUTS in self.side.spec.capabilities:
            for digest in sealed.manifest.inputs:
                self._note_input(digest, run)
        size_bytes = sealed.manifest.held_bytes

        def store() -> StoredArtifact:
            made: StoredArtifact = self._reader.request("store_copy", size_bytes, sealed=sealed, labels=labels, run=run)
            return made

        made = tried(store, self.side.settings.deadline)
        self._by_digest[made.manifest.digest] = made
        return made

    def _note_input(self, digest: str, run: RunInfo) -> None:
        used = self._by_digest.get(digest)
        if used is not None and (run.id, digest) not in self._noted:
            self._reader.request("record_input", stored=used, run=run)
            self._noted.add((run.id, digest))

    def name(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """Give a version that is there a label, and move aliases to it."""
        named: StoredArtifact = self._reader.request("relabel", stored=stored, labels=labels)
        return named

    def kill(self) -> None:
        """End what is being done, from any thread."""
        self._reader.lane.kill()

    def close(self) -> None:
        """End the runs and the lane."""
        self._reader.close(time.monotonic() + self.side.settings.stop_timeout)
