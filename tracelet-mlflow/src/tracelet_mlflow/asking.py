"""What is asked of MLflow about single things: each once in a look, and what does not exist is None."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from mlflow.entities import Experiment, LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from tracelet_mlflow.connection import Connection
from tracelet_mlflow.errors import code_of

__all__ = ["Asked"]

T = TypeVar("T")

_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class Asked:
    """Runs, logged models and experiments, as MLflow has them."""

    def __init__(self, connection: Connection) -> None:
        self.client = connection.client
        #: The address for people, which all addresses begin with.
        self.server = connection.shown.rstrip("/")
        self._experiments: dict[str, str] = {}
        # Every run of an experiment asks for its name, several at once.
        self._naming = threading.Lock()
        self._runs: dict[str, Run | None] = {}
        self._models: dict[str, LoggedModel | None] = {}

    def know(self, runs: Iterable[Run] = (), models: Iterable[LoggedModel] = ()) -> None:
        """Remember what a search gave."""
        self._runs.update({run.info.run_id: run for run in runs})
        self._models.update({model.model_id: model for model in models})

    def run(self, run_id: str | None) -> Run | None:
        """Return a run, also a deleted one."""
        if not run_id:
            return None
        if run_id not in self._runs:
            self._runs[run_id] = self.whole_run(run_id)
        return self._runs[run_id]

    def whole_run(self, run_id: str) -> Run | None:
        """Ask for a run now, with the models that it uses: a search leaves those out."""
        return _unless_absent(lambda: self.client.get_run(run_id))

    def model(self, model_id: str) -> LoggedModel | None:
        """Return a logged model."""
        if model_id not in self._models:
            self._models[model_id] = _unless_absent(lambda: self.client.get_logged_model(model_id))
        return self._models[model_id]

    def model_at(self, artifact_uri: str) -> LoggedModel | None:
        """Return the logged model whose files are there, if it was seen."""
        seen = (model for model in list(self._models.values()) if model is not None)
        return next((model for model in seen if model.artifact_location.rstrip("/") == artifact_uri), None)

    def registered(self, name: str) -> RegisteredModel | None:
        """Return a registered model, with its aliases."""
        return _unless_absent(lambda: self.client.get_registered_model(name))

    def experiment(self, text: str) -> Experiment | None:
        """Return an experiment by its name, or else by its id."""
        found = self.client.get_experiment_by_name(text)
        if found is None and text.isdecimal():
            found = _unless_absent(lambda: self.client.get_experiment(text))
        if found is not None:
            self._experiments[found.experiment_id] = str(found.name)
        return found

    def experiment_name(self, experiment_id: str) -> str:
        """Return the name of an experiment."""
        with self._naming:
            if experiment_id not in self._experiments:
                self._experiments[experiment_id] = str(self.client.get_experiment(experiment_id).name)
            return self._experiments[experiment_id]

    def files_of(self, version: ModelVersion) -> str:
        """Return where MLflow says that the files of a registered version are."""
        return str(self.client.get_model_version_download_uri(version.name, version.version))


def _unless_absent(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except MlflowException as error:
        if code_of(error) not in _ABSENT:
            raise
        return None
