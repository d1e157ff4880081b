"""What is among the artifacts of MLflow's runs: each file and each folder at the top is an artifact."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from mlflow.entities import FileInfo, Run

from tracelet.plugin import MANIFEST_NAME, ArtifactType, ForeignArtifact, tell_type_by_names
from tracelet_mlflow.asking import Asked
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.describing import of_run, run_of
from tracelet_mlflow.files import at_once
from tracelet_mlflow.foreign_files import ForeignFiles, locator_of, named_files
from tracelet_mlflow.left_out import LeftOut
from tracelet_mlflow.lineage import Lineage
from tracelet_mlflow.runs import RUN_TAG, made_for

__all__ = ["ForeignRuns", "is_ours"]

#: The last part of the folder of a version of Tracelet's, below its name.
_VERSION = re.compile(r"v[0-9]+(-[0-9a-f]{12})?")


class ForeignRuns:
    """The files of runs that were logged without Tracelet."""

    def __init__(self, connection: Connection, asked: Asked, lineage: Lineage, left_out: LeftOut) -> None:
        self._connection = connection
        self._asked = asked
        self._lineage = lineage
        self._left_out = left_out

    def found(self, runs: list[Run], without: Collection[tuple[str, str]]) -> list[ForeignArtifact]:
        """Return what is at the top of the artifacts of runs, ``without`` certain paths of certain runs."""

        def read(run: Run) -> list[ForeignArtifact]:
            store = self._connection.foreign_files(run.info.artifact_uri)
            return self.at(run, store, [top for top in store.entries("") if (run.info.run_id, top.path) not in without])

        def attempt(run: Run) -> list[ForeignArtifact]:
            return self._left_out.attempt(_called(run), lambda: read(run), lambda: self._unread(run))

        return [one for some in at_once(attempt, runs) for one in some]

    def at(self, run: Run, store: ForeignFiles, entries: list[FileInfo]) -> list[ForeignArtifact]:
        """Return an artifact for each file or folder of a run that has files of the user's own."""
        found = []
        for entry in entries:
            above, _, name = entry.path.rpartition("/")
            folder = entry.path if entry.is_dir else above
            infos = store.walk(folder, is_ours(run, store)) if entry.is_dir else [entry]
            files = named_files(infos, folder, _called(run), self._left_out)
            if files:
                one = ForeignArtifact(
                    address=f"{self._asked.server}#runs:/{run.info.run_id}/{entry.path}",
                    name=name,
                    type=tell_type_by_names([file.path for file in files]),
                    kind="folder of a run" if entry.is_dir else "file of a run",
                    experiment=self._asked.experiment_name(run.info.experiment_id),
                    metadata=of_run(run),
                    created_at=_moment(run),
                    run=run_of(run),
                    files=files,
                    inputs=self._lineage.inputs(run.info.run_id, own=True),
                    locator=locator_of(run.info.artifact_uri, folder),
                )
                found.append(one)
        return found

    def _unread(self, run: Run) -> ForeignArtifact:
        return ForeignArtifact(
            address=f"{self._asked.server}#runs:/{run.info.run_id}",
            name=run.info.run_name or run.info.run_id,
            type=ArtifactType.CUSTOM,
            kind="run",
            experiment=self._asked.experiment_name(run.info.experiment_id),
            created_at=_moment(run),
        )


def is_ours(run: Run, store: ForeignFiles) -> Callable[[str], bool]:
    """Return what tells a folder of a run in which Tracelet stored a version, or was about to."""

    def tell(folder: str) -> bool:
        if RUN_TAG not in run.data.tags or not _VERSION.fullmatch(folder.partition("/")[2]):
            return False
        return bool(made_for(run)) or any(info.path == f"{folder}/{MANIFEST_NAME}" for info in store.entries(folder))

    return tell


def _called(run: Run) -> str:
    return f"the run {run.info.run_name or ''} ({run.info.run_id})"


def _moment(run: Run) -> float:
    return float(run.info.end_time or run.info.start_time or 0) / 1000
