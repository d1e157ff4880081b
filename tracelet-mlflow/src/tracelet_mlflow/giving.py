"""Give MLflow's own form of a version's models to another MLflow, as ``rendering`` wrote it while they were alive.

No model is loaded for it. MLflow keeps no checksums. So a file that the artifact has as well is compared with the manifest,
and of the others the size of all together is.
"""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
from mlflow.exceptions import MlflowException
from yaml import YAMLError

from tracelet.exceptions import ArtifactError, ArtifactNotFound, IntegrityError
from tracelet.plugin import ArtifactModel, StoredArtifact, hash_blob, target_path
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.files import at_once
from tracelet_mlflow.flavors import PAYLOAD, take_apart, write_recipe
from tracelet_mlflow.records import Record

__all__ = ["give"]

_LOG = logging.getLogger("tracelet.mlflow")
#: What reading raises for files of MLflow's own that are damaged.
_FAULTS = (AttributeError, LookupError, MlflowException, OSError, RecursionError, TypeError, ValueError, YAMLError)


def give(connection: Connection, record: Record, stored: StoredArtifact, dest: Path) -> bool:
    """Write the form of every model of a version to ``dest``, an empty folder; tell whether all of it is there."""
    ids = {model.name: record.models.get(model.name, {}).get("model_id") for model in stored.manifest.models}
    try:
        for model in stored.manifest.models:
            model_id = ids[model.name]
            if model_id is None:
                return False
            _give(connection, record, model, model_id, dest / model.name)
    except (ArtifactError, ArtifactNotFound, IntegrityError) as error:
        _LOG.warning("MLflow's form of %r %s is not copied: %s", stored.manifest.name, stored.version, error)
        return False
    return True


def _give(connection: Connection, record: Record, model: ArtifactModel, model_id: str, folder: Path) -> None:
    place = _place(connection, model_id)
    payload = folder / PAYLOAD
    payload.mkdir(parents=True)
    _download(connection, place, payload)
    shared = _shared(model, payload)
    digests = {file.artifact_path: file.sha256 for file in model.files}
    for path, (where, name) in record.shared.items():
        if where == place and digests.get(path) != digests.get(shared.get(name, "")):
            raise IntegrityError(f"{name} of the model {model_id} in MLflow is not what was stored there.")
    try:
        write_recipe(attrs.evolve(take_apart(folder, str(model.framework)), shared=shared), folder)
    except _FAULTS as error:
        raise IntegrityError(f"the model {model_id} in MLflow is damaged: {error}") from error


def _place(connection: Connection, model_id: str) -> str:
    """Return where the files of a model are."""
    try:
        return str(connection.client.get_logged_model(model_id).artifact_location)
    except MlflowException as error:
        if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ArtifactNotFound(f"the model {model_id} was deleted in MLflow.") from error


def _download(connection: Connection, place: str, folder: Path) -> None:
    files = connection.foreign_files(place)
    at_once(lambda path: files.fetch(path, target_path(folder, path)), [info.path for info in files.walk("")])


def _shared(model: ArtifactModel, payload: Path) -> dict[str, str]:
    """Return, by path in the payload, the path of the artifact's own file that has the same bytes."""
    own = {file.sha256: file.artifact_path for file in model.files}
    sizes = {file.size_bytes for file in model.files}
    candidates = (path for path in payload.rglob("*") if path.is_file() and path.stat().st_size in sizes)
    found = {path.relative_to(payload).as_posix(): own.get(hash_blob(path)) for path in candidates}
    return {name: path for name, path in found.items() if path is not None}
