"""Models, checkpoints and weights: output models of the run's task, which ClearML's users load by name or id."""

from __future__ import annotations

from pathlib import Path

from clearml.model import Framework

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import ArtifactType, Manifest, SealedArtifact
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import Rollback, Uploads
from tracelet_clearml.display import VersionName, shown_metadata, shown_text
from tracelet_clearml.names import entity_name, file_name
from tracelet_clearml.records import Blob, Place
from tracelet_clearml.runs import Runs, RunTask

__all__ = ["MODELS", "OutputModels"]

MODELS = frozenset({ArtifactType.MODEL, ArtifactType.CHECKPOINT, ArtifactType.WEIGHTS})
#: The system tag of a package, which the SDK unpacks.
_PACKAGE = "package"
#: Characters of a description, and of a framework's name, that ClearML gets. The manifest has all of them.
_LONGEST_COMMENT, _LONGEST_FRAMEWORK = 10_000, 100
_FRAMEWORKS = {
    "pytorch": "PyTorch",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "sklearn": "ScikitLearn",
    "scikit-learn": "ScikitLearn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "onnx": "ONNX",
}


class OutputModels:
    """Output models: one file as it is, or several as a package (ClearML's word for a zip)."""

    def __init__(self, api: Api, uploads: Uploads, runs: Runs) -> None:
        self._api = api
        self._uploads = uploads
        self._runs = runs

    def store(self, sealed: SealedArtifact, version_name: VersionName, run_task: RunTask, rollback: Rollback) -> Place:
        """Upload the files, and make the model. Raises where ClearML does not show the model afterwards."""
        manifest = sealed.manifest
        folder = self._uploads.folder(run_task, manifest, version_name.key)
        blob = self._upload(sealed, folder, version_name, rollback)
        key = self._left(blob) if version_name.again else None
        if key is None:
            key = self._create(manifest, blob, version_name, run_task)
        rollback.add(lambda: self._api.call_unless_gone("models", "delete", model=key, force=True))
        if run_task.project_id:
            # ClearML refuses a public project when a model is made, but not here.
            self._api.call("models", "edit", model=key, project=run_task.project_id)
        noted = {name.replace(".", "_"): value for name, value in shown_metadata(manifest, version_name).items()}
        # All metadata is replaced: when ClearML adds to it, it takes a key such as `type` for a field of the model.
        items = [{"key": name, "type": "str", "value": value} for name, value in noted.items()]
        self._api.call("models", "add_or_update_metadata", model=key, metadata=items, replace_metadata=True)
        link = {"name": version_name.key, "model": key, "type": "output"}
        run_task = self._runs.write(
            run_task, lambda task: self._api.call("tasks", "add_or_update_model", task=task, **link)
        )
        self._check(key, blob, version_name, run_task)
        return Place("model", run_task.task_id, run_task.project_id, (blob,), entity=key)

    def _create(self, manifest: Manifest, blob: Blob, version_name: VersionName, run_task: RunTask) -> str:
        # Not by the SDK's OutputModel: if the task has ended, it makes a model without a task, and reports nothing.
        made = self._api.call(
            "models",
            "create",
            name=entity_name(manifest.name),
            uri=blob.uri,
            task=run_task.task_id,
            tags=["tracelet", manifest.type.value, version_name.version],
            system_tags=[_PACKAGE] if blob.zipped else [],
            comment=shown_text(manifest.description, _LONGEST_COMMENT),
            framework=_framework(manifest, blob.uri),
            labels={},
        )
        return str(made["id"])

    def _left(self, blob: Blob) -> str | None:
        """Return the model that an earlier attempt made for the same file, or None."""
        found = self._api.call("models", "get_all", uri=[blob.uri], only_fields=["id"])["models"]
        return str(found[0]["id"]) if found else None

    def _check(self, key: str, blob: Blob, version_name: VersionName, run_task: RunTask) -> None:
        """Raise if ClearML does not show the model, or does not show it with its task."""
        found = self._api.call("models", "get_all", id=[key], only_fields=["id", "uri"])["models"]
        tasks = self._api.call("tasks", "get_all", id=[run_task.task_id], only_fields=["id", "models.output"])["tasks"]
        linked = tasks[0].get("models", {}).get("output") or [] if tasks else []
        if not found or found[0].get("uri") != blob.uri or all(one.get("model") != key for one in linked):
            raise BackendUnavailable(f"ClearML says that it has the model {version_name.key}, and does not show it.")

    def _upload(self, sealed: SealedArtifact, folder: str, version_name: VersionName, rollback: Rollback) -> Blob:
        payload = sealed.manifest.payload
        if len(payload) == 1:
            path = payload[0].artifact_path
            suffix = Path(path).suffix
            uri = f"{folder}/{version_name.key}{'.' + file_name(suffix) if suffix else ''}"
            return self._uploads.one(payload[0], sealed.sources[path], uri, rollback)
        return self._uploads.packed(payload, sealed.sources, f"{folder}/{version_name.key}.zip", rollback)


def _framework(manifest: Manifest, uri: str) -> str | None:
    """Return the framework as ClearML spells it: what the caller says, or what the file's name suggests."""
    told = manifest.metadata.get("clearml_framework") or next((one.framework for one in manifest.models), None)
    if told:
        return _FRAMEWORKS.get(str(told).lower(), shown_text(str(told), _LONGEST_FRAMEWORK))
    found, _ = Framework._get_file_ext(framework=None, filename=uri)
    return str(found) if found else None
