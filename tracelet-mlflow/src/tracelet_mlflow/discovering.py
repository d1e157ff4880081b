"""What was logged in MLflow without Tracelet, so that it can be imported.

Of a run, each folder and each file at the top of its artifacts is an artifact. Several runs have versions of one name. A
logged model is one, too, and so is a version of a registered model. MLflow has one set of bytes for a logged model, or for
a model in a run, and for the versions that were registered from it. Such bytes come once for each name that somebody
registered them under, because that is the name by which people know them, and not once more as what they were registered
from. The version's metadata says which logged model that was.

What has a deleted run is left out with it, but not a registered version or a logged model: in MLflow they outlive the run.
What Tracelet stored is known by its marks: an index has the tag of a root, a model the tag of a put, and a folder has the
manifest in it. Traces and prompts hold no files, and are none of this.
"""

from __future__ import annotations

from pathlib import Path

import attrs
from mlflow.entities import Experiment, LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from tracelet.exceptions import ArtifactNotFound, IntegrityError
from tracelet.plugin import ArtifactType, ForeignArtifact, ForeignFile, target_path
from tracelet_mlflow.asking import Asked
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.files import at_once
from tracelet_mlflow.foreign_files import stored_at
from tracelet_mlflow.foreign_models import ForeignModels, versions_from
from tracelet_mlflow.foreign_runs import ForeignRuns, is_ours
from tracelet_mlflow.index import ROOT
from tracelet_mlflow.left_out import LeftOut, check_read
from tracelet_mlflow.lineage import Lineage
from tracelet_mlflow.pages import logged_models, model_versions, registered_models, runs
from tracelet_mlflow.places import ExperimentPlace, LoggedModelPlace, ModelPlace, RunPlace, no_such_place, parse_place
from tracelet_mlflow.registry import PUT

__all__ = ["discover", "fetch"]

_ACTIVE = "active"
_LATEST = "latest"
#: Experiments among which a name that is like a wrong one is looked for.
_NEAR = 1000


def discover(connection: Connection, place: str) -> list[ForeignArtifact]:
    """Return what is at a place, those of one name oldest first; see :class:`~tracelet.plugin.Discovers`.

    What cannot be read is among it, and its fetch says why. Where nothing can be read, that error is raised.
    """
    left_out = LeftOut(connection.shown)
    found = _arranged(_Look(connection, left_out).at(place))
    left_out.raise_first()
    return found


def fetch(connection: Connection, found: ForeignArtifact, dest: Path) -> None:
    """Write the files of what was discovered; see :class:`~tracelet.plugin.Discovers`."""
    check_read(found)
    artifact_uri, folder = stored_at(found.locator)
    store = connection.foreign_files(artifact_uri)

    def one(file: ForeignFile) -> None:
        target = target_path(dest, file.path)
        store.fetch(f"{folder}/{file.path}" if folder else file.path, target)
        size = target.stat().st_size
        if file.size_bytes is not None and file.size_bytes != size:
            raise IntegrityError(
                f"{file.path} of {found.address} came with {size:,} bytes, and MLflow's list had {file.size_bytes:,}: it "
                "was changed meanwhile, or is damaged. Import it again."
            )

    at_once(one, found.files)


