"""Which ClearML datasets come from which, and the deletion of those that no other needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from tracelet_clearml.api import Api
from tracelet_clearml.blobs import remove
from tracelet_clearml.records import Blob, deleted, is_deleted

__all__ = ["delete_dataset", "delete_unneeded"]

#: The system tag of every dataset, and where the SDK notes all that a dataset comes from.
_DATASET, _STRUCTURE = "dataset", "Dataset Struct"


@attrs.frozen
class _Dataset:
    """A dataset on the server."""

    created: str
    runtime: Mapping[str, Any]
    #: The ids of the datasets that it comes from. None if that cannot be read, as of one that is being made.
    above: frozenset[str] | None

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> _Dataset:
        """Read the task of a dataset."""
        try:
            nodes = json.loads(task["configuration"][_STRUCTURE]["value"]).values()
            above: frozenset[str] | None = frozenset(str(node["job_id"]) for node in nodes) - {str(task["id"])}
        except (AttributeError, LookupError, TypeError, ValueError):
            above = None
        return cls(str(task.get("created") or ""), task.get("runtime") or {}, above)

    def may_need(self, key: str, created: str) -> bool:
        """Say whether it may come from another dataset, which was made at that time."""
        return self.created >= created if self.above is None else key in self.above


def delete_unneeded(api: Api, keys: Collection[str]) -> int:
    """Delete those datasets that no other comes from, and then those that were kept for their sake alone.

    One that others come from stays, and is marked as deleted.

    Returns:
        The bytes that became free.

    """
    fields = ["id", "created", "runtime", f"configuration.{_STRUCTURE}"]
    found = api.pages("tasks", system_tags=[_DATASET], only_fields=fields, order_by=["id"])
    known = {str(task["id"]): _Dataset.of(task) for task in found}
    waiting, freed = set(keys) & set(known), 0
    while unneeded := [one for one in waiting if not _is_needed(one, known)]:
        for one in unneeded:
            freed += delete_dataset(api, one)
            above = known.pop(one).above or ()
            waiting |= {key for key in above if key in known and is_deleted(known[key].runtime)}
        waiting -= set(unneeded)
    for one in waiting:
        if not is_deleted(known[one].runtime):
            api.call("tasks", "edit", task=one, runtime={**known[one].runtime, **deleted()}, force=True)
    return freed


def _is_needed(key: str, known: Mapping[str, _Dataset]) -> bool:
    return any(one.may_need(key, known[key].created) for other, one in known.items() if other != key)


def delete_dataset(api: Api, key: str) -> int:
    """Delete a dataset, and its files; return their bytes."""
    found = api.call("tasks", "get_all", id=[key], only_fields=["id", "execution.artifacts"])["tasks"]
    artifacts = found[0].get("execution", {}).get("artifacts") or [] if found else []
    api.call_unless_gone("tasks", "delete", task=key, force=True)
    sizes = {str(one.get("uri")): int(one.get("content_size") or 0) for one in artifacts}
    return sum(remove(Blob(uri, size, "", ())) for uri, size in sizes.items() if key in uri)
