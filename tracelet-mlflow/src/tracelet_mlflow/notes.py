"""What MLflow's own pages show of an artifact: tags and metrics of the run, metrics of models, and inputs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import attrs
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric, RunTag

from tracelet.exceptions import TraceletError
from tracelet.plugin import Manifest, StoredArtifact
from tracelet_mlflow.columns import measures
from tracelet_mlflow.errors import translated
from tracelet_mlflow.schemas import SCHEMA, SCHEMA_TAG

__all__ = ["Notes", "note_dataset", "note_models"]

_LOG = logging.getLogger("tracelet.mlflow")

#: Characters of a tag. MLflow silently cuts off more than 8,000, and people need fewer.
_LONGEST = 5000
#: MLflow's own limit for the digest of a dataset.
_DIGEST = 36
#: Seconds in which tags are collected before they are sent together.
_PAUSE = 0.5


@attrs.define
class _Due:
    """What is not yet set on a run."""

    tags: dict[str, str] = attrs.Factory(dict)
    metrics: list[Metric] = attrs.Factory(list)


class Notes:
    """Tags and metrics for people, set on a thread of their own. Tracelet finds nothing by them."""

    def __init__(self, client: MlflowClient, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._client = client
        self._place = place
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")
        self._lock = threading.Lock()
        self._finishing = threading.Event()
        #: By run.
        self._due: dict[str, _Due] = {}

    def add(self, run_id: str, manifest: Manifest, number: int, label: str | None) -> None:
        """Add the tag of a name, which describes its newest version in this run, and the metadata's numbers as metrics."""
        with self._lock:
            due = self._of(run_id)
            due.tags[f"tracelet.artifact.{manifest.name}"] = _text(manifest, number, label)
            due.metrics += _metrics(manifest, number, f"{manifest.name}/")

    def add_models(self, run_id: str, models: Mapping[str, Mapping[str, str]], manifest: Manifest, number: int) -> None:
        """Add the metadata's numbers as metrics of an artifact's models.

        MLflow has no metric without a run. ``run_id`` is a run in which nobody else sets metrics of these names.
        """
        found = [
            metric
            for model in models.values()
            if "model_id" in model
            for metric in _metrics(manifest, number, "", model["model_id"])
        ]
        if found:
            with self._lock:
                self._of(run_id).metrics += found

    def _of(self, run_id: str) -> _Due:
        if not self._due:
            self._pool.submit(self._set)
        return self._due.setdefault(run_id, _Due())

    def finish(self) -> None:
        """Wait until every tag is set, or has failed."""
        self._finishing.set()
        self._pool.shutdown()
        self._finishing.clear()
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")

    def _set(self) -> None:
        # SQLite lets one write at a time, and others sleep meanwhile: a request for each of many puts would delay the puts.
        self._finishing.wait(_PAUSE)
        with self._lock:
            due, self._due = self._due, {}
        for run_id, one in due.items():
            try:
                with translated(self._place):
                    self._client.log_batch(
                        run_id, metrics=one.metrics, tags=[RunTag(name, text) for name, text in one.tags.items()]
                    )
            except TraceletError as error:
                what = ", ".join([*one.tags, *sorted({metric.key for metric in one.metrics})])
                _LOG.warning("MLflow does not show all of %s on the run %s: %s", what, run_id, error)


def _metrics(manifest: Manifest, number: int, prefix: str, model_id: str | None = None) -> list[Metric]:
    when = int(manifest.created_at * 1000)
    found = measures(manifest.metadata, prefix)
    return [Metric(name, value, when, number, model_id=model_id) for name, value in found.items()]


def _text(manifest: Manifest, number: int, label: str | None) -> str:
    what = {
        "version": f"v{number}",
        "label": label,
        "type": manifest.type.value,
        "digest": manifest.digest,
        "size_bytes": manifest.size_bytes,
        "files": len(manifest.payload),
        "description": manifest.description,
        "metadata": manifest.metadata,
    }
    for dropped in ("", "metadata", "description"):
        what.pop(dropped, None)
        text = json.dumps({name: value for name, value in what.items() if value not in (None, {})}, default=str)
        if len(text) <= _LONGEST:
            break
    return text


def note_models(client: MlflowClient, run_id: str, model_ids: list[str]) -> None:
    """Note that a run uses models."""
    client.log_inputs(run_id, models=[LoggedModelInput(model_id) for model_id in model_ids])


def note_dataset(client: MlflowClient, run_id: str, stored: StoredArtifact) -> None:
    """Note that a run uses a version that is not a model. MLflow calls it a dataset."""
    manifest = stored.manifest
    source = json.dumps({"uri": stored.uri, "name": manifest.name, "version": stored.version})
    dataset = Dataset(manifest.name, manifest.digest[:_DIGEST], "tracelet", source)
    tags = [
        InputTag("mlflow.data.context", manifest.type.value),
        InputTag("tracelet.digest", manifest.digest),
        InputTag(SCHEMA_TAG, str(SCHEMA)),
    ]
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])
