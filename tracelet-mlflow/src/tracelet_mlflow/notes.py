"""What people see of an artifact in MLflow's own pages: tags of the run, and its inputs."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

from tracelet.exceptions import TraceletError
from tracelet.plugin import Manifest, StoredArtifact
from tracelet_mlflow.errors import translated

__all__ = ["Notes", "note_input"]

_LOG = logging.getLogger("tracelet.mlflow")

#: MLflow cuts a longer value than 8,000 characters off without a word; what is for people can be much shorter.
_LONGEST = 5000
#: MLflow's own limit for the digest of a dataset.
_DIGEST = 36


class Notes:
    """Tags of runs for people, set behind the caller's back: nothing is found by them."""

    def __init__(self, client: MlflowClient, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._client = client
        self._place = place
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")

    def add(self, run_id: str, manifest: Manifest, number: int, label: str | None) -> None:
        """Tag a run with what was stored there: one tag for each name, of its newest version in this run."""
        self._pool.submit(self._set, run_id, f"tracelet.artifact.{manifest.name}", _text(manifest, number, label))

    def finish(self) -> None:
        """Wait until every tag is set, or is not going to be."""
        self._pool.shutdown()
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")

    def _set(self, run_id: str, tag: str, text: str) -> None:
        try:
            with translated(self._place):
                self._client.set_tag(run_id, tag, text)
        except TraceletError as error:
            _LOG.warning("the run %s has no tag %s: %s", run_id, tag, error)


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


def note_input(client: MlflowClient, run_id: str, stored: StoredArtifact, models: dict[str, dict[str, str]]) -> None:
    """Note that a run uses a version: its models as models, anything else as a dataset."""
    manifest = stored.manifest
    if models:
        inputs = [LoggedModelInput(model["model_id"]) for model in models.values() if "model_id" in model]
        if inputs:
            client.log_inputs(run_id, models=inputs)
            return
    source = json.dumps({"uri": stored.uri, "name": manifest.name, "version": stored.version})
    dataset = Dataset(manifest.name, manifest.digest[:_DIGEST], "tracelet", source)
    tags = [InputTag("mlflow.data.context", manifest.type.value), InputTag("tracelet.digest", manifest.digest)]
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])
