"""Models as MLflow's own: a logged model with its flavor, a version in the Model Registry, aliases.

A put may have been interrupted after any step. So each step first looks for what an earlier attempt left, by the tag with
the put's id, which MLflow sets together with the model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tracelet.plugin import Labels, Manifest, SealedArtifact, StoredArtifact
from tracelet_mlflow.columns import parameters
from tracelet_mlflow.errors import code_of
from tracelet_mlflow.files import Repository, at_once, size_of, workspace
from tracelet_mlflow.flavors import Recipe, build, read_recipe
from tracelet_mlflow.runs import Home
from tracelet_mlflow.schemas import SCHEMA, SCHEMA_TAG, check_tags

__all__ = ["PUT", "Added", "Registry", "Removed", "shared_paths"]

_LOG = logging.getLogger("tracelet.mlflow")
PUT = "tracelet.put_id"
_MODEL = "tracelet.model"
#: The source of a registered model that was copied from another one begins so.
_COPIED = "models:/"
#: The name of a model that the user gave no name.
_MAIN = "model"
_NOT_IN_ALIASES = re.compile(r"[^\w-]", re.ASCII)
_NOT_IN_MODEL_NAMES = re.compile(r"[/:.%\"']")
#: The Model Registry reserves this alias, in small letters and capitals.
_RESERVED = "latest"
#: Characters that its database takes; SQLite takes more. The manifest has the whole text.
_LONGEST_NAME, _LONGEST_DESCRIPTION = 256, 5000
#: Its codes where there is no registry, or a model cannot be registered.
_NO_REGISTRY = frozenset({"INVALID_PARAMETER_VALUE", "FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"})
#: Its codes where a registered model is another user's, or was deleted.
_SOMEBODY_ELSES = frozenset({"PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST"})


@attrs.frozen
class Added:
    """What MLflow has of an artifact's models."""

    #: By model: its id, and its name and version in the Model Registry, if it is registered.
    models: dict[str, dict[str, str]]
    #: By path in the artifact, for each file that MLflow's form of a model has as well: where that is, and the path there.
    shared: dict[str, tuple[str, str]]


@attrs.frozen
class Removed:
    """What became of an artifact's models."""

    #: Bytes.
    freed: int
    #: Whether other models of the registry need some of the bytes, which are still there.
    kept: bool


def shared_paths(sealed: SealedArtifact) -> frozenset[str]:
    """Return the paths of the files that MLflow's form of the artifact's models has as well."""
    recipes = [read_recipe(folder) for folder in _rendered(sealed).values()]
    return frozenset(path for recipe in recipes for path in _shared(recipe, sealed.manifest))


