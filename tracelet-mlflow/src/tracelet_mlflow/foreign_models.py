"""Logged models and versions of registered models that were made without Tracelet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from mlflow.entities import LoggedModel, Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from tracelet.plugin import ArtifactReference, ArtifactType, ForeignArtifact, ForeignFile, redact
from tracelet_mlflow.asking import Asked
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.describing import NOTE, of_logged_model, of_registered, of_run, run_of
from tracelet_mlflow.files import at_once
from tracelet_mlflow.foreign_files import locator_of, named_files
from tracelet_mlflow.left_out import LeftOut
from tracelet_mlflow.lineage import Lineage
from tracelet_mlflow.registry import PUT

__all__ = ["ForeignModels", "Held", "versions_from"]

_MODELS, _RUNS = "models:/", "runs:/"
_READY = "READY"
#: The alias that MLflow gives to nobody, and reads as the newest version.
_LATEST = "latest"


@attrs.frozen
class _Bytes:
    """Where the files of a registered version are."""

    uri: str
    model: LoggedModel | None
    #: The run whose artifacts they are among, and their path there; empty where they are elsewhere.
    run_id: str
    path: str


@attrs.frozen
class Held:
    """What the files of registered versions are in MLflow besides."""

    model_ids: set[str] = attrs.Factory(set)
    #: Runs, and paths among their artifacts.
    run_paths: set[tuple[str, str]] = attrs.Factory(set)


class ForeignModels:
    """The models that were logged and registered without Tracelet."""

    def __init__(self, connection: Connection, asked: Asked, lineage: Lineage, left_out: LeftOut) -> None:
        self._connection = connection
        self._asked = asked
        self._lineage = lineage
        self._left_out = left_out

    def logged(self, models: list[LoggedModel]) -> list[ForeignArtifact]:
        """Return an artifact for each logged model that is whole and has files."""

        def attempt(model: LoggedModel) -> list[ForeignArtifact]:
            what = _called_model(model)
            return self._left_out.attempt(what, lambda: self._logged(model), lambda: self._unread_model(model))

        return [one for some in at_once(attempt, [one for one in models if PUT not in one.tags]) for one in some]

    def registered(
        self, versions: list[ModelVersion], names: Mapping[str, RegisteredModel]
    ) -> tuple[list[ForeignArtifact], Held]:
        """Return an artifact for each version of registered models that is whole, and what their files are besides.

        ``names`` has the aliases.
        """
        places: dict[tuple[str, str], _Bytes] = {}
        held = Held()

        def place(version: ModelVersion) -> list[ForeignArtifact]:
            places[version.name, str(version.version)] = self._bytes(version)
            return []

        def read(version: ModelVersion) -> list[ForeignArtifact]:
            where = places[version.name, str(version.version)]
            found = self._registered(version, where, names.get(version.name))
            if found and where.model is not None:
                held.model_ids.add(where.model.model_id)
            if found:
                held.run_paths.add((where.run_id, where.path))
            return found

        def attempt(
            step: Callable[[ModelVersion], list[ForeignArtifact]], some: list[ModelVersion]
        ) -> list[ForeignArtifact]:
            def one(version: ModelVersion) -> list[ForeignArtifact]:
                return self._left_out.attempt(
                    _called(version), lambda: step(version), lambda: self._unread_version(version)
                )

            return [found for several in at_once(one, some) for found in several]

        theirs = [version for version in versions if PUT not in version.tags]
        lost = attempt(place, theirs)
        placed = [version for version in theirs if (version.name, str(version.version)) in places]
        for version in sorted(placed, key=lambda one: int(one.creation_timestamp)):
            model = places[version.name, str(version.version)].model
            if model is not None:
                self._lineage.list_as(model.model_id, version)
        return [*lost, *attempt(read, placed)], held

    def _logged(self, model: LoggedModel) -> list[ForeignArtifact]:
        what = _called_model(model)
        if not self._is_whole(what, model.status):
            return []
        run = self._asked.run(model.source_run_id)
        found = ForeignArtifact(
            address=self._lineage.of_model(model.model_id),
            name=model.name,
            type=ArtifactType.MODEL,
            kind="logged model",
            experiment=self._asked.experiment_name(model.experiment_id),
            description=model.tags.get(NOTE),
            metadata={**_of(run), **of_logged_model(model)},
            created_at=model.creation_timestamp / 1000,
            run=None if run is None else run_of(run),
            files=self._files(model.artifact_location, what),
            inputs=self._lineage.inputs(model.source_run_id, own=False),
            locator=locator_of(model.artifact_location),
        )
        return [found]

    def _registered(
        self, version: ModelVersion, where: _Bytes, registered: RegisteredModel | None
    ) -> list[ForeignArtifact]:
        what = _called(version)
        if not self._is_whole(what, version.status):
            return []
        files: tuple[ForeignFile, ...] = ()
        references: tuple[ArtifactReference, ...] = ()
        if self._connection.can_read(where.uri):
            files = self._files(where.uri, what)
        else:
            references = (ArtifactReference(redact(where.uri), description="where MLflow says that the model is"),)
        run = self._asked.run(version.run_id)
        home = run.info.experiment_id if run else where.model.experiment_id if where.model else None
        logged = {"logged_model": of_logged_model(where.model)} if where.model else {}
        found = ForeignArtifact(
            address=self._lineage.of_version(version),
            name=version.name,
            type=ArtifactType.MODEL,
            kind="registered model",
            version=str(version.version),
            experiment=self._asked.experiment_name(home) if home else "",
            description=version.description or None,
            metadata={**_of(run), **of_registered(version, registered), **logged},
            aliases=_aliases(version, registered),
            created_at=version.creation_timestamp / 1000,
            run=None if run is None else run_of(run),
            files=files,
            references=references,
            inputs=self._lineage.inputs(version.run_id, own=False),
            locator=locator_of(where.uri),
        )
        return [found]

    def _unread_model(self, model: LoggedModel) -> ForeignArtifact:
        return ForeignArtifact(
            address=self._lineage.of_model(model.model_id),
            name=model.name,
            type=ArtifactType.MODEL,
            kind="logged model",
            experiment=self._asked.experiment_name(model.experiment_id),
            created_at=model.creation_timestamp / 1000,
        )

    def _unread_version(self, version: ModelVersion) -> ForeignArtifact:
        run = self._asked.run(version.run_id)
        return ForeignArtifact(
            address=self._lineage.of_version(version),
            name=version.name,
            type=ArtifactType.MODEL,
            kind="registered model",
            version=str(version.version),
            experiment=self._asked.experiment_name(run.info.experiment_id) if run else "",
            created_at=version.creation_timestamp / 1000,
        )

    def _files(self, artifact_uri: str, what: str) -> tuple[ForeignFile, ...]:
        return named_files(self._connection.foreign_files(artifact_uri).walk(""), "", what, self._left_out)

    def _is_whole(self, what: str, status: str) -> bool:
        if status != _READY:
            self._left_out.note(what, f"MLflow has it as {status}, so it may not be whole.")
        return status == _READY

    def _bytes(self, version: ModelVersion) -> _Bytes:
        uri, run, model = str(version.source or ""), self._asked.run(version.run_id), None
        if uri.startswith(_RUNS):
            run_id, _, path = uri.removeprefix(_RUNS).strip("/").partition("/")
            run = self._asked.run(run_id)
            uri = f"{run.info.artifact_uri}/{path}" if run else uri
        elif uri.startswith(_MODELS):
            name = uri.removeprefix(_MODELS).strip("/")
            model = None if "/" in name else self._asked.model(name)
            uri = model.artifact_location if model else self._asked.files_of(version)
        uri = uri.rstrip("/")
        model = model or self._asked.model_at(uri)
        above = f"{run.info.artifact_uri.rstrip('/')}/" if run else ""
        if run is not None and uri.startswith(above):
            return _Bytes(uri, model, run.info.run_id, uri.removeprefix(above))
        return _Bytes(uri, model, "", "")


def versions_from(
    versions: list[ModelVersion], run_ids: frozenset[str], models: list[LoggedModel]
) -> list[ModelVersion]:
    """Return the versions that are of one of the runs or logged models, and what was copied from those."""
    sources = {f"{_MODELS}{model.model_id}" for model in models}
    sources |= {model.artifact_location.rstrip("/") for model in models}
    found: list[ModelVersion] = []
    left = versions
    while True:
        belongs = [one.run_id in run_ids or str(one.source or "").rstrip("/") in sources for one in left]
        more = [one for one, does in zip(left, belongs, strict=True) if does]
        if not more:
            return found
        found += more
        left = [one for one, does in zip(left, belongs, strict=True) if not does]
        sources |= {f"{_MODELS}{one.name}/{one.version}" for one in more}


def _of(run: Run | None) -> dict[str, object]:
    return {} if run is None else of_run(run)


def _aliases(version: ModelVersion, registered: RegisteredModel | None) -> tuple[str, ...]:
    known = registered.aliases if registered else {}
    own = [alias for alias, number in known.items() if str(number) == str(version.version)]
    return tuple(sorted(alias for alias in own if alias.lower() != _LATEST))


def _called_model(model: LoggedModel) -> str:
    return f"the logged model {model.name!r} ({model.model_id})"


def _called(version: ModelVersion) -> str:
    return f"version {version.version} of the registered model {version.name!r}"
