"""Find, attach to or make the MLflow run of each of Tracelet's runs. Only the process that made a run ends it."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import attrs
from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from tracelet.exceptions import BackendError
from tracelet.plugin import RunInfo
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.index import Index
from tracelet_mlflow.schemas import SCHEMA, SCHEMA_TAG, check_tags

__all__ = ["RUN_TAG", "Home", "Runs", "is_local", "made_for"]

_LOG = logging.getLogger("tracelet.mlflow")
#: Tag of each MLflow run: the id of Tracelet's run, for people and for MLflow's search.
RUN_TAG = "tracelet.run_id"
#: Tag of each MLflow run that was made here: the user's process that it was made for. Several lanes may serve that process.
_PROCESS_TAG = "tracelet.process"
#: Tag of each MLflow run that takes the place of deleted ones: their ids.
_INSTEAD_TAG = "tracelet.instead_of"
_NOTE = "mlflow.note.content"
#: How many MLflow runs of one run of Tracelet's may be deleted, one after the other.
_MOST_DELETED = 20


@attrs.frozen
class Home:
    """An MLflow run that artifacts are put into."""

    run_id: str
    experiment_id: str
    artifact_uri: str
    #: Whether it was made for the user's process that this lane serves. Then it ends with that process.
    ours: bool
    #: The id of the run of Tracelet's that it was made for; empty where the user made it.
    made_for: str

    @property
    def is_local(self) -> bool:
        """Whether its files are in a folder of this machine."""
        return is_local(self.artifact_uri)


def is_local(artifact_uri: str) -> bool:
    """Tell whether artifacts are in a folder of this machine."""
    return urlsplit(artifact_uri).scheme in {"", "file"}


def made_for(run: Run) -> str:
    """Return the id of the run of Tracelet's that an MLflow run was made for; empty where the user made it."""
    return str(run.data.tags.get(RUN_TAG, "")) if _PROCESS_TAG in run.data.tags else ""


class Runs:
    """The MLflow runs of one experiment that this process puts artifacts into.

    MLflow accepts files for a deleted run, and its ``gc`` removes them with the run. So artifacts of a deleted run go to
    another run, which takes its place and names it.
    """

    def __init__(
        self, client: MlflowClient, index: Index, experiment: str, sdk: dict[str, Any], location: str | None
    ) -> None:
        """``sdk`` is what the plugin's context found in the user's process. ``location`` is where a new experiment's files go."""
        self._location = location
        self._client = client
        self._index = index
        self._experiment = experiment
        self._sdk = sdk
        self._process = str(sdk.get("process", ""))
        self._homes: dict[str, tuple[RunInfo, Home]] = {}

    def home(self, run: RunInfo) -> Home:
        """Return the MLflow run of one of Tracelet's runs as it is now. It is made where there is none, or it was deleted."""
        known = self._homes.get(run.id)
        home = None if known is None else self._standing(known[1].run_id)
        if home is None:
            # A deleted run need not be ended.
            self._homes.pop(run.id, None)
            home = self._found(run)
        self._homes[run.id] = run, home
        return home

    def end(self, *, failed: bool) -> None:
        """End the runs that were made for this process. ``failed`` is about the last one: others only got deliveries."""
        homes = [self._homes[key] for key in sorted(self._homes, key=lambda key: self._homes[key][0].started_at)]
        self._homes.clear()
        for number, (_, home) in enumerate(homes, 1):
            if home.ours:
                last = number == len(homes)
                self._terminate(home, "FAILED" if failed and last else "FINISHED")

    def _terminate(self, home: Home, status: str) -> None:
        try:
            self._client.set_terminated(home.run_id, status)
        except MlflowException:
            # A deleted run need not be ended.
            if self._standing(home.run_id) is not None:
                raise

    def _found(self, run: RunInfo) -> Home:
        """Return the run that the index has, or the one that takes its place. Either may have to be made."""
        deleted: list[str] = []
        for name in (run.id, *(f"{run.id}-{number}" for number in range(2, _MOST_DELETED))):
            owner = self._index.run_of(name) or self._new(run, name, deleted)
            home = self._standing(owner)
            if home is not None:
                if deleted:
                    told = ", ".join(deleted)
                    _LOG.warning("%s was deleted in MLflow: artifacts of that run go to the run %s.", told, owner)
                return home
            deleted.append(owner)
        raise BackendError(
            f"the MLflow runs of one run were deleted {len(deleted)} times, the last is {deleted[-1]}: leave the next one there."
        )

    def _new(self, run: RunInfo, name: str, deleted: list[str]) -> str:
        """Attach to the user's run, or make one. Return the run that the index has under that name from now on."""
        users = None if deleted else self._users(run)
        home = users or self._make(run, deleted)
        owner = self._index.claim_run(name, home.run_id)
        if owner != home.run_id and users is None:
            self._client.delete_run(home.run_id)
        elif owner == home.run_id and users is not None and not users.made_for:
            tags = [RunTag(RUN_TAG, run.id), RunTag(SCHEMA_TAG, str(SCHEMA))]
            self._client.log_batch(home.run_id, tags=tags)
        return owner

    def _standing(self, run_id: str) -> Home | None:
        """Return a run as it is now; None where it was deleted, or is not in this MLflow.

        Raises :class:`~tracelet.NewerFormat` where a later release set Tracelet's tags on it.
        """
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        if run.info.lifecycle_stage != "active":
            return None
        check_tags(run.data.tags, f"what Tracelet noted on the run {run_id} in MLflow")
        return _home(run, ours=run.data.tags.get(_PROCESS_TAG) == self._process)

    def _users(self, run: RunInfo) -> Home | None:
        """Return the run that is active in the user's process, if Tracelet's run began in that process.

        It may be in another MLflow than the one that TRACELET_MLFLOW_TRACKING_URI names.
        """
        active = self._sdk.get("run_id")
        if not active or run.started_at < self._sdk.get("since", 0.0):
            return None
        return self._standing(active)

    def _make(self, run: RunInfo, deleted: list[str]) -> Home:
        tags = {RUN_TAG: run.id, _PROCESS_TAG: self._process, SCHEMA_TAG: str(SCHEMA)}
        if deleted:
            told = ", ".join(deleted)
            tags |= {
                _INSTEAD_TAG: told,
                _NOTE: f"Takes the place of {told}, deleted in MLflow, for what was logged in it and not yet stored.",
            }
        made = self._client.create_run(self._experiment_id(), start_time=int(run.started_at * 1000), tags=tags)
        return attrs.evolve(_home(made, ours=True), made_for=run.id)

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
    return Home(run.info.run_id, run.info.experiment_id, run.info.artifact_uri, ours, made_for(run))
