"""The experiments of a server: the projects whose hidden index has a version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tracelet_clearml.api import PAGE, Api
from tracelet_clearml.names import experiment_name
from tracelet_clearml.projects import INDEX
from tracelet_clearml.record_names import Query

__all__ = ["experiments"]


def experiments(api: Api) -> Iterator[str]:
    """Yield the names of the experiments, as users gave them."""
    asked = {"name": f"/{re.escape(INDEX)}$", "only_fields": ["id", "name"], "order_by": ["name"]}
    found = {str(one["id"]): str(one.get("name")) for one in api.pages("projects", **asked)}
    # Some databases ignore a last line break, or the case, in a pattern.
    indexes = {key: name.removesuffix(f"/{INDEX}") for key, name in found.items() if name.endswith(f"/{INDEX}")}
    for key in _with_versions(api, set(indexes)):
        name = experiment_name(indexes[key])
        if name is not None:
            yield name


def _with_versions(api: Api, indexes: set[str]) -> Iterator[str]:
    """Yield the ids of those indexes that have a version.

    A request is about all that are left, and finds at least one of them, or is the last one.
    """
    ways: list[dict[str, Any]] = [{"name": Query().pattern}, {"tags": Query().old_tags}]
    for way in ways:
        more = True
        while more and indexes:
            asked = {"project": sorted(indexes), "only_fields": ["id", "project"], "page": 0, "page_size": PAGE}
            tasks = api.call("tasks", "get_all", **asked, **way)["tasks"]
            seen = {str(one.get("project")) for one in tasks} & indexes
            more = len(tasks) == PAGE and bool(seen)
            yield from seen
            indexes = indexes - seen
