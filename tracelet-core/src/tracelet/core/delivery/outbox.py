"""Deliveries not yet made, on disk, so that any later process can make them.

Where they lie is said in :mod:`tracelet.core.delivery.layout`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.delivery.clock import Clock, clock_of
from tracelet.core.delivery.draft_files import Drafts
from tracelet.core.delivery.layout import DRAFTS, outbox_of, place_of, waiting_in
from tracelet.core.delivery.lease import DAY, Lease, write_lease
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.records import astray, check_names, plain_of, read_record, without_secrets
from tracelet.core.delivery.unreadable import Quarantine, Unreadable, describe
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.system.files import atomic_write, atomic_writes, hash_blob, make_folder
from tracelet.core.system.links import check_tree, check_way
from tracelet.core.system.places import Places
from tracelet.core.system.processes import ProcessId
from tracelet.exceptions import IntegrityError, NewerFormat, TraceletError

__all__ = ["Outbox"]

#: Seconds.
_SECOND_LOOK = 0.2


class Outbox:
    """The deliveries of one tracelet directory; several processes may work on it at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.root = outbox_of(directory)
        self.store = LocalStore(directory)
        self.drafts = Drafts(directory, self.clock)
        self._clocks: dict[str, Clock] = {}
        self._quarantine = Quarantine()
        #: The files of deliveries whose bytes this process has hashed itself: only what was touched since is hashed again.
        self._hashed: set[Path] = set()

    def clock(self, experiment: str) -> Clock:
        """Return what gives each submission to an experiment its place in their order."""
        return self._clocks.setdefault(experiment, clock_of(self._directory, experiment))

    def add(self, sealed: SealedArtifact, parcel: Parcel, holders: Sequence[ProcessId] = ()) -> Parcel:
        """Keep a delivery and its bytes. With ``holders`` it is theirs from the first moment on.

        Raises :class:`~tracelet.plugin.FileChanged` where a file is not the one that was hashed any more.
        """
        self.store.keep(sealed)
        target = self._prepared(sealed, parcel)
        if holders:
            write_lease(target.with_suffix(".lease"), holders, parcel.queued_at + DAY)
        self._write(target, self._plain(parcel))
        self._hashed.add(target)
        return parcel

    def add_many(self, deliveries: Sequence[tuple[SealedArtifact, Parcel]]) -> None:
        """Keep many deliveries as :meth:`add` keeps each: those of one call are on the disk together."""
        self.store.keep(*(sealed for sealed, _ in deliveries))
        files = {self._prepared(sealed, parcel): _encoded(self._plain(parcel)) for sealed, parcel in deliveries}
        atomic_writes(files)
        self._hashed.update(files)

    def _prepared(self, sealed: SealedArtifact, parcel: Parcel) -> Path:
        """Return where a delivery is to be, with what a backend has rendered beside it."""
        target = self._file(parcel)
        make_folder(target.parent)
        if sealed.rendered is not None and not target.with_suffix(".rendered").exists():
            partial = target.with_name(f"{target.stem}~{uuid.uuid4().hex}.rendered")
            shutil.copytree(check_tree(sealed.rendered), partial)
            partial.rename(target.with_suffix(".rendered"))
        return target

    def waiting(self, experiment: str, backend: str, name: str | None = None) -> list[str]:
        """Return the keys of the deliveries to one backend, oldest first; of one artifact's name if given."""
        keys = [entry.removesuffix(".json") for entry in waiting_in(self._folder(experiment, backend))]
        return [key for key in keys if name is None or key.split("~", 2)[2] == name]

    def holds(self, parcel: Parcel) -> bool:
        """Tell whether a delivery waits, or was refused."""
        return self._file(parcel).exists() or self.refusal(parcel).exists()

    def everything(self) -> Iterator[Parcel]:
        """Yield every delivery of the directory, of all experiments, oldest first; those that cannot be read are left out."""
        files = [path for path in self.root.glob("*/*/*.json") if path.parent.name != DRAFTS]
        yield from self._readable(files)

    def _readable(self, files: Iterable[Path]) -> Iterator[Parcel]:
        for path in sorted(files, key=lambda path: path.name):
            with contextlib.suppress(IntegrityError, NewerFormat):
                parcel = self.read(path)
                if parcel is not None:
                    yield parcel

    def refused(self) -> Iterator[Parcel]:
        """Yield the deliveries that their backends will never take; ``error`` says why."""
        yield from self._readable(self.root.glob("*/*/*.refused"))

    def refusal(self, parcel: Parcel) -> Path:
        """Return where a refused delivery is kept; deleting the file forgets it."""
        return self._file(parcel).with_suffix(".refused")

    def load(self, experiment: str, backend: str, key: str) -> Parcel | None:
        """Return a delivery, or None where another process has made it meanwhile.

        One that is damaged is put aside, and one of a later release is left as it is, so that those behind it go on.
        """
        return self._quarantine.read(self._folder(experiment, backend) / f"{key}.json", self.read)

    def read(self, path: Path) -> Parcel | None:
        """Return the delivery of a file, or None where the file is gone.

        Raises :class:`IntegrityError` for one that is damaged, and :class:`NewerFormat` for one of a later release.
        """
        try:
            found = read_record(path, Parcel)
        except FileNotFoundError:
            return None
        try:
            found.manifest.check_sealed()
        except ValueError as error:
            raise Unreadable(describe(path)) from error
        try:
            check_names(path, found.run, [found.backend])
            if self._file(found).with_suffix(path.suffix) != path:
                raise astray(path)
        except (ArithmeticError, ValueError) as error:
            raise astray(path) from error
        return found

    def take(self, parcel: Parcel, holders: Sequence[ProcessId], seconds: float) -> bool:
        """Lease a delivery to these processes; say whether it is theirs.

        ``seconds`` is how long other machines, which cannot ask whether the holders live, respect it.
        """
        return Lease(self._file(parcel)).take(holders, seconds)

    def release(self, parcel: Parcel) -> None:
        """Give a delivery back."""
        Lease(self._file(parcel)).release()

    def has_bytes(self, manifest: Manifest) -> bool:
        """Tell whether all bytes that backends hold of an artifact are here."""
        payload = manifest.payload
        return bool(payload) and all(self.store.has(str(file.sha256), file.size_bytes) for file in payload)

    def sealed(self, parcel: Parcel) -> SealedArtifact:
        """Return what is to be stored, its bytes verified.

        Raises :class:`~tracelet.IntegrityError` where they are gone or are not the ones that were queued.
        """
        sources: dict[str, str] = {}
        is_hashed = self._file(parcel) in self._hashed
        for file in parcel.manifest.payload:
            assert file.sha256 is not None
            blob = self.store.path(file.sha256)
            if is_hashed and self.store.has(file.sha256, file.size_bytes):
                sources[file.artifact_path] = str(blob)
                continue
            try:
                if not blob.exists():
                    # gc takes a blob aside for a moment to look again, and puts back what is needed.
                    time.sleep(_SECOND_LOOK)
                found = hash_blob(check_way(self.store.root, blob))
            except OSError as error:
                raise IntegrityError(
                    f"the bytes of {file.artifact_path!r} are gone from {self.store.root}: log them again."
                ) from error
            if found != file.sha256:
                raise IntegrityError(f"the bytes of {file.artifact_path!r} in {blob} are damaged: log them again.")
            sources[file.artifact_path] = str(blob)
        rendered = self._file(parcel).with_suffix(".rendered")
        return SealedArtifact(
            parcel.manifest, Places(sources), rendered=check_tree(rendered) if os.path.lexists(rendered) else None
        )

    def done(self, parcel: Parcel) -> None:
        """Forget a delivery that was made; gc takes its bytes."""
        self._hashed.discard(self._file(parcel))
        self._file(parcel).unlink(missing_ok=True)
        shutil.rmtree(self._file(parcel).with_suffix(".rendered"), ignore_errors=True)
        self.release(parcel)

    def failed(self, parcel: Parcel, error: TraceletError, *, final: bool) -> None:
        """Note why an attempt failed; a final failure is kept apart, and is not tried again."""
        file = self._file(parcel)
        noted = {**self._plain(parcel), "attempts": parcel.attempts + 1, "error": str(error)}
        try:
            if final:
                self._write(file.with_suffix(".refused"), noted)
                file.unlink(missing_ok=True)
            else:
                self._write(file, noted)
        finally:
            self.release(parcel)

    def _folder(self, experiment: str, backend: str) -> Path:
        return place_of(self._directory, experiment, backend)

    def _file(self, parcel: Parcel) -> Path:
        return self._folder(parcel.run.experiment, parcel.backend) / f"{parcel.key}.json"

    def _plain(self, parcel: Parcel) -> dict[str, Any]:
        return plain_of(attrs.evolve(parcel, sdk=without_secrets(parcel.sdk)))

    def _write(self, file: Path, delivery: dict[str, Any]) -> None:
        atomic_write(file, _encoded(delivery))


def _encoded(delivery: dict[str, Any]) -> bytes:
    return json.dumps(delivery).encode()
