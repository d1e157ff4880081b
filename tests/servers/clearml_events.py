"""The events of a stand-in ClearML server: what is shown beside a task."""

from __future__ import annotations

import hashlib

from servers.clearml_documents import NO_ITEMS, Body, Document, Documents, Refused, endpoint

_NOT_ADDED = 131
#: Tasks that take no events (`LOCKED_TASK_STATUSES` in `apiserver/bll/event/event_bll.py`).
_LOCKED = {"publishing", "published"}
#: `EventType` in `apiserver/bll/event/event_common.py`.
_TYPES = {"training_stats_scalar", "training_stats_vector", "training_debug_image", "plot", "log"}


@endpoint("events.add_batch")
def events_add_batch(db: Documents, body: Body) -> Document:
    """`EventBLL.add_events` in `apiserver/bll/event/event_bll.py`."""
    if not body["events"]:
        raise Refused(400, NO_ITEMS, "Batch request contains no items")
    tasks = db.kinds["tasks"]
    taken = [
        one
        for one in body["events"]
        if one.get("type") in _TYPES and tasks.get(one["task"], {"status": "published"})["status"] not in _LOCKED
    ]
    for one in taken:
        db.note(one)
    for key in {one["task"] for one in taken}:
        _note_scalars(db, key, [one for one in taken if one["task"] == key and one["type"] == "training_stats_scalar"])
    if not taken:
        raise Refused(400, _NOT_ADDED, "Events not added: Invalid task id")
    return {"added": len(taken), "errors": len(body["events"]) - len(taken)}


def _note_scalars(db: Documents, task: str, events: list[Document]) -> None:
    """`_update_last_scalar_events_for_task` there, and `get_last_metric_updates` in `apiserver/bll/task/utils.py`.

    The last value of a batch counts, whatever came before. What the true server counts besides, such as means, is not here.
    """
    last: dict[tuple[str, str], Document] = {}
    for one in events:
        key = str(one.get("metric") or ""), str(one.get("variant") or "")
        if one.get("value") is not None and _moment(one) >= _moment(last.get(key, one)):
            last[key] = one
    if last:
        found = db.get("tasks", task)
        metrics = found.setdefault("last_metrics", {})
        for (metric, variant), one in last.items():
            # `hash_field_name` in `apiserver/database/utils.py`.
            hashes = [hashlib.md5(name.encode()).hexdigest() for name in (metric, variant)]
            told = {"metric": metric, "variant": variant, "value": one["value"]}
            metrics.setdefault(hashes[0], {})[hashes[1]] = told
        db.save("tasks", found)


def _moment(event: Document) -> tuple[int, int]:
    return event.get("iter", 0), event.get("timestamp", 0)
