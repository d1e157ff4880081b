"""Drafts on disk, and which session finishes which of them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.delivery.clock import Clock
from tracelet.core.delivery.layout import DRAFTS, outbox_of, place_of, waiting_in
from tracelet.core.delivery.lease import DAY, Lease, write_lease
from tracelet.core.delivery.records import astray, check_names, encoded, read_record, without_secrets
from tracelet.core.delivery.unreadable import Quarantine, Unreadable, describe
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.sealing.draft import Draft
from tracelet.core.system.files import atomic_write, make_folder
from tracelet.core.system.links import check_tree, check_way
from tracelet.core.system.places import Places
from tracelet.core.system.processes import ProcessId, current, is_dead
from tracelet.exceptions import IntegrityError, NewerFormat

__all__ = ["DraftFile", "Drafts"]

_SESSION = re.compile(r"[A-Za-z0-9_.~-]{0,255}")


@attrs.frozen
class DraftFile:
    """A draft and what is to become of it. Its owner alone works on it, in a session, until that ends."""

    draft: Draft
    owner: ProcessId
    labels: Labels
    run: RunInfo
    targets: dict[str, dict[str, Any]]
    #: None where an earlier release wrote it: then it is its owner's as long as that lives.
    session: str | None = None
    #: Seconds since the epoch; None where an earlier release wrote it, and its file's name tells the time.
    queued_at: float | None = None
    #: The backends of its experiment, which say together where large files go. None where an earlier release wrote it: then it
    #: is as if those of ``targets`` were all.
    backends: list[str] | None = None


class Drafts:
    """The drafts of one tracelet directory; several processes may work on them at once."""

    def __init__(self, directory: Path, clock: Callable[[str], Clock]) -> None:
        """``clock`` gives the clock of an experiment: a draft's place in the order is of the same row as a delivery's."""
        self._directory = directory
        self._clock = clock
        self._sessions: set[str] = set()
        self._quarantine = Quarantine()

    def begin_session(self, session: str) -> None:
        """Say that this process finishes the session's drafts itself, until :meth:`end_session`, or its own end."""
        self._sessions.add(session)

    def end_session(self, experiment: str, session: str) -> None:
        """Leave the session's drafts, however many there are, to the process that comes next."""
        self._sessions.discard(session)
        with contextlib.suppress(OSError):  # or they are left at the end of this process
            (self._folder(experiment) / f"{session}.lease").unlink()

    def add(
        self,
        draft: Draft,
        labels: Labels,
        run: RunInfo,
        targets: dict[str, dict[str, Any]],
        session: str | None = None,
        *,
        backends: list[str] | None = None,
    ) -> Path:
        """Keep snapshots that are not hashed yet, for these backends; return the draft's file.

        ``backends`` are all of its experiment. In a session this process finishes it. Without one, the process that comes first does.
        """
        order = self._clock(run.experiment).tick()
        target = self._folder(run.experiment) / f"{order:020d}~{draft.manifest.put_id}~{draft.manifest.name}.json"
        content = DraftFile(
            draft, current(), labels, run, without_secrets(targets), session or "", time.time(), backends
        )
        lease = target.with_name(f"{session}.lease")
        if session in self._sessions and not lease.exists():
            make_folder(target.parent)
            write_lease(lease, [current()], time.time() + DAY)
        # Its process may be killed at once; a power cut before it is sealed, some moments later, is not provided for.
        atomic_write(target, encoded(content), durable=False)
        return target

    def files(self, experiment: str | None = None) -> list[Path]:
        """Return the files of all drafts of one experiment, or of all, oldest first; also of those in work."""
        if experiment is not None:
            folder = self._folder(experiment)
            return [folder / name for name in waiting_in(folder)]
        return sorted(outbox_of(self._directory).glob(f"*/{DRAFTS}/*.json"), key=lambda path: path.name)

    def take(self, path: Path, session: str | None = None) -> DraftFile | None:
        """Lease a draft to this process and return it, or None where it is another session's, or finished.

        One that cannot be read is put aside, so that those behind it go on.
        """
        found = self._quarantine.read(path, self.load_checked)
        free = found is not None and ((session is not None and found.session == session) or self._is_free(found, path))
        return found if free and Lease(path).take() else None

    def _is_free(self, found: DraftFile, path: Path) -> bool:
        lease = path.with_name(f"{found.session}.lease")
        if found.session is not None and not lease.exists():
            return True
        if not is_dead(found.owner):
            return False
        lease.unlink(missing_ok=True)
        return True

    def readable(self) -> Iterator[DraftFile]:
        """Yield the drafts that can be read, oldest first."""
        for path in self.files():
            with contextlib.suppress(IntegrityError, NewerFormat):
                found = self.load(path)
                if found is not None:
                    yield found

    def load(self, path: Path) -> DraftFile | None:
        """Return a draft, or None where another process has finished it meanwhile.

        Its files are those of its folder in this directory's staging, wherever the directory was when they were made.
        Raises :class:`IntegrityError` for one that is damaged, and :class:`NewerFormat` for one of a later release.
        """
        try:
            found = read_record(path, DraftFile)
        except FileNotFoundError:
            return None
        draft, manifest = found.draft, found.draft.manifest
        named = self._folder(found.run.experiment) / f"{path.name.partition('~')[0]}~{manifest.put_id}~{manifest.name}"
        staging = self._directory / "staging" / draft.staging.name
        try:
            check_names(path, found.run, found.targets)
            if (
                named.with_name(f"{named.name}{path.suffix}") != path
                or not _SESSION.fullmatch(found.session or "")
                or not staging.name.startswith(f"{manifest.put_id}~")
                or not draft.sources.keys() >= _paths(manifest)
            ):
                raise astray(path)
            moved = attrs.evolve(
                draft,
                sources=Places({path: str(staging / _inside(draft, source)) for path, source in draft.sources.items()}),
                rendered={backend: staging / _inside(draft, folder) for backend, folder in draft.rendered.items()},
                staging=staging,
            )
        except ValueError as error:
            raise astray(path) from error
        return attrs.evolve(found, draft=moved)

    def load_checked(self, path: Path) -> DraftFile | None:
        """Return a draft as :meth:`load` does; raises also where a file of it is a link, or lies behind one."""
        found = self.load(path)
        if found is None:
            return None
        try:
            for source in found.draft.sources.values():
                check_way(self._directory, source)
            for folder in found.draft.rendered.values():
                check_tree(check_way(self._directory, folder))
        except IntegrityError as error:
            raise Unreadable(describe(path, "is to deliver what is a link, or lies behind one")) from error
        return found

    def _folder(self, experiment: str) -> Path:
        return place_of(self._directory, experiment, DRAFTS)


def _paths(manifest: Manifest) -> set[str | None]:
    """Return the paths of everything that has a source before it is sealed."""
    of_models = {file.artifact_path for model in manifest.models for file in model.files}
    return of_models | {one.artifact_path for one in manifest.files} | {one.artifact_path for one in manifest.objects}


def _inside(draft: Draft, path: Path) -> Path:
    """Return the place of a draft's file in its staging folder; raises ``ValueError`` where it is not in it."""
    inside = path.relative_to(draft.staging)
    if not inside.parts or ".." in inside.parts:
        raise ValueError(path)
    return inside
