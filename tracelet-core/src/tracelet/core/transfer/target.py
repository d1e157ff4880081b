"""The side that a transfer writes to: what it holds, and how a version gets there once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracelet.core.delivery.drafts import staged_by, staging_folder
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact, StoredArtifact
from tracelet.core.system.files import make_folder
from tracelet.core.system.filesystems import check_filesystem
from tracelet.core.system.links import entries
from tracelet.core.system.messages import advice_of, sentence
from tracelet.core.system.processes import lives, owned_by
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
        #: The labels it has, by name.
        self._labels: dict[str, set[str]] = {}
        #: The folders of what is on its way, and what is whoever's it is.
        self._folders: dict[Path, object] = {}
        #: Which run was noted to use which digest.
        self._noted: set[tuple[str, str]] = set()

    def versions(self) -> list[StoredArtifact]:
        """Return the versions that the target holds. One whose manifest is damaged is not among them."""
        found: Iterable[StoredArtifact]
        try:
            found = self._reader.request("list", name=None, type=None)
        except (IntegrityError, UnsafePath, NewerFormat) as error:
            found = error.answers
        for one in found:
            self._note(one)
        return list(found)

    def _note(self, stored: StoredArtifact) -> None:
        self._by_digest[stored.manifest.digest] = stored
        if stored.label is not None:
            self._labels.setdefault(stored.manifest.name, set()).add(stored.label)

    def fitting(self, name: str, aliases: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
        """Return the aliases that a version can get here, and say why it gets none of the others: a label never moves."""
        labels = self._labels.get(name, set())
        taken = [alias for alias in aliases if alias in labels]
        return tuple(alias for alias in aliases if alias not in labels), [
            f"it is not {alias!r} there, for that is a label of {name!r} there" for alias in taken
        ]

    def scratch(self, put_id: str) -> Path:
        """Make the folder for what is brought of one put, for one caller alone; :meth:`clear` is for its end.

        Raises :class:`~tracelet.BackendUnavailable` where a living process is at the same one. What a dead process has
        left at work for it is ended: else it could store the version once more, later.
        """
        directory = self.side.directory
        folder, mine = staging_folder(directory, put_id), object()
        while self._folders.setdefault(folder, mine) is not mine:  # another one says that it is of the same put
            folder = folder.with_name(f"{folder.name}~")
        try:
            make_folder(directory, shared=False)
            check_filesystem(directory)
            made = make_folder(folder)
        except OSError as error:
            raise ArtifactError(
                f"{str(folder)!r} cannot be made: {sentence(error)} {advice_of(error) or 'Files go there on their way'}."
            ) from error
        if not made:
            del self._folders[folder]
            raise BackendUnavailable("this process is storing it in this moment: copy again when it is done.")
        try:
            self._check_others(folder.parent, put_id)
        except BaseException:
            self.clear(folder)
            raise
        return folder

    def clear(self, folder: Path) -> None:
        """Delete the folder of what is brought of one put."""
        shutil.rmtree(folder, ignore_errors=True)
        self._folders.pop(folder, None)

    def _check_others(self, staging: Path, put_id: str) -> None:
        for other in entries(staging):
            if other in self._folders or not other.name.startswith(f"{put_id}~"):
                continue
            owner = staged_by(other)
            if owner is None or (known := lives(owner)) is None:
                continue
            if known:
                raise BackendUnavailable(
                    f"process {owner.pid} is storing it in this moment: copy again when it is done."
                )
            for pid in owned_by(owner):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def put(self, sealed: SealedArtifact, labels: Labels, run: RunInfo) -> StoredArtifact:
        """Store a version once; where the tracker shows what a run used, that is noted first."""
        if Capability.INPUTS in self.side.spec.capabilities:
            for digest in sealed.manifest.inputs:
                self._note_input(digest, run)
        size_bytes = sealed.manifest.held_bytes
        made: StoredArtifact = self._asked("store_copy", size_bytes, sealed=sealed, labels=labels, run=run)
        self._note(made)
        return made

    def _note_input(self, digest: str, run: RunInfo) -> None:
        used = self._by_digest.get(digest)
        if used is not None and (run.id, digest) not in self._noted:
            self._asked("record_input", stored=used, run=run)
            self._noted.add((run.id, digest))

    def name(self, stored: StoredArtifact, labels: Labels) -> StoredArtifact:
        """Give a version that is there a label, and move aliases to it."""
        named: StoredArtifact = self._asked("relabel", stored=stored, labels=labels)
        self._note(named)
        return named

    def _asked(self, what: str, size_bytes: int = 0, **arguments: Any) -> Any:
        """Make a request, which may be made again: each of them leaves the same, however often it is made."""
        return tried(lambda: self._reader.request(what, size_bytes, **arguments), self.side.settings.deadline)

    def kill(self) -> None:
        """End what is being done, from any thread."""
        self._reader.lane.kill()

    def close(self) -> None:
        """End the runs and the lane. What was brought and is not stored goes."""
        for folder in [*self._folders]:
            self.clear(folder)
        self._reader.close(time.monotonic() + self.side.settings.stop_timeout)
