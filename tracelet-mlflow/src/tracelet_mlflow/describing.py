"""What MLflow notes on runs, logged models and registered models, as plain data for an artifact's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from tracelet.plugin import ForeignRun, redact

__all__ = ["NOTE", "of_logged_model", "of_registered", "of_run", "run_of"]

#: The tag that holds what people wrote about a run or a logged model.
NOTE = "mlflow.note.content"
#: Tags of MLflow's own that say who made something, and from what. The others are for its pages.
_ORIGIN = {
    "mlflow.user",
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
    "mlflow.source.git.repoURL",
    "mlflow.parentRunId",
}
_OTHERS = ("mlflow.", "tracelet.")
#: The kind of source that a dataset of Tracelet's has.
_OURS = "tracelet"


def run_of(run: Run) -> ForeignRun:
    """Return a run as its tracker has it."""
    return ForeignRun(
        id=run.info.run_id,
        name=run.info.run_name or "",
        parameters=dict(run.data.params),
        metrics=dict(run.data.metrics),
    )


def of_run(run: Run) -> dict[str, Any]:
    """Return what else is known about a run: how it ended, its description, its tags, and its datasets."""
    found = {
        "run_status": run.info.status,
        "run_description": run.data.tags.get(NOTE),
        "run_tags": _tags(run.data.tags),
        "datasets": _datasets(run),
    }
    return _said(found)


def of_logged_model(model: LoggedModel) -> dict[str, Any]:
    """Return what is known about a logged model."""
    metrics: dict[str, Any] = {}
    for one in sorted(model.metrics or (), key=lambda metric: (metric.step, metric.timestamp)):
        metrics[f"{one.key} on {one.dataset_name}" if one.dataset_name else one.key] = one.value
    found = {
        "name": model.name,
        "model_type": model.model_type,
        "params": dict(model.params),
        "metrics": metrics,
        "tags": _tags(model.tags),
    }
    return {"model_id": model.model_id, **_said(found)}


def of_registered(version: ModelVersion, registered: RegisteredModel | None) -> dict[str, Any]:
    """Return what is known about a version of a registered model, and about that model."""
    stage = version.current_stage if version.current_stage != "None" else None
    found = {"stage": stage, "tags": _tags(version.tags)}
    if registered is not None:
        found["registered_model"] = _said({"description": registered.description, "tags": _tags(registered.tags)})
    return _said(found)


def _datasets(run: Run) -> list[dict[str, Any]]:
    found = []
    for one in run.inputs.dataset_inputs if run.inputs else ():
        dataset = one.dataset
        if dataset.source_type != _OURS:
            contexts = {tag.value for tag in one.tags if tag.key == "mlflow.data.context"}
            said = {
                "name": dataset.name,
                "digest": dataset.digest,
                "source_type": dataset.source_type,
                "source": _source(dataset.source),
                "context": next(iter(contexts), None),
            }
            found.append(_said(said))
    return found


def _source(text: str) -> Any:
    """Return where a dataset is from, without secrets: an address, or an object with addresses."""
    try:
        plain = json.loads(text)
    except ValueError:
        return redact(text)
    if not isinstance(plain, dict):
        return redact(text)
    return {key: redact(value) if isinstance(value, str) else value for key, value in plain.items()}


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    own = {key: text for key, text in tags.items() if not key.startswith(_OTHERS)}
    return own | {key: redact(text) for key, text in tags.items() if key in _ORIGIN}


def _said(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}
