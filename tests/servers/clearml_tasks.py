"""The tasks of a stand-in ClearML server: their statuses, and what each endpoint takes in which of them.

The rules are those of the server's own sources: a task's contents are changed while it is new, and by force while it
runs, and never after; its fields (`tasks.edit`) by force at any time; its status along the edges of a machine, or by
force along none.
"""

from __future__ import annotations

import copy
from typing import Any

from servers.clearml_documents import (
    ENDPOINTS,
    SCHEMA,
    Body,
    Document,
    Documents,
    Endpoint,
    Refused,
    Unknown,
    endpoint,
    named,
    now,
    select,
    tags_of,
    visible,
)

_FIELDS = {
    *("name", "type", "tags", "system_tags", "comment", "parent", "project", "output_dest", "execution", "script"),
    *("hyperparams", "configuration", "models", "container", "runtime", "input", "output"),
}
#: What `tasks.update` takes of them.
_LOOSE_FIELDS = {"name", "comment", "project", "tags", "system_tags"}
_STATUS = 110
_MACHINE = {
    "created": {"queued", "in_progress"},
    "queued": {"created", "in_progress", "stopped"},
    "in_progress": {"stopped", "failed", "created", "completed"},
    "stopped": {"closed", "created", "failed", "queued", "in_progress", "published", "publishing", "completed"},
    "closed": {"created", "failed", "published", "publishing", "stopped"},
    "failed": {"created", "stopped", "published", "queued"},
    "publishing": {"published"},
    "published": set(),
    "completed": {"published", "in_progress", "created"},
}
#: What the server says where nobody spoke of a running task for two hours.
SILENT = "Forced stop (non-responsive)"


def _sorted_artifacts(document: Document) -> None:
    artifacts = document.get("execution", {}).get("artifacts")
    if artifacts:
        for one in artifacts:
            if one.get("display_data"):
                one["display_data"] = sorted(one["display_data"])
        document["execution"]["artifacts"] = sorted(artifacts, key=lambda one: one["key"])


def _fields(db: Documents, body: Body) -> Document:
    unknown = set(body) - _FIELDS - {"task", "force", "method"}
    if unknown:
        raise Unknown(400, 0, f"fields of a task: {sorted(unknown)}")
    fields = {key: copy.deepcopy(value) for key, value in body.items() if key in _FIELDS and value is not None}
    if "name" in fields:
        fields["name"] = named(fields)
    # `parse_from_call` in the server's ``apiserver/database/utils.py``.
    for field, kind in (("project", "projects"), ("parent", "tasks")):
        if fields.get(field) and fields[field] not in db.kinds[kind]:
            raise Refused(400, 16, f"Invalid value for fields (expecting {field.capitalize()} id): {fields[field]}")
    _sorted_artifacts(fields)
    return fields


def _in(found: Document, statuses: set[str]) -> Document:
    if found["status"] not in statuses:
        raise Refused(400, _STATUS, f"Invalid task status: expected=created, status={found['status']}")
    return found


def _for_update(db: Documents, body: Body, *, force: bool) -> Document:
    """The task whose contents are to be changed: force is no help where it is not new and does not run."""
    return _in(db.get("tasks", body["task"]), {"created", "in_progress"} if force else {"created"})


@endpoint("tasks.create")
def tasks_create(db: Documents, body: Body) -> Document:
    if not body.get("name") or not body.get("type"):
        raise Refused(400, SCHEMA, "Validation error: name and type are required")
    fields = _fields(db, body)
    empty: Document = {"execution": {"artifacts": []}, "script": {}, "hyperparams": {}, "configuration": {}}
    empty |= {"models": {"input": [], "output": []}, "runtime": {}, "comment": "", "status": "created"}
    empty["output"] = {"destination": body["output_dest"]} if body.get("output_dest") else {}
    return {"id": db.new("tasks", **{**empty, **tags_of(body), **fields})["id"]}


