"""Copying stored versions from one backend to another, in their order: each whole and verified, or not at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import attrs

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.copied import CopiedVersion, CopyResults
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.management.experiments import what_waits
from tracelet.core.plugins.version_refs import parse_ref
from tracelet.core.plugins.versions import Labels, RunInfo, StoredArtifact
from tracelet.core.reading.finder import Finder, newest_first
from tracelet.core.transfer.ahead import LANES, fetched_ahead
from tracelet.core.transfer.content import Needed, needed, rendered_for, sealed_for
from tracelet.core.transfer.plan import Step, matched
from tracelet.core.transfer.side import Side
from tracelet.core.transfer.target import Target
from tracelet.core.transfer.trying import HeldUp, tried
from tracelet.exceptions import (
    ArtifactNotFound,
    BackendError,
    BackendUnavailable,
    ConfigError,
    IntegrityError,
    TraceletError,
)

__all__ = ["Told", "copy_versions"]

#: It is told of each version that is done, and how many there are.
Told = Callable[[CopiedVersion, int], None]


def copy_versions(
    source: Side,
    target: Side,
    wanted: Sequence[str],
    *,
    trust: bool = False,
    dry_run: bool = False,
    told: Told = lambda done, count: None,
) -> CopyResults:
    """Copy versions of one side's experiment to the other's.

    Args:
        source: Where they are.
        target: Where they are to be, too.
        wanted: Names, or names with a version behind ``@``; all there is where none is given.
        trust: Whether models may be loaded that are stored in a form which runs code.
        dry_run: Only say what would be copied.
        told: It is told of each version that is done.

    Raises :class:`~tracelet.ConfigError` where both sides are one place, and what the backends raise where nothing can be
    looked at.
    """
    if source.place == target.place:
        raise ConfigError(
            f"{source.experiment!r} in {source.backend} is both source and target: give another backend, another "
            "experiment, another directory, or settings for one side."
        )
    finders = [source.finder(source.reader()) for _ in range(LANES)]
    into = Target(target)
    try:
        steps, failed = _steps(finders[0], source, into, wanted)
        copying = _Copying(source, finders, into, trust=trust, runs=_runs(steps, target.experiment))
        done: list[CopiedVersion] = []
        for one in _foreseen(steps, target) if dry_run else copying.copied(steps):
            done.append(one)
            told(one, len(steps))
        return CopyResults(tuple(done), failed, dry_run)
    except BaseException:
        for finder in finders:
            finder.kill()
        into.kill()
        raise
    finally:
        until = time.monotonic() + source.settings.stop_timeout
        for finder in finders:
            finder.close(until)
        into.close()


def _steps(
    finder: Finder, source: Side, into: Target, wanted: Sequence[str]
) -> tuple[list[Step], dict[str, TraceletError]]:
    """Return what is to be done for each version that is wanted, and why not all of the source can be looked at."""
    asked = [_asked(one) for one in wanted]
    failed: dict[str, TraceletError] = {}
    found, errors = finder.ask("list", {source.backend: {"name": None, "type": None}})
    for error in errors.values():
        if not error.answers and isinstance(error, BackendError):
            raise error
        failed[source.backend] = error
        found[source.backend] = error.answers
    every = [stored for _, stored in reversed(newest_first([(source.backend, one) for one in found[source.backend]]))]
    chosen: set[tuple[str, int]] = set()
    for name, version in asked:
        numbers = [one.number for one in every if one.manifest.name == name]
        if version is not None or not numbers:
            numbers = [finder.get(name, version or "latest", None).number]
        chosen.update((name, number) for number in numbers)
    steps = matched(every, into.versions())
    waiting = what_waits(source.directory, source.experiment)
    if waiting is not None and (source.backend in waiting.backends or not waiting.backends):
        failed.setdefault("outbox", BackendUnavailable(f"what waits is not copied: {waiting}."))
    return [one for one in steps if not asked or (one.stored.manifest.name, one.stored.number) in chosen], failed


def _asked(wanted: str) -> tuple[str, str | None]:
    name, _, version = wanted.partition("@")
    check_name(name)
    if version:
        parse_ref(version)
    return name, version or None


def _runs(steps: Collection[Step], experiment: str) -> dict[str | None, RunInfo]:
    """Return the runs that made the versions, as far as the versions tell of them."""
    began: dict[str | None, float] = {}
    for step in steps:
        manifest = step.stored.manifest
        began[manifest.run_id] = min(manifest.created_at, began.get(manifest.run_id, manifest.created_at))
    return {run_id: RunInfo(run_id or "copied", experiment, moment) for run_id, moment in began.items()}


def _foreseen(steps: Sequence[Step], target: Side) -> Iterator[CopiedVersion]:
    for step in steps:
        if step.there is not None:
            yield _row(step, "skipped", target=step.there)
        else:
            yield attrs.evolve(_row(step, "copied"), moved_bytes=needed(step.stored.manifest, target).size_bytes)


@attrs.frozen
class _Fetched:
    """What was brought of a version."""

    artifact: LoggedArtifact
    needed: Needed
    folder: Path
    #: The target's own form of its models, where the source has it.
    rendered: Path | None


class _Copying:
    """Brings versions to a target, one after the other, while the next ones are fetched."""

    def __init__(
        self,
        source: Side,
        finders: Sequence[Finder],
        into: Target,
        *,
        trust: bool,
        runs: dict[str | None, RunInfo],
    ) -> None:
        self._source = source
        self._finders = finders
        self._into = into
        self._trust = trust
        self._runs = runs
        self._held_up = HeldUp()

    def copied(self, steps: Sequence[Step]) -> Iterator[CopiedVersion]:
        """Copy what is not there yet; yield what became of each version."""
        for step, fetched in fetched_ahead(steps, _size_of, self._fetched, self._stop_fetching):
            yield self._settled(step, fetched)

    def _stop_fetching(self) -> None:
        self._held_up.end()
        for finder in self._finders:
            finder.kill()

    def _fetched(self, lane: int, step: Step) -> _Fetched | None:
        """Bring the files that the target needs into a folder of this version's own; None for what is there already."""
        manifest = step.stored.manifest
        if step.there is not None:
            return None
        if (held_up := self._held_up.reason(manifest.name)) is not None:
            raise held_up
        artifact = self._finders[lane].logged(self._source.backend, step.stored)
        wanted = needed(manifest, self._into.side)
        folder = self._into.scratch(manifest.put_id)
        try:
            paths = [file.artifact_path for file in wanted.files]
            tried(
                lambda: artifact.download(folder / "files", paths),
                self._source.settings.deadline,
                self._held_up.is_over,
            )
            rendered = self._rendered(lane, step.stored, folder / "given")
        except BaseException:
            self._into.clear(folder)
            raise
        return _Fetched(artifact, wanted, folder, rendered)

    def _rendered(self, lane: int, stored: StoredArtifact, folder: Path) -> Path | None:
        """Bring the target's own form of a version's models, where the source is a server of the same tracker."""
        spec = self._into.side.spec
        if not stored.manifest.models or spec.render is None or spec.name != self._source.backend:
            return None
        folder.mkdir()
        finder, size_bytes = self._finders[lane], stored.manifest.size_bytes
        with contextlib.suppress(ArtifactNotFound, IntegrityError):  # the model can be loaded instead
            if finder.request(spec.name, "fetch_rendered", size_bytes=size_bytes, stored=stored, dest=folder):
                return folder
        return None

    def _settled(self, step: Step, fetching: Future[_Fetched | None]) -> CopiedVersion:
        """Do what there is to do for a version."""
        name = step.stored.manifest.name
        try:
            fetched = fetching.result()
            if fetched is None:
                return self._named(step)
            held_up = self._held_up.reason(name)
            if held_up is not None:
                self._into.clear(fetched.folder)
                return _row(step, "failed", error=held_up)
            row = self._put(step, fetched)
        except TraceletError as error:
            self._held_up.note(name, error)
            return _row(step, "failed", error=error)
        self._held_up.note_success()
        return row

    def _put(self, step: Step, fetched: _Fetched) -> CopiedVersion:
        manifest = step.stored.manifest
        files = fetched.folder / "files"
        try:
            sealed = sealed_for(self._into.side, manifest, fetched.needed, files)
            rendered, why = fetched.rendered, ""
            if rendered is None and self._into.side.spec.render is not None:
                scratch = fetched.folder / "rendered"
                rendered, why = rendered_for(self._into.side, fetched.artifact, files, scratch, self._trust)
            aliases, lost = self._into.fitting(manifest.name, step.stored.aliases)
            labels = Labels(step.stored.label, aliases)
            made = self._into.put(attrs.evolve(sealed, rendered=rendered), labels, self._runs[manifest.run_id])
        finally:
            self._into.clear(fetched.folder)
        late = "it is behind later versions, for it was not there when they were copied" if step.is_late else ""
        row = _row(step, "copied", target=made, why="; ".join(filter(None, (why, late, *lost))))
        return attrs.evolve(row, moved_bytes=fetched.needed.size_bytes)

    def _named(self, step: Step) -> CopiedVersion:
        """Give what is there the names that it has in the source."""
        assert step.there is not None
        there, wanted = step.there, step.stored.label
        label = wanted if there.label is None else None
        aliases, why = self._into.fitting(there.manifest.name, step.stored.aliases)
        missing = tuple(alias for alias in aliases if alias not in there.aliases)
        if label or missing:
            there = self._into.name(there, Labels(label, missing))
        if wanted not in {None, there.label}:
            why.append(f"its label there is {there.label}")
        return _row(step, "skipped", target=there, why="; ".join(why))


def _size_of(step: Step) -> int:
    return 0 if step.there is not None else step.stored.manifest.size_bytes


def _row(
    step: Step,
    outcome: str,
    *,
    target: StoredArtifact | None = None,
    why: str = "",
    error: TraceletError | None = None,
) -> CopiedVersion:
    stored = step.stored
    return CopiedVersion(
        stored.manifest.name,
        stored.version,
        outcome,
        None if target is None else target.version,
        stored.manifest.digest,
        stored.manifest.size_bytes,
        why=why if error is None else str(error),
        error=error,
    )
