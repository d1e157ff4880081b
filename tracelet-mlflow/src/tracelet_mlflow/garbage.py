"""Clear away what interrupted puts and deletions left in MLflow: files in its artifact stores, and models.

A number of a name that is claimed, and has no record, is that of a put which is under way or was interrupted, or of a deleted
version. A folder of this machine says when it was last changed. Other artifact stores do not: there the first that looks notes
when it did, and what is still no version later was last needed before then. A put that goes on forgets that note.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from tracelet.exceptions import IntegrityError, NewerFormat
from tracelet.plugin import Damage
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.experiments import experiments_in
from tracelet_mlflow.files import RunFiles, at_once
from tracelet_mlflow.folders import Folders
from tracelet_mlflow.index import Entry, Index, Left, key
from tracelet_mlflow.records import addresses_of
from tracelet_mlflow.registry import Registry
from tracelet_mlflow.runs import is_local, made_for

__all__ = ["Garbage"]

_LOG = logging.getLogger("tracelet.mlflow")


class Garbage:
    """What no version of any experiment in one MLflow needs."""

    def __init__(self, connection: Connection, directory: Path) -> None:
        """``directory`` is for temporary files."""
        self._connection = connection
        self._client = connection.client
        self._directory = directory
        #: By id: each run that was looked at, with the names of artifacts that have files in it; None where it is gone.
        self._looked_at: dict[str, tuple[Run, frozenset[str]] | None] = {}

    def collect(self, older_than: float) -> Iterator[int]:
        """Remove what was last needed before then (seconds since the epoch), and yield the bytes of each put.

        An experiment that this user may not change, or that a later release keeps in another way, is left alone.
        """
        for experiment in experiments_in(self._client):
            try:
                yield from self._of(experiment, older_than)
            except (MlflowException, IntegrityError, NewerFormat) as error:
                if isinstance(error, MlflowException) and code_of(error) != "PERMISSION_DENIED":
                    raise
                _LOG.warning("what interrupted puts of %r left in MLflow stays there: %s", experiment, error)

    def _of(self, experiment: str, older_than: float) -> Iterator[int]:
        index = Index(self._client, experiment, is_served=self._connection.is_served)
        registry = Registry(self._client, experiment, self._directory, self._connection.model_repository)
        for entry in filter(_is_entry, index.entries()):
            for number in entry.left:
                freed = self._cleared(index, registry, entry, number, older_than)
                if freed:
                    yield freed

    def _cleared(self, index: Index, registry: Registry, entry: Entry, number: int, older_than: float) -> int:
        """Clear away what is left of a number, if it is old enough; return the bytes."""
        left = entry.left[number]
        folders = Folders(entry.name, number, left.put_id)
        both, known = (folders.plain, folders.own), index.runs()
        every = list(filter(None, at_once(self._run, [left.run_id] if left.run_id else sorted({*known.values()}))))
        runs = [run for run, names in every if entry.name in names]
        since = _last_change([run.info.artifact_uri for run in runs], both) or left.since
        if since is None:
            index.note_left(entry, number, "")
            since = time.time()
        if since >= older_than or not _is_still(index.entry(entry.name), number, left):
            return 0
        places = [(run.info.run_id, run.info.artifact_uri, folder) for run in runs for folder in both]
        addresses = [one for place in places for one in addresses_of(*place)]
        experiments = sorted({run.info.experiment_id for run, _ in every})
        # The files are the bytes of a registered model where there is no other.
        models = registry.left_by(entry.name, left.put_id, experiments) or {"": {}}
        removed = registry.remove(f"{entry.name!r} v{number}", models, left.put_id, addresses)
        freed, is_kept = removed.freed, removed.kept
        for run in runs if not removed.kept or "" not in models else ():
            repository = self._connection.repository(run.info.artifact_uri)
            there = {info.path for info in repository.list_artifacts(entry.name)}
            if folders.own in there:
                freed += RunFiles(repository, folders.own, None, self._directory).delete(left.put_id)
            if folders.plain in there:
                if folders.is_shared(self._client, run.info.run_id):
                    is_kept = True
                    continue
                # In another run than its own, the folder may be the user's.
                is_its_own = key("run", made_for(run)) in known
                files = RunFiles(repository, folders.plain, None, self._directory)
                freed += files.delete(left.put_id, unnamed=is_its_own)
        if not is_kept:
            index.note_cleared(entry, number)
        return freed

    def _run(self, run_id: str) -> tuple[Run, frozenset[str]] | None:
        if run_id not in self._looked_at:
            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self._looked_at[run_id] = None
            else:
                found = self._connection.repository(run.info.artifact_uri).list_artifacts(None)
                self._looked_at[run_id] = run, frozenset(info.path for info in found if info.is_dir)
        return self._looked_at[run_id]


def _is_entry(found: Entry | Damage) -> TypeGuard[Entry]:
    return isinstance(found, Entry)


def _last_change(places: list[str], folders: Iterable[str]) -> float | None:
    """Return when folders, in any of the places, were last changed; None where a place does not say that, or there is none."""
    if not all(map(is_local, places)):
        return None
    above = [Path(str(local_file_uri_to_path(place))) for place in places]  # type: ignore[no-untyped-call]
    roots = [place / folder for place in above for folder in folders]
    changes = [path.stat().st_mtime for root in roots if root.exists() for path in (root, *root.rglob("*"))]
    return max(changes, default=None)


def _is_still(entry: Entry | None, number: int, left: Left) -> bool:
    """Whether a number is still that of no version: its put may have gone on since it was looked at."""
    now = None if entry is None else entry.left.get(number)
    return now is not None and now.put_id == left.put_id and (left.since is None or now.since == left.since)