@endpoint("tasks.edit")
def tasks_edit(db: Documents, body: Body) -> Document:
    found = db.get("tasks", body["task"])
    if not body.get("force"):
        _in(found, {"created"})
    fields = _fields(db, body)
    if fields.get("execution") is not None and "artifacts" not in fields["execution"]:
        fields["execution"]["artifacts"] = found["execution"].get("artifacts", [])
    if "output_dest" in fields:
        found["output"]["destination"] = fields["output_dest"]
    db.save("tasks", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("tasks.update")
def tasks_update(db: Documents, body: Body) -> Document:
    found = db.get("tasks", body["task"])
    fields = {key: value for key, value in _fields(db, body).items() if key in _LOOSE_FIELDS}
    db.save("tasks", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("tasks.get_by_id")
def tasks_get_by_id(db: Documents, body: Body) -> Document:
    return {"task": db.get("tasks", body["task"])}


@endpoint("tasks.get_all", "tasks.get_all_ex")
def tasks_get_all(db: Documents, body: Body) -> Document:
    return {"tasks": select(visible(db, "tasks", body), body)}


@endpoint("tasks.delete")
def tasks_delete(db: Documents, body: Body) -> Document:
    found = db.get("tasks", body["task"])
    if not body.get("force"):
        _in(found, {"created", "failed", "stopped", "completed"})
    db.drop("tasks", body["task"])
    return {"deleted": True}


# -- statuses


def _becomes(status: str) -> Endpoint:
    def change(db: Documents, body: Body) -> Document:
        found = db.get("tasks", body["task"])
        if not body.get("force") and status != found["status"] and status not in _MACHINE[found["status"]]:
            raise Refused(400, _STATUS, f"Invalid status change: current_status={found['status']}, new_status={status}")
        stamp = {"in_progress": "started"}.get(status, "completed")
        changed: dict[str, Any] = {"status": status, "status_changed": now(), stamp: now()}
        if status == "in_progress" and found["status"] != status:
            changed["completed"] = None
        changed["status_reason"] = body.get("status_reason") or ""
        changed["status_message"] = body.get("status_message") or ""
        db.save("tasks", {**found, **changed})
        return {"updated": 1, "fields": {"status": status}}

    return change


ENDPOINTS["tasks.started"] = _becomes("in_progress")
ENDPOINTS["tasks.completed"] = _becomes("completed")
ENDPOINTS["tasks.failed"] = _becomes("failed")
ENDPOINTS["tasks.stopped"] = _becomes("stopped")
ENDPOINTS["tasks.publish"] = _becomes("published")


def watchdog(db: Documents, key: str) -> None:
    """Do to a running task what the server does to one that it has not heard of for two hours."""
    found = _in(db.get("tasks", key), {"in_progress"})
    db.save("tasks", {**found, "status": "stopped", "status_reason": SILENT, "status_message": SILENT})


@endpoint("tasks.ping")
def tasks_ping(db: Documents, body: Body) -> Document:
    if body["task"] in db.kinds["tasks"]:
        db.save("tasks", db.get("tasks", body["task"]))
    return {}


# -- contents


@endpoint("tasks.add_or_update_artifacts")
def tasks_add_or_update_artifacts(db: Documents, body: Body) -> Document:
    for one in body["artifacts"]:
        if not {"key", "type"} <= set(one):
            raise Refused(400, SCHEMA, "Validation error: an artifact needs a key and a type")
    found = _for_update(db, body, force=True)
    known = {(one["key"], one.get("mode", "output")): one for one in found["execution"].get("artifacts") or []}
    known |= {(one["key"], one.get("mode", "output")): one for one in body["artifacts"]}
    found["execution"]["artifacts"] = list(known.values())
    _sorted_artifacts(found)
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.delete_artifacts")
def tasks_delete_artifacts(db: Documents, body: Body) -> Document:
    found = _for_update(db, body, force=True)
    gone = {(one["key"], one.get("mode", "output")) for one in body["artifacts"]}
    artifacts = found["execution"].get("artifacts") or []
    found["execution"]["artifacts"] = [one for one in artifacts if (one["key"], one.get("mode", "output")) not in gone]
    db.save("tasks", found)
    return {"deleted": 1}


@endpoint("tasks.add_or_update_model")
def tasks_add_or_update_model(db: Documents, body: Body) -> Document:
    found = _for_update(db, body, force=True)
    db.get("models", body["model"])
    side = found.setdefault("models", {}).setdefault(body["type"], [])
    side[:] = [one for one in side if one["name"] != body["name"]]
    side.append({"name": body["name"], "model": body["model"], "updated": now()})
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.edit_hyper_params")
def tasks_edit_hyper_params(db: Documents, body: Body) -> Document:
    if all(one["section"].lower() == "properties" for one in body["hyperparams"]):
        found = db.get("tasks", body["task"])
    else:
        found = _for_update(db, body, force=bool(body.get("force")))
    if body.get("replace_hyperparams") == "all":
        found["hyperparams"] = {}
    for one in body["hyperparams"]:
        found["hyperparams"].setdefault(one["section"], {})[one["name"]] = one
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.edit_configuration")
def tasks_edit_configuration(db: Documents, body: Body) -> Document:
    found = _for_update(db, body, force=bool(body.get("force")))
    for one in body["configuration"]:
        found["configuration"][one["name"]] = one
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.get_configurations")
def tasks_get_configurations(db: Documents, body: Body) -> Document:
    names = body.get("names")
    found = [db.get("tasks", key) for key in body["tasks"]]
    shown = [
        {
            "task": one["id"],
            "configuration": [c for c in one["configuration"].values() if not names or c["name"] in names],
        }
        for one in found
    ]
    return {"configurations": shown}


@endpoint("tasks.set_requirements")
def tasks_set_requirements(db: Documents, body: Body) -> Document:
    found = db.get("tasks", body["task"])
    found["script"]["requirements"] = body["requirements"]
    db.save("tasks", found)
    return {"updated": 1}
