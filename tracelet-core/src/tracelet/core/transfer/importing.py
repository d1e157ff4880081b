"""Importing what was logged without Tracelet: fetched, hashed, and stored as versions of its own, each once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.artifacts.copied import CopiedVersion, CopyResults
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.plain_values import plain_metadata
from tracelet.core.plugins.backend import Discovers
from tracelet.core.plugins.foreign import ForeignArtifact, ForeignFile
from tracelet.core.plugins.versions import Labels, RunInfo, StoredArtifact
from tracelet.core.storage.paths import target_path
from tracelet.core.system.files import hash_file
from tracelet.core.transfer.ahead import fetched_ahead
from tracelet.core.transfer.content import needed, sealed_for
from tracelet.core.transfer.copying import Told
from tracelet.core.transfer.foreign_names import FROM, aliases_of, by_address, names_for, put_id_of
from tracelet.core.transfer.side import Side
from tracelet.core.transfer.target import Target
from tracelet.core.transfer.trying import HeldUp, tried
from tracelet.exceptions import ArtifactNotFound, IntegrityError, TraceletError

__all__ = ["import_versions", "in_order"]

#: Where the metadata has the name that its tracker gave it, and what that said of the run.
_NAME, _RUN = "imported_name", "run"


def in_order(found: Iterable[ForeignArtifact]) -> list[ForeignArtifact]:
    """Return versions by age; those of one name in the order that their tracker gives, whatever the clocks said."""
    reached: dict[tuple[str, ArtifactType], float] = {}
    aged = []
    for number, one in enumerate(found):
        pair = one.name, one.type
        reached[pair] = max(one.created_at, reached.get(pair, 0.0))
        aged.append((reached[pair], number, one))
    return [one for _, _, one in sorted(aged, key=lambda each: each[:2])]


def import_versions(
    found: Sequence[ForeignArtifact],
    source: Discovers,
    stop: Callable[[], None],
    target: Side,
    *,
    dry_run: bool = False,
    told: Told = lambda done, count: None,
) -> CopyResults:
    """Store what was logged without Tracelet as versions of a target's experiment. What was imported before is skipped.

    Args:
        found: What is to be imported.
        source: What gives the files. Two threads use it at once.
        stop: Ends what the source gives in this moment.
        target: Where it goes.
        dry_run: Only say what would be imported.
        told: It is told of each version that is done.
    """
    into = Target(target)
    try:
        importing = _Importing(in_order(found), source, stop, into)
        done: list[CopiedVersion] = []
        for one in importing.foreseen() if dry_run else importing.imported():
            done.append(one)
            told(one, len(found))
        return CopyResults(tuple(done), dry_run=dry_run)
    except BaseException:
        into.kill()
        raise
    finally:
        into.close()


@attrs.frozen
class _Fetched:
    folder: Path
    files: tuple[ArtifactFile, ...]


class _Importing:
    """Brings what was found to a target, one after the other, while the next ones are fetched."""

    def __init__(
        self, found: Sequence[ForeignArtifact], source: Discovers, stop: Callable[[], None], into: Target
    ) -> None:
        self._found = found
        self._source = source
        self._stop = stop
        self._into = into
        held = into.versions()
        #: What the target has, by the id of the put that brought it.
        self._there = {one.manifest.put_id: one for one in held}
        self._by_address = by_address(held)
        self._names = names_for(found, held)
        self._held_up = HeldUp()
        began: dict[str, float] = {}
        for one in found:
            began[_run_of(one)] = min(one.created_at, began.get(_run_of(one), one.created_at))
        self._runs = {run: RunInfo(run, into.side.experiment, moment) for run, moment in began.items()}

    def foreseen(self) -> Iterator[CopiedVersion]:
        """Yield what would become of each version."""
        for one in self._found:
            there = self._there.get(put_id_of(one))
            outcome = "skipped" if there is not None or _is_empty(one) else "copied"
            yield self._row(one, outcome, target=there, moved_bytes=one.size_bytes if outcome == "copied" else 0)

    def imported(self) -> Iterator[CopiedVersion]:
        """Import what is not there yet; yield what became of each version."""
        for one, fetching in fetched_ahead(self._found, self._bytes_of, self._fetched, self._stop_fetching):
            yield self._settled(one, fetching)

    def _stop_fetching(self) -> None:
        self._held_up.end()
        self._stop()

    def _bytes_of(self, one: ForeignArtifact) -> int:
        return 0 if put_id_of(one) in self._there else one.size_bytes

    def _name_of(self, one: ForeignArtifact) -> str:
        return self._names[one.name, one.type]

    def _fetched(self, lane: int, one: ForeignArtifact) -> _Fetched | None:
        """Bring the files of a version into a folder of its own, and hash them; None where there is nothing to bring."""
        put_id = put_id_of(one)
        if put_id in self._there or _is_empty(one):
            return None
        if (held_up := self._held_up.reason(self._name_of(one))) is not None:
            raise held_up
        folder = self._into.scratch(put_id)
        try:
            deadline = self._into.side.settings.deadline
            files = tried(lambda: self._files(one, folder / "files"), deadline, self._held_up.is_over)
            return _Fetched(folder, files)
        except BaseException:
            self._into.clear(folder)
            raise

    def _files(self, one: ForeignArtifact, folder: Path) -> tuple[ArtifactFile, ...]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._source.fetch_foreign(one, folder)
        return tuple(_hashed(folder, file, one) for file in (one.files if one.files_known else _written(folder)))

    def _settled(self, one: ForeignArtifact, fetching: Future[_Fetched | None]) -> CopiedVersion:
        """Do what there is to do for a version."""
        name = self._name_of(one)
        try:
            fetched = fetching.result()
            if fetched is None:
                return self._known(one)
            held_up = self._held_up.reason(name)
            if held_up is not None:
                self._into.clear(fetched.folder)
                return self._row(one, "failed", error=held_up)
            row = self._put(one, fetched)
        except TraceletError as error:
            self._held_up.note(name, error)
            return self._row(one, "failed", error=error)
        self._held_up.note_success()
        return row

    def _known(self, one: ForeignArtifact) -> CopiedVersion:
        """Move the aliases of a version that was imported before to where their tracker has them now."""
        there = self._there.get(put_id_of(one))
        if there is None:
            return self._row(one, "skipped", why="it has no files")
        aliases, why = self._into.fitting(there.manifest.name, aliases_of(one)[0])
        missing = tuple(alias for alias in aliases if alias not in there.aliases)
        if missing:
            there = self._into.name(there, Labels(None, missing))
        return self._row(one, "skipped", target=there, why="; ".join(why))

    def _put(self, one: ForeignArtifact, fetched: _Fetched) -> CopiedVersion:
        named, lost = aliases_of(one)
        aliases, why = self._into.fitting(self._name_of(one), named)
        inputs = {address: self._by_address.get(address) for address in one.inputs}
        why += [f"the alias {alias!r} cannot be one here" for alias in lost]
        why += [f"{address}, from which it was made, is not there" for address, used in inputs.items() if used is None]
        try:
            manifest = Manifest(
                self._name_of(one),
                one.type,
                put_id_of(one),
                one.created_at,
                None if one.run is None else one.run.id,
                one.description,
                plain_metadata(_metadata(one, self._name_of(one))),
                files=fetched.files,
                references=one.references,
                inputs=tuple(sorted({used.manifest.digest for used in inputs.values() if used is not None})),
            )
            sealed = sealed_for(self._into.side, manifest, needed(manifest, self._into.side), fetched.folder / "files")
            made = self._into.put(sealed, Labels(None, aliases), self._runs[_run_of(one)])
        finally:
            self._into.clear(fetched.folder)
        self._there[manifest.put_id] = self._by_address[one.address] = made
        return self._row(
            one, "copied", target=made, moved_bytes=sum(file.size_bytes for file in fetched.files), why="; ".join(why)
        )

    def _row(
        self,
        one: ForeignArtifact,
        outcome: str,
        *,
        target: StoredArtifact | None = None,
        moved_bytes: int = 0,
        why: str = "",
        error: TraceletError | None = None,
    ) -> CopiedVersion:
        return CopiedVersion(
            self._name_of(one) if target is None else target.manifest.name,
            one.version,
            outcome,
            None if target is None else target.version,
            None if target is None else target.manifest.digest,
            one.size_bytes if target is None else target.manifest.size_bytes,
            moved_bytes,
            why if error is None else str(error),
            error,
        )


def _written(folder: Path) -> list[ForeignFile]:
    """Return the files that a fetch has written, where only it could tell which there are."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return [ForeignFile(path.relative_to(folder).as_posix()) for path in found]


