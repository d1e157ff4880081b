"""The events of a stand-in ClearML server: what is shown beside a task."""

from __future__ import annotations

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
    if not taken:
        raise Refused(400, _NOT_ADDED, "Events not added: Invalid task id")
    return {"added": len(taken), "errors": len(body["events"]) - len(taken)}