class Registry:
    """The models of one experiment's artifacts in MLflow and its Model Registry."""

    def __init__(
        self, client: MlflowClient, experiment: str, directory: Path, repository: Callable[[str], Repository]
    ) -> None:
        """``directory`` is for temporary files. ``repository`` returns what stores the files of a model."""
        self._client = client
        self._experiment = experiment
        self._directory = directory
        self._repository = repository
        #: Names in the registry that are known to be models, and not prompts.
        self._models: set[str] = set()

    def add(self, sealed: SealedArtifact, home: Home, number: int, files: str, *, resumed: bool) -> Added:
        """Log and register the models of an artifact. Where it has none, register its plain files at ``files``.

        With ``resumed`` an earlier attempt may have done a part of it.
        """
        manifest = sealed.manifest
        rendered = _rendered(sealed)
        if not rendered:
            tags = self._tags(manifest, number, "")
            made = self._registered(manifest.name, files, home, tags, manifest.description, None, resumed=resumed)
            return Added({"": made}, {})
        found, shared = {}, {}
        for model, folder in rendered.items():
            tags = self._tags(manifest, number, model)
            recipe = read_recipe(folder)
            logged = self._logged(recipe, folder, manifest, home, tags, resumed=resumed)
            shared.update({path: (logged.artifact_location, name) for path, name in _shared(recipe, manifest).items()})
            entry = next(one for one in manifest.models if one.name == model)
            found[model] = {
                "model_id": logged.model_id,
                **self._registered(
                    _registered_name(manifest.name, model, rendered),
                    logged.artifact_location,
                    home,
                    {**tags, "tracelet.model_id": logged.model_id},
                    entry.description or manifest.description,
                    logged.model_id,
                    resumed=resumed,
                ),
            }
        return Added(found, shared)

    def name(self, models: Mapping[str, Mapping[str, str]], labels: Labels, number: int) -> None:
        """Set aliases of the Model Registry to an artifact's models. The exact label is a tag."""

        def one(name: str, version: str) -> None:
            if labels.version:
                self._client.set_model_version_tag(name, version, "tracelet.label", labels.version)
            for label in filter(None, (labels.version, *labels.aliases)):
                self._client.set_registered_model_alias(name, _alias(label), version)

        _each_registered(models, one)

    def unname(
        self, models: Mapping[str, Mapping[str, str]], aliases: Iterable[str], keep: Iterable[str | None]
    ) -> None:
        """Take aliases of the Model Registry away from an artifact's models, but for those of the names to ``keep``."""
        goes = {_alias(alias) for alias in aliases} - {_alias(name) for name in keep if name}

        def one(name: str, version: str) -> None:
            for alias in goes.intersection(self._client.get_model_version(name, version).aliases):
                self._client.delete_registered_model_alias(name, alias)

        _each_registered(models, one)

    def left_by(self, artifact: str, put_id: str, experiments: list[str]) -> dict[str, dict[str, str]]:
        """Return the models that a put made, as :meth:`add` does, wherever it was interrupted."""
        found: dict[str, dict[str, str]] = {}
        wanted = f"tags.`{PUT}` = '{put_id}'"
        for logged in self._client.search_logged_models(experiments, wanted) if experiments else ():
            found.setdefault(logged.tags.get(_MODEL, ""), {})["model_id"] = logged.model_id
        for version in self._versions(wanted):
            # A copy has the tags of what it was copied from.
            is_ours = version.name == artifact or version.name.startswith(f"{artifact}.")
            if is_ours and not str(version.source).startswith(_COPIED):
                model = found.setdefault(version.tags.get(_MODEL, ""), {})
                model |= {"name": version.name, "version": str(version.version)}
        return found

    def remove(
        self, what: str, models: Mapping[str, Mapping[str, str]], put_id: str, files: Collection[str]
    ) -> Removed:
        """Delete models that :meth:`add` made of a version, ``what`` for people, with their bytes.

        What other models of the registry need stays: who copies or registers one in MLflow gets a model of the same bytes.
        ``files`` are the addresses of the artifact's own files, which are the bytes of a model that has no form of MLflow's.
        """
        freed, kept = 0, False
        for own, model in models.items():
            name, version = model.get("name", ""), model.get("version", "")
            logged = self._standing(model["model_id"]) if "model_id" in model else None
            places = {logged.artifact_location, f"{_COPIED}{logged.model_id}"} if logged else {*files}
            if name:
                places.add(f"{_COPIED}{name}/{version}")
            others = self._others(own, put_id, places) - {(name, version)}
            if name:
                _unless_missing(self._client.delete_model_version, name, version)
            if others:
                told = ", ".join(f"{one!r} version {number}" for one, number in sorted(others))
                _LOG.warning("%s is deleted, and %s of the Model Registry needs its bytes: they stay.", what, told)
            elif logged:
                repository = self._repository(logged.artifact_location)
                freed += size_of(repository, None) or 0
                repository.delete_artifacts(None)
                _unless_missing(self._client.delete_logged_model, logged.model_id)
            kept = kept or bool(others)
        return Removed(freed, kept)

    def _standing(self, model_id: str) -> LoggedModel | None:
        try:
            return self._client.get_logged_model(model_id)
        except MlflowException as error:
            if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _others(self, model: str, put_id: str, sources: set[str]) -> set[tuple[str, str]]:
        """Return the versions of the registry that have the bytes of a model."""
        found = [one for one in self._versions(f"tags.`{PUT}` = '{put_id}'") if one.tags.get(_MODEL, "") == model]
        for source in sources:
            quote = '"' if "'" in source else "'"
            found += self._versions(f"source_path = {quote}{source}{quote}")
        return {(one.name, str(one.version)) for one in found}

    def _versions(self, wanted: str) -> list[ModelVersion]:
        try:
            return list(self._client.search_model_versions(wanted))
        except MlflowException as error:
            if code_of(error) not in _NO_REGISTRY - {"INVALID_PARAMETER_VALUE"}:
                raise
            return []

    def stand_in(self, stored: StoredArtifact, home: Home) -> str:
        """Return the id of a logged model that stands for an artifact of plain files, where a run uses the artifact.

        MLflow calls it external: its files are elsewhere. The first run of an experiment that uses the artifact makes it.
        """
        manifest = stored.manifest
        tags = {**self._tags(manifest, stored.number, ""), "mlflow.model.isExternal": "true"}
        logged = self._logged_before(home, tags)
        if logged is None:
            logged = self._client.create_logged_model(
                home.experiment_id, name=_model_name(manifest), tags=tags, params=parameters(manifest.metadata)
            )
            self._client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def _tags(self, manifest: Manifest, number: int, model: str) -> dict[str, str]:
        return {
            SCHEMA_TAG: str(SCHEMA),
            "tracelet.experiment": self._experiment,
            "tracelet.artifact": manifest.name,
            "tracelet.version": f"v{number}",
            "tracelet.type": manifest.type.value,
            "tracelet.digest": manifest.digest,
            PUT: manifest.put_id,
            _MODEL: model,
        }

    def _logged(
        self, recipe: Recipe, folder: Path, manifest: Manifest, home: Home, tags: dict[str, str], *, resumed: bool
    ) -> LoggedModel:
        logged = self._logged_before(home, tags) if resumed else None
        if logged is None:
            logged = self._client.create_logged_model(
                home.experiment_id,
                name=_model_name(manifest),
                source_run_id=home.run_id,
                tags=tags,
                params=parameters(manifest.metadata),
                model_type=recipe.framework,
            )
        if logged.status != "READY":
            with workspace(self._directory) as scratch:
                build(recipe, folder, scratch / "model", model_id=logged.model_id, run_id=home.run_id)
                self._upload(scratch / "model", self._repository(logged.artifact_location))
            self._client.log_outputs(home.run_id, [LoggedModelOutput(logged.model_id, step=0)])
            self._client.finalize_logged_model(logged.model_id, "READY")
        return logged

    def _upload(self, folder: Path, repository: Repository) -> None:
        def one(path: Path) -> None:
            above = path.parent.relative_to(folder).as_posix()
            repository.log_artifact(str(path), None if above == "." else above)

        at_once(one, sorted(path for path in folder.rglob("*") if path.is_file()))

    def _logged_before(self, home: Home, tags: dict[str, str]) -> LoggedModel | None:
        wanted = " AND ".join(f"tags.`{name}` = '{tags[name]}'" for name in (PUT, _MODEL))
        found = next(iter(self._client.search_logged_models([home.experiment_id], wanted, max_results=1)), None)
        if found is not None:
            check_tags(found.tags, f"the model {found.model_id} in MLflow")
        return found

    def _registered(
        self,
        name: str,
        source: str,
        home: Home,
        tags: dict[str, str],
        description: str | None,
        model_id: str | None,
        *,
        resumed: bool,
    ) -> dict[str, str]:
        version = self._registered_before(name, tags) if resumed else None
        try:
            if version is None:
                version = self._register(name, source, home, tags, description, model_id)
        except MlflowException as error:
            if code_of(error) not in _NO_REGISTRY | _SOMEBODY_ELSES:
                raise
            _LOG.warning("%r is stored, and the Model Registry does not take it: %s", name, error)
            return {}
        return {"name": name, "version": version}

    def _registered_before(self, name: str, tags: dict[str, str]) -> str | None:
        for found in self._client.search_model_versions(f"name = '{name}' AND tags.`{PUT}` = '{tags[PUT]}'"):
            if found.tags.get(_MODEL) == tags[_MODEL]:
                check_tags(found.tags, f"{name!r} version {found.version} of the Model Registry")
                return str(found.version)
        return None

    def _register(
        self,
        name: str,
        source: str,
        home: Home,
        tags: dict[str, str],
        description: str | None,
        model_id: str | None,
    ) -> str:
        def add() -> str:
            # The source is not `models:/…`: MLflow looks that up by its global state, which is not set here.
            made = self._client.create_model_version(
                name,
                source,
                home.run_id,
                tags=tags,
                description=description and description[:_LONGEST_DESCRIPTION],
                await_creation_for=0,
                model_id=model_id,
            )
            return str(made.version)

        if name in self._models:
            try:
                return add()
            except MlflowException as error:
                if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
                    raise
                # It was deleted meanwhile.
                self._models.remove(name)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if code_of(error) != "RESOURCE_ALREADY_EXISTS":
                raise
            # A prompt of that name would take the model for its newest version. This request fails for a prompt.
            self._client.get_registered_model(name)
        self._models.add(name)
        return add()


