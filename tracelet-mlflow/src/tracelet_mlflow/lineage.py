"""What the models that MLflow's runs use are called in an import."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion

from tracelet_mlflow.asking import Asked
from tracelet_mlflow.registry import PUT

__all__ = ["Lineage"]


class Lineage:
    """Addresses of models, and which of them each run used."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._registered_as: dict[str, str] = {}
        #: By run: the ids of the models that it used.
        self._used: dict[str, list[str]] = {}

    def list_as(self, model_id: str, version: ModelVersion) -> None:
        """Note that a logged model is listed as a registered version; the first one stays."""
        self._registered_as.setdefault(model_id, self.of_version(version))

    def of_model(self, model_id: str) -> str:
        """Return the address of a logged model."""
        return f"{self._asked.server}#models:/{model_id}"

    def of_version(self, version: ModelVersion) -> str:
        """Return the address of a registered version. A name that is deleted and made again counts from 1 again."""
        created = version.creation_timestamp
        return f"{self._asked.server}#models:/{version.name}/{version.version}?created={created}"

    def inputs(self, run_id: str | None, *, own: bool) -> tuple[str, ...]:
        """Return the addresses of the models that a run used; with ``own`` also of those that it logged itself.

        A model is not made from the models of its own run: a run evaluates what it has logged.
        """
        models = [self._asked.model(model_id) for model_id in self._used_by(run_id)] if run_id else []
        theirs = [model for model in models if model is not None and PUT not in model.tags]
        wanted = [model.model_id for model in theirs if own or model.source_run_id != run_id]
        return tuple(self._registered_as.get(model_id) or self.of_model(model_id) for model_id in wanted)

    def _used_by(self, run_id: str) -> list[str]:
        if run_id not in self._used:
            run = self._asked.whole_run(run_id)
            found = run.inputs.model_inputs or () if run is not None and run.inputs else ()
            self._used[run_id] = list(dict.fromkeys(str(one.model_id) for one in found))
        return self._used[run_id]