class _Look:
    """One look at MLflow."""

    def __init__(self, connection: Connection, left_out: LeftOut) -> None:
        self._connection = connection
        self._client = connection.client
        self._asked = Asked(connection)
        lineage = Lineage(self._asked)
        self._runs = ForeignRuns(connection, self._asked, lineage, left_out)
        self._models = ForeignModels(connection, self._asked, lineage, left_out)

    def at(self, text: str) -> list[ForeignArtifact]:
        place = parse_place(text)
        if isinstance(place, ExperimentPlace):
            return self._of_experiment(self._experiment(place.text))
        if isinstance(place, RunPlace):
            run = self._run(place.run_id)
            return self._in_run(text, run, place.path) if place.path else self._of_run(run)
        if isinstance(place, LoggedModelPlace):
            model = self._asked.model(place.model_id)
            if model is not None:
                return self._logged(text, [model])
            place = ModelPlace(place.model_id)
        return self._of_name(text, place)

    def _experiment(self, text: str) -> Experiment:
        found = self._asked.experiment(text)
        if found is None:
            others = self._client.search_experiments(max_results=_NEAR)
            names = [one.name for one in others if ROOT not in one.tags]
            raise no_such_place(f"there is no experiment {text!r} in MLflow at {self._asked.server}", text, names)
        if found.lifecycle_stage != _ACTIVE:
            raise no_such_place(
                f"the MLflow experiment {text!r} was deleted: `mlflow experiments restore -x {found.experiment_id}` "
                "brings it back"
            )
        if ROOT in found.tags:
            raise _ours(text)
        return found

    def _of_experiment(self, experiment: Experiment) -> list[ForeignArtifact]:
        every = runs(self._client, experiment.experiment_id)
        models = logged_models(self._client, experiment.experiment_id)
        self._asked.know(every, models)
        run_ids = frozenset(run.info.run_id for run in every)
        return self._all(every, models, versions_from(model_versions(self._client), run_ids, models))

    def _run(self, run_id: str) -> Run:
        run = self._asked.run(run_id)
        if run is None:
            raise no_such_place(f"there is no run {run_id!r} in MLflow at {self._asked.server}")
        if run.info.lifecycle_stage != _ACTIVE:
            raise no_such_place(
                f"the MLflow run {run_id!r} was deleted: `mlflow runs restore --run-id {run_id}` brings it back"
            )
        return run

    def _of_run(self, run: Run) -> list[ForeignArtifact]:
        models = self._models_of(run)
        run_ids = frozenset({run.info.run_id})
        versions = model_versions(self._client, f"run_id = '{run.info.run_id}'")
        return self._all([run], models, versions_from(versions, run_ids, models))

    def _in_run(self, text: str, run: Run, path: str) -> list[ForeignArtifact]:
        """Return a file or folder of a run; or the model that it logged under that name, which MLflow 3 keeps elsewhere."""
        store = self._connection.foreign_files(run.info.artifact_uri)
        above = path.rpartition("/")[0]
        there = store.entries(above)
        entry = next((info for info in there if info.path == path), None)
        parts = path.split("/")
        if entry is not None and len(parts) > 1 and is_ours(run, store)("/".join(parts[:2])):
            raise _ours(text)
        found = self._runs.at(run, store, [entry]) if entry is not None else []
        if found:
            return found
        models = self._models_of(run)
        named = [model for model in models if model.name == path]
        if not named:
            others = [*(info.path for info in there), *(str(model.name) for model in models)]
            raise no_such_place(f"{text!r} has no files that were logged without Tracelet", path, others)
        return self._logged(text, named)

    def _models_of(self, run: Run) -> list[LoggedModel]:
        models = logged_models(self._client, run.info.experiment_id, f"source_run_id = '{run.info.run_id}'")
        self._asked.know(models=models)
        return models

    def _of_name(self, text: str, place: ModelPlace) -> list[ForeignArtifact]:
        registered = self._asked.registered(place.name)
        if registered is None:
            names = [one.name for one in registered_models(self._client)]
            raise no_such_place(
                f"there is no registered model {place.name!r} in MLflow at {self._asked.server}", place.name, names
            )
        quote = '"' if "'" in place.name else "'"
        every = model_versions(self._client, f"name = {quote}{place.name}{quote}")
        wanted = _chosen(place, every, registered)
        if not wanted and (place.version or place.alias):
            numbers = ", ".join(sorted((str(one.version) for one in every), key=int)) or "none"
            raise no_such_place(
                f"{text!r} names no version of {place.name!r}: it has the versions {numbers}, and the aliases "
                f"{', '.join(sorted(registered.aliases)) or 'none'}"
            )
        if wanted and all(PUT in one.tags for one in wanted):
            raise _ours(text)
        return self._models.registered(wanted, {place.name: registered})[0]

    def _logged(self, text: str, models: list[LoggedModel]) -> list[ForeignArtifact]:
        if all(PUT in model.tags for model in models):
            raise _ours(text)
        return self._models.logged(models)

    def _all(self, every: list[Run], models: list[LoggedModel], versions: list[ModelVersion]) -> list[ForeignArtifact]:
        names = {one.name: one for one in registered_models(self._client)} if versions else {}
        registered, held = self._models.registered(versions, names)
        logged = self._models.logged([model for model in models if model.model_id not in held.model_ids])
        standing = [run for run in every if run.info.lifecycle_stage == _ACTIVE]
        return [*registered, *logged, *self._runs.found(standing, held.run_paths)]


def _chosen(place: ModelPlace, versions: list[ModelVersion], registered: RegisteredModel) -> list[ModelVersion]:
    """Return the versions that a place names."""
    if not place.version and not place.alias:
        return versions
    number = str(registered.aliases.get(place.alias)) if place.alias else place.version
    if _LATEST in (place.version, place.alias):
        number = str(max((int(one.version) for one in versions), default=0))
    return [one for one in versions if str(one.version) == number]


def _ours(text: str) -> ArtifactNotFound:
    return no_such_place(f"{text!r} is Tracelet's own, and `tracelet copy` copies that")


def _arranged(found: list[ForeignArtifact]) -> list[ForeignArtifact]:
    """Return versions in the order of names, those of one name oldest first.

    A folder may hold other kinds of files in each run, and is the same folder all the same: of several types it is of none
    in particular. What is a model in one run and none in another is two things.
    """
    types: dict[str, set[ArtifactType]] = {}
    for one in found:
        if one.type is not ArtifactType.MODEL:
            types.setdefault(one.name, set()).add(one.type)
    told = [
        attrs.evolve(one, type=ArtifactType.CUSTOM)
        if one.type is not ArtifactType.MODEL and len(types[one.name]) > 1
        else one
        for one in found
    ]
    # Versions that were registered in one instant are in the order of their numbers.
    return sorted(told, key=lambda one: (one.name, one.created_at, one.version.zfill(20), one.address))
