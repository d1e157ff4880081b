"""Which experiments one MLflow holds: those that have an index."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType

from tracelet_mlflow.index import ROOT, SUFFIX

__all__ = ["experiments_in", "indexes_in"]

_PAGE = 1000


def experiments_in(client: MlflowClient) -> list[str]:
    """Return the names of the experiments that have an index, without those that somebody deleted.

    An experiment in which nothing is stored yet has one, too. MLflow would be asked about each to tell it apart.
    """
    # An index that is being made has another name, and gets its own when it is whole.
    indexes = indexes_in(client, ViewType.ACTIVE_ONLY)
    names = [one.name.removesuffix(SUFFIX) for one in indexes if one.name.endswith(SUFFIX)]
    # MLflow's pages show no index, so who deletes an experiment there leaves its index.
    deleted = {one.name for one in _searched(client, ViewType.DELETED_ONLY, None)}
    return [name for name in names if name not in deleted]


def indexes_in(client: MlflowClient, view: int) -> Iterator[Experiment]:
    """Yield the index of every experiment."""
    return _searched(client, view, f"tags.`{ROOT}` != ''")


def _searched(client: MlflowClient, view: int, text: str | None) -> Iterator[Experiment]:
    page = None
    while True:
        found = client.search_experiments(view, max_results=_PAGE, filter_string=text, page_token=page)
        yield from found
        page = found.token
        if not page:
            return
