"""What W&B knows of the runs that logged something: names, configurations, last values, and what they used."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from typing import Any

import attrs

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable
from tracelet.plugin import ForeignRun
from tracelet_wandb.connection import Place

__all__ = ["ToldRun", "told_runs"]

_LOG = logging.getLogger("tracelet.import")

#: Runs in a query.
_PAGE = 20
_RUN = """
fragment TraceletToldRun on Run {
  name
  displayName
  config
  summaryMetrics
  inputArtifacts(first: 100) { pageInfo { endCursor hasNextPage } edges { node { id } } }
}
"""
_MORE_INPUTS = """
query TraceletForeignInputs($entity: String!, $project: String!, $run: String!, $cursor: String) {
  project(entityName: $entity, name: $project) {
    run(name: $run) {
      inputArtifacts(after: $cursor, first: 100) { pageInfo { endCursor hasNextPage } edges { node { id } } }
    }
  }
}
"""


@attrs.frozen
class ToldRun:
    """A run as W&B tells it."""

    run: ForeignRun
    #: Ids of the versions that it used.
    inputs: tuple[str, ...]
    #: Whether Tracelet began it.
    is_own: bool


def told_runs(place: Place, names: Collection[str]) -> dict[str, ToldRun]:
    """Return runs of a project by their ids, as far as they are there. One that cannot be read is told by a warning."""
    ordered = sorted(names)
    found: dict[str, ToldRun] = {}
    for start in range(0, len(ordered), _PAGE):
        found |= _told(place, ordered[start : start + _PAGE])
    return found


def _told(place: Place, names: list[str]) -> dict[str, ToldRun]:
    """Ask for several runs at once. Where the server refuses, one of them may be the reason: each half is asked for again."""
    fields = " ".join(f"r{number}: run(name: $r{number}) {{ ...TraceletToldRun }}" for number in range(len(names)))
    declared = " ".join(f"$r{number}: String!" for number in range(len(names)))
    query = (
        f"query TraceletForeignRuns($entity: String!, $project: String!, {declared}) "
        f"{{ project(entityName: $entity, name: $project) {{ {fields} }} }}{_RUN}"
    )
    variables = {"entity": place.entity, "project": place.project}
    variables |= {f"r{number}": name for number, name in enumerate(names)}
    try:
        answer = place.ask(query, variables)["project"] or {}
        return {node["name"]: _run(place, node) for node in answer.values() if node is not None}
    except (BackendUnavailable, BackendAuthError):
        raise
    except (BackendError, ValueError, TypeError) as error:
        if len(names) == 1:
            _LOG.warning(
                "W&B does not tell the run %s, so what it logged comes without its parameters and metrics: %s",
                place.path(names[0]),
                error,
            )
            return {}
    middle = len(names) // 2
    return _told(place, names[:middle]) | _told(place, names[middle:])


def _run(place: Place, node: dict[str, Any]) -> ToldRun:
    config = {
        key: one["value"] if isinstance(one, dict) and "value" in one else one
        for key, one in json.loads(node["config"] or "{}").items()
    }
    summary = json.loads(node["summaryMetrics"] or "{}")
    return ToldRun(
        ForeignRun(
            id=node["name"],
            name=node["displayName"] or "",
            parameters={key: value for key, value in config.items() if key != "_wandb"},
            metrics={key: _plain(value) for key, value in summary.items() if key[:1] != "_" and _is_plain(value)},
        ),
        tuple(_inputs(place, node)),
        isinstance(config.get("tracelet"), dict) and "run" in config["tracelet"],
    )


def _inputs(place: Place, node: dict[str, Any]) -> Iterator[str]:
    page = node["inputArtifacts"]
    yield from (edge["node"]["id"] for edge in page["edges"])
    variables = {"entity": place.entity, "project": place.project, "run": node["name"]}
    while page["pageInfo"]["hasNextPage"]:
        answer = place.ask(_MORE_INPUTS, {**variables, "cursor": page["pageInfo"]["endCursor"]})
        page = answer["project"]["run"]["inputArtifacts"]
        yield from (edge["node"]["id"] for edge in page["edges"])


def _is_plain(value: Any) -> bool:
    """Whether a last value is a number, a text or several of them, and no picture, table or the like."""
    return not isinstance(value, (dict, list)) or (isinstance(value, dict) and "_type" not in value)


def _plain(value: Any) -> Any:
    """Return a last value with what is plain in it, such as the ``min`` and ``max`` that ``define_metric`` asks for."""
    if not isinstance(value, dict):
        return value
    return {key: _plain(one) for key, one in value.items() if _is_plain(one)}
