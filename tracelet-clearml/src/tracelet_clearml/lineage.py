"""What a run uses, noted where ClearML's own users look: input models, and datasets among the task's parameters."""

from __future__ import annotations

from typing import Any

from tracelet.plugin import StoredArtifact
from tracelet_clearml.api import Api
from tracelet_clearml.artifacts import Place
from tracelet_clearml.runs import Home, Runs

__all__ = ["note_input"]

#: The section in which ``Dataset.get(alias=…)`` notes a dataset, and ours for what is neither that nor a model.
_DATASETS = "Datasets"
_OTHERS = "Inputs"


def note_input(api: Api, runs: Runs, home: Home, stored: StoredArtifact, place: Place) -> None:
    """Note that a run's task uses a version."""
    name = stored.manifest.name
    if place.kind == "model":
        asked = {"name": f"{name} {stored.version}", "model": place.entity, "type": "input"}
        runs.write(home, lambda task: api.call("tasks", "add_or_update_model", task=task, **asked))
        return
    section, value = (_DATASETS, place.entity) if place.kind == "dataset" else (_OTHERS, stored.uri)
    noted = {"section": section, "name": f"{name} {stored.version}", "value": value, "type": "str"}
    noted["description"] = f"sha256:{stored.manifest.digest}"
    more: dict[str, Any] = {"hyperparams": [noted], "force": True}
    runs.write(home, lambda task: api.call("tasks", "edit_hyper_params", task=task, **more))