def _rendered(sealed: SealedArtifact) -> dict[str, Path]:
    """Return the folders of the models that have a form of MLflow's own, by name, the main one first."""
    if sealed.rendered is None:
        return {}
    folders = {folder.name: folder for folder in sorted(sealed.rendered.iterdir()) if folder.is_dir()}
    return dict(sorted(folders.items(), key=lambda item: item[0] != _MAIN))


def _shared(recipe: Recipe, manifest: Manifest) -> dict[str, str]:
    """Return, by path in the artifact, the path in MLflow's form of a model. Large files are in the store, and left out."""
    own = {file.artifact_path for file in manifest.payload}
    return {path: name for name, path in recipe.shared.items() if path in own}


def _model_name(manifest: Manifest) -> str:
    return _NOT_IN_MODEL_NAMES.sub("-", manifest.name)


def _registered_name(artifact: str, model: str, every: Iterable[str]) -> str:
    """Return the artifact's name for its first model, and that name with the model's for others."""
    return artifact if model == next(iter(every)) else f"{artifact}.{model}"[:_LONGEST_NAME]


def _alias(label: str) -> str:
    alias = _NOT_IN_ALIASES.sub("-", label)
    return f"{alias}-" if alias.lower() == _RESERVED else alias


def _each_registered(models: Mapping[str, Mapping[str, str]], call: Callable[[str, str], None]) -> None:
    """Call with name and version of each model in the Model Registry. One that is another user's, or is gone, is a warning."""
    for model in models.values():
        if "name" not in model:
            continue
        name, version = model["name"], model["version"]
        try:
            call(name, version)
        except MlflowException as error:
            if code_of(error) not in _SOMEBODY_ELSES:
                raise
            _LOG.warning(
                "the aliases of %r version %s in the Model Registry stay as they are: %s", name, version, error
            )


def _unless_missing(call: Any, *arguments: str) -> None:
    try:
        call(*arguments)
    except MlflowException as error:
        if code_of(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
