"""What people see of an artifact in MLflow's own pages: tags of the run, and its inputs."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, RunTag

from tracelet.exceptions import TraceletError
from tracelet.plugin import Manifest, StoredArtifact
from tracelet_mlflow.errors import translated

__all__ = ["Notes", "note_input"]

_LOG = logging.getLogger("tracelet.mlflow")

#: MLflow cuts a longer value than 8,000 characters off without a word; what is for people can be much shorter.
_LONGEST = 5000
#: MLflow's own limit for the digest of a dataset.
_DIGEST = 36
#: How many tags MLflow takes at once.
_BATCH = 100
#: Seconds in which what there is to tag is gathered.
_PAUSE = 0.5


class Notes:
    """Tags of runs for people, set behind the caller's back: nothing is found by them."""

    def __init__(self, client: MlflowClient, place: str) -> None:
        """``place`` is MLflow's address, without secrets."""
        self._client = client
        self._place = place
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")
        self._lock = threading.Lock()
        self._finishing = threading.Event()
        #: By run: the tags that it is still to get.
        self._due: dict[str, dict[str, str]] = {}

    def add(self, run_id: str, manifest: Manifest, number: int, label: str | None) -> None:
        """Tag a run with what was stored there: one tag for each name, of its newest version in this run."""
        with self._lock:
            if not self._due:
                self._pool.submit(self._set)
            tags = self._due.setdefault(run_id, {})
            tags[f"tracelet.artifact.{manifest.name}"] = _text(manifest, number, label)

    def finish(self) -> None:
        """Wait until every tag is set, or is not going to be."""
        self._finishing.set()
        self._pool.shutdown()
        self._finishing.clear()
        self._pool = ThreadPoolExecutor(1, "tracelet-mlflow-notes")

    def _set(self) -> None:
        # SQLite takes one writer at a time, and the others sleep: a tag for each of many puts would hold up the puts.
        self._finishing.wait(_PAUSE)
        with self._lock:
            due, self._due = self._due, {}
        for run_id, tags in due.items():
            found = [RunTag(name, text) for name, text in tags.items()]
            try:
                with translated(self._place):
                    for start in range(0, len(found), _BATCH):
                        self._client.log_batch(run_id, tags=found[start : start + _BATCH])
            except TraceletError as error:
                _LOG.warning("the run %s has not got all of its tags %s: %s", run_id, ", ".join(tags), error)


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
