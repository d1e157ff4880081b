"""The MLflow run that belongs to one of Tracelet's runs: found, attached to, or made; and ended by who made it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tracelet.exceptions import BackendError
from tracelet.plugin import RunInfo
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.index import Index

__all__ = ["Home", "Runs"]

#: On each MLflow run: the id of Tracelet's run, for people and for MLflow's search.
RUN_TAG = "tracelet.run_id"
#: On each MLflow run that was made here: the user's process that it was made for. Its lane may be another one by the end.
_PROCESS_TAG = "tracelet.process"


@attrs.frozen
class Home:
    """An MLflow run that artifacts are put into."""

    run_id: str
    experiment_id: str
    artifact_uri: str
    #: Whether it was made for the user's process that this one works for, and so ends with it.
    ours: bool

    @property
    def is_local(self) -> bool:
        """Whether its files are in a folder of this machine."""
        return urlsplit(self.artifact_uri).scheme in {"", "file"}


class Runs:
    """The MLflow runs of one experiment that this process puts artifacts into."""

    def __init__(
        self, client: MlflowClient, index: Index, experiment: str, sdk: dict[str, Any], location: str | None
    ) -> None:
        """``sdk`` is what the plugin's context found in the user's process, ``location`` is for a new experiment's files."""
        self._location = location
        self._client = client
        self._index = index
        self._experiment = experiment
        self._sdk = sdk
        self._process = str(sdk.get("process", ""))
        self._homes: dict[str, tuple[RunInfo, Home]] = {}

    def home(self, run: RunInfo) -> Home:
        """Return the MLflow run of one of Tracelet's runs; it is made where there is none yet."""
        if run.id not in self._homes:
            known = self._index.run_of(run.id)
            home = self._known(known) if known is not None else self._new(run)
            self._homes[run.id] = run, home
        return self._homes[run.id][1]

    def end(self, *, failed: bool) -> None:
        """End the runs that were made for this process. ``failed`` is about the last one: others only had something to deliver."""
        homes = [self._homes[key] for key in sorted(self._homes, key=lambda key: self._homes[key][0].started_at)]
        self._homes.clear()
        for number, (_, home) in enumerate(homes, 1):
            if home.ours:
                last = number == len(homes)
                self._client.set_terminated(home.run_id, "FAILED" if failed and last else "FINISHED")

    def _new(self, run: RunInfo) -> Home:
        home = self._users(run) or self._make(run)
        owner = self._index.claim_run(run.id, home.run_id)
        if owner != home.run_id:
            if home.ours:
                self._client.delete_run(home.run_id)
            return self._known(owner)
        if not home.ours:
            self._client.set_tag(home.run_id, RUN_TAG, run.id)
        return home

    def _known(self, run_id: str) -> Home:
        run = self._client.get_run(run_id)
        return _home(run, ours=run.data.tags.get(_PROCESS_TAG) == self._process)

    def _users(self, run: RunInfo) -> Home | None:
        """The run that is active in the user's process, where it is one of that process's own runs that begins."""
        active = self._sdk.get("run_id")
        if not active or run.started_at < self._sdk.get("since", 0.0):
            return None
        try:
            return _home(self._client.get_run(active), ours=False)
        except MlflowException as error:
            if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # it is in another MLflow than the one that TRACELET_MLFLOW_TRACKING_URI names

    def _make(self, run: RunInfo) -> Home:
        made = self._client.create_run(
            self._experiment_id(),
            start_time=int(run.started_at * 1000),
            tags={RUN_TAG: run.id, _PROCESS_TAG: self._process},
        )
        return _home(made, ours=True)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                return str(self._client.create_experiment(self._experiment, self._location))
            except MlflowException as error:
                if code_of(error) != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self._experiment)
        assert found is not None
        if found.lifecycle_stage != "active":
            raise BackendError(
                f"the MLflow experiment {self._experiment!r} was deleted: `mlflow experiments restore -x "
                f"{found.experiment_id}` brings it back, or use another experiment's name."
            )
        return str(found.experiment_id)


def _home(run: Run, *, ours: bool) -> Home:
    return Home(run.info.run_id, run.info.experiment_id, run.info.artifact_uri, ours)
