"""Models, checkpoints and weights: output models of the run's task, which ClearML's own users load by name or id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearml import OutputModel, Task

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import ArtifactType, Manifest, SealedArtifact
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import Blob
from tracelet_clearml.names import entity_name, file_name
from tracelet_clearml.runs import Home
from tracelet_clearml.shelves import Place, Title, Uploads, facts

__all__ = ["MODELS", "ModelShelf"]

MODELS = frozenset({ArtifactType.MODEL, ArtifactType.CHECKPOINT, ArtifactType.WEIGHTS})
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


class ModelShelf:
    """One file as it is, several as a package, as ClearML calls its zip."""

    def __init__(self, api: Api, uploads: Uploads) -> None:
        self._api = api
        self._uploads = uploads
        self._tasks: dict[str, Any] = {}

    def store(self, sealed: SealedArtifact, title: Title, home: Home) -> Place:
        """See :class:`~tracelet_clearml.shelves.Shelf`. Raises where ClearML does not show the model afterwards."""
        manifest = sealed.manifest
        folder = self._uploads.folder(home, manifest, title)
        blob = self._upload(sealed, folder, title)
        if home.task_id not in self._tasks:
            self._tasks[home.task_id] = Task.get_task(task_id=home.task_id)
        model = OutputModel(
            task=self._tasks[home.task_id],
            name=entity_name(manifest.name),
            tags=["tracelet", manifest.type.value, title.version],
            comment=manifest.description,
            framework=_framework(manifest),
        )
        model.update_weights(register_uri=blob.uri, is_package=blob.zipped, update_comment=False)
        key = str(model.id)
        noted = [
            {"key": name.replace(".", "_"), "type": "str", "value": value}
            for name, value in facts(manifest, title).items()
        ]
        self._api.call("models", "add_or_update_metadata", model=key, metadata=noted)
        found = self._api.call("models", "get_all", id=[key], only_fields=["id", "uri", "task"])["models"]
        if not found or found[0].get("uri") != blob.uri:
            raise BackendUnavailable(f"ClearML says that it has the model {title.key}, and does not show it.")
        return Place("model", home.task_id, home.project_id, (blob,), entity=key)

    def _upload(self, sealed: SealedArtifact, folder: str, title: Title) -> Blob:
        payload = sealed.manifest.payload
        if len(payload) == 1:
            path = payload[0].artifact_path
            # ClearML calls the model in its task by the file's name: that has the version in it.
            suffix = Path(path).suffix
            uri = f"{folder}/{title.key}{'.' + file_name(suffix) if suffix else ''}"
            return self._uploads.one(payload[0], sealed.sources[path], uri)
        return self._uploads.packed(payload, sealed.sources, f"{folder}/{title.key}.zip")


def _framework(manifest: Manifest) -> str | None:
    told = manifest.metadata.get("clearml_framework") or next((one.framework for one in manifest.models), None)
    return _FRAMEWORKS.get(str(told).lower(), str(told)) if told else None
