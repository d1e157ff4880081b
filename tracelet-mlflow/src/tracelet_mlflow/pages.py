"""All that MLflow has of a kind, however many pages its answer has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from tracelet_mlflow.errors import code_of

__all__ = ["logged_models", "model_versions", "registered_models", "runs"]

T = TypeVar("T")

#: What MLflow gives in one answer at most, or what its own client asks for where it would give more.
_RUNS, _LOGGED, _VERSIONS, _NAMES = 1000, 100, 10_000, 1000
#: MLflow's codes where it has no such things: an earlier server, or one without a registry.
_NONE_HERE = frozenset({"FEATURE_DISABLED", "ENDPOINT_NOT_FOUND"})


def runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """Return every run of an experiment, also those that were deleted."""
    return list(_pages(lambda page: client.search_runs([experiment_id], "", ViewType.ALL, _RUNS, page_token=page)))


def logged_models(client: MlflowClient, experiment_id: str, wanted: str = "") -> list[LoggedModel]:
    """Return the logged models of an experiment that MLflow's search finds, which has none of those that were deleted."""
    return _if_any(
        lambda page: client.search_logged_models([experiment_id], wanted or None, max_results=_LOGGED, page_token=page)
    )


def model_versions(client: MlflowClient, wanted: str = "") -> list[ModelVersion]:
    """Return the versions of registered models that MLflow's search finds. They are without their aliases."""
    return _if_any(lambda page: client.search_model_versions(wanted or None, _VERSIONS, page_token=page))


def registered_models(client: MlflowClient) -> list[RegisteredModel]:
    """Return every registered model, with its aliases."""
    return _if_any(lambda page: client.search_registered_models(max_results=_NAMES, page_token=page))


def _pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    page = None
    while True:
        found = search(page)
        yield from found
        page = found.token
        if not page:
            return


def _if_any(search: Callable[[str | None], Any]) -> list[Any]:
    try:
        return list(_pages(search))
    except MlflowException as error:
        if code_of(error) not in _NONE_HERE:
            raise
        return []