def _hashed(folder: Path, file: ForeignFile, of: ForeignArtifact) -> ArtifactFile:
    place = target_path(folder, file.path)
    if place.is_symlink() or not place.is_file():
        raise ArtifactNotFound(f"{file.path!r} of {of.address} did not come: look whether its source still has it.")
    sha256, seen = hash_file(place)
    if file.size_bytes not in {None, seen.size_bytes}:
        raise IntegrityError(
            f"{file.path!r} of {of.address} came with {seen.size_bytes:,} bytes, and {file.size_bytes:,} were listed: do "
            "it again, or look at the file in its source."
        )
    return ArtifactFile(file.path, seen.size_bytes, sha256)


def _run_of(one: ForeignArtifact) -> str:
    return "imported" if one.run is None else one.run.id


def _is_empty(one: ForeignArtifact) -> bool:
    return one.files_known and not one.files and not one.references


def _metadata(one: ForeignArtifact, name: str) -> dict[str, Any]:
    """Return the metadata with what says where the version comes from. Whatever had those keys keeps its value under another."""
    own: dict[str, Any] = {FROM: one.address}
    if name != one.name:
        own[_NAME] = one.name
    if one.run is not None:
        own[_RUN] = attrs.asdict(one.run)
    made: dict[str, Any] = {}
    for key, value in one.metadata.items():
        while key in own or key in made:
            key = f"{key}_"
        made[key] = value
    return {**made, **own}
