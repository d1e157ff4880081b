"""The tasks of a stand-in ClearML server: their statuses, and what each endpoint takes in which of them.

A task's contents are changed while it is new, and by force while it waits or runs, and never after; its fields
(`tasks.edit`) by force at any time; its status along the edges of a machine, or by force along none.
"""

from __future__ import annotations

import copy
from typing import Any

from servers.clearml_documents import (
    COMPANY,
    DATA,
    ENDPOINTS,
    SCHEMA,
    Body,
    Document,
    Documents,
    Endpoint,
    Refused,
    Unknown,
    endpoint,
    key_of,
    named,
    now,
    one_of,
    required,
    some,
    tags_of,
)
from servers.clearml_queries import select, visible

_FIELDS = {
    *("name", "type", "tags", "system_tags", "comment", "parent", "project", "output_dest", "execution", "script"),
    *("hyperparams", "configuration", "models", "container", "runtime", "input", "output"),
}
#: What `tasks.update` takes of them: `user_set_allowed` in `apiserver/database/model/task/task.py`.
_LOOSE_FIELDS = {"name", "comment", "project", "tags", "system_tags"}
#: `TaskType`, `ArtifactModes` and `TaskModelTypes` in `apiserver/database/model/task/task.py`.
_TYPES = {
    *("training", "testing", "inference", "data_processing", "application", "monitor", "controller", "report"),
    *("optimizer", "service", "qc", "custom"),
}
_SIDES = {"input", "output"}
_UNDELETABLE, _UNWRITABLE = 123, 21
#: The mark of what is gone (`deleted_prefix` in `apiserver/bll/task/utils.py`).
_DELETED = "__DELETED__"
_STATUS = 110
#: `state_machine` in `apiserver/bll/task/utils.py`.
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
    """`artifacts_unprepare_from_saved` in `apiserver/bll/task/artifacts.py`, and `SafeSortedListField` of `display_data`."""
    artifacts = (document.get("execution") or {}).get("artifacts")
    if artifacts:
        for one in artifacts:
            if one.get("display_data"):
                one["display_data"] = sorted(one["display_data"])
        document["execution"]["artifacts"] = sorted(artifacts, key=lambda one: one["key"])


def _whole_artifacts(document: Document) -> None:
    """`Artifact` in `apiserver/database/model/task/task.py`, and `get_artifact_id`, which takes a key for granted."""
    for one in (document.get("execution") or {}).get("artifacts") or []:
        if "key" not in one:
            raise Refused(500, 0, "'key'")
        if "type" not in one or one.get("mode", "output") not in _SIDES:
            raise Refused(400, DATA, "Data validation error: execution={'artifacts': …}")


def _parameters(given: Document) -> Document:
    """`params_prepare_for_save` in `apiserver/bll/task/param_utils.py`."""
    return {key_of(section): {key_of(name): one for name, one in ones.items()} for section, ones in given.items()}


def _plain_keys(runtime: Document) -> None:
    """`SafeDictField` in `apiserver/database/fields.py`."""
    if any(not key or key.startswith("$") for key in runtime):
        raise Refused(400, DATA, "Data validation error: runtime=Invalid dictionary key name")


def _fields(db: Documents, body: Body) -> Document:
    """`prepare_create_fields` in `apiserver/services/tasks.py`."""
    unknown = set(body) - _FIELDS - {"task", "force", "method"}
    if unknown:
        raise Unknown(400, 0, f"fields of a task: {sorted(unknown)}")
    fields = {key: copy.deepcopy(value) for key, value in body.items() if key in _FIELDS and value is not None}
    fields |= tags_of(body)
    if "name" in fields:
        fields["name"] = named(fields)
    for field, kind in (("project", "projects"), ("parent", "tasks")):
        if field in fields:
            db.exists(kind, fields[field], field)
    if fields.get("hyperparams"):
        fields["hyperparams"] = _parameters(fields["hyperparams"])
    if fields.get("configuration"):
        fields["configuration"] = {key_of(name): one for name, one in fields["configuration"].items()}
    _plain_keys(fields.get("runtime") or {})
    _whole_artifacts(fields)
    _sorted_artifacts(fields)
    return fields


def _in(found: Document, statuses: set[str]) -> Document:
    if found["status"] not in statuses:
        raise Refused(400, _STATUS, f"Invalid task status: expected=created, status={found['status']}")
    return found


def _for_update(db: Documents, body: Body, *, force: bool) -> Document:
    """`get_task_for_update` in `apiserver/bll/task/utils.py`: force is no help where it is over."""
    return _in(db.get("tasks", body["task"]), {"created", "queued", "in_progress"} if force else {"created"})


@endpoint("tasks.create")
def tasks_create(db: Documents, body: Body) -> Document:
    required(body, "name", "type")
    one_of(body, "type", _TYPES)
    fields = _fields(db, body)
    if fields.get("project") and db.get("projects", fields["project"])["company"] != COMPANY:
        # `get_for_writing` in `apiserver/database/model/base.py`.
        raise Refused(403, _UNWRITABLE, "Forbidden (modification not allowed) (cannot modify public project(s))")
    empty: Document = {"execution": {"artifacts": []}, "script": {}, "hyperparams": {}, "configuration": {}}
    empty |= {"models": {"input": [], "output": []}, "runtime": {}, "status": "created", "tags": [], "system_tags": []}
    empty["output"] = {"destination": fields.pop("output_dest")} if body.get("output_dest") else {}
    return {"id": db.new("tasks", **{**empty, **fields})["id"]}


@endpoint("tasks.edit")
def tasks_edit(db: Documents, body: Body) -> Document:
    """`edit` in `apiserver/services/tasks.py`: parts of a part that are not named stay."""
    found = db.get("tasks", body["task"])
    if not body.get("force"):
        _in(found, {"created"})
    fields = _fields(db, body)
    for part in ("execution", "script", "models"):
        if part in fields:
            fields[part] = {**found[part], **fields[part]}
    if "output_dest" in fields:
        fields["output"] = {**found["output"], "destination": fields.pop("output_dest")}
    db.save("tasks", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("tasks.update")
def tasks_update(db: Documents, body: Body) -> Document:
    """`update` in `apiserver/services/tasks.py`."""
    found = db.get("tasks", body["task"])
    fields = {key: value for key, value in _fields(db, body).items() if key in _LOOSE_FIELDS}
    db.save("tasks", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("tasks.get_by_id")
def tasks_get_by_id(db: Documents, body: Body) -> Document:
    return {"task": db.get("tasks", body["task"])}


@endpoint("tasks.get_all", "tasks.get_all_ex")
def tasks_get_all(db: Documents, body: Body) -> Document:
    return {"tasks": select("tasks", visible(db, "tasks", body), body)}


@endpoint("tasks.delete")
def tasks_delete(db: Documents, body: Body) -> Document:
    """`delete_task` in `apiserver/bll/task/task_operations.py`, and `cleanup_task` in `task_cleanup.py` beside it.

    The true server has the files of its artifacts deleted, too, by a job of its own; the stand-in does not.
    """
    found, force = db.get("tasks", body["task"]), bool(body.get("force"))
    if found["status"] != "created" and "archived" not in found["system_tags"] and not force:
        raise Refused(400, _UNDELETABLE, "Task cannot be deleted (due to status, use force=True)")
    children = [one for one in db.kinds["tasks"].values() if one.get("parent") == found["id"]]
    output = {one["model"] for one in found["models"]["output"]}
    models = [one for one in db.kinds["models"].values() if one.get("task") == found["id"] or one["id"] in output]
    if not force and any(one["status"] == "published" for one in children):
        raise Refused(400, _UNDELETABLE, "Task cannot be deleted (has children, use force=True)")
    if not force and any(one["ready"] for one in models):
        raise Refused(400, _UNDELETABLE, "Task cannot be deleted (has output models, use force=True)")
    used = {one["model"] for task in db.kinds["tasks"].values() for one in task["models"]["input"]}
    for child in children:
        db.save("tasks", {**child, "parent": f"{_DELETED}{found['id']}"})
    for model in models:
        if model["ready"] or not body.get("delete_output_models", True):
            db.save("models", {**model, "task": f"{_DELETED}{found['id']}"})
        elif model["id"] in used:
            db.save("models", {**model, "task": None})
        else:
            db.drop("models", model["id"])
    db.drop("tasks", found["id"])
    return {"deleted": True}


# -- statuses


def _becomes(status: str) -> Endpoint:
    def change(db: Documents, body: Body) -> Document:
        """`ChangeStatusRequest` in `apiserver/bll/task/utils.py`."""
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
    """`NonResponsiveTasksWatchdog` in `apiserver/bll/task`: a running task that was not heard of for two hours is over."""
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
    """`Artifacts.add_or_update_artifacts` in `apiserver/bll/task/artifacts.py`."""
    for one in some(body, "artifacts"):
        required(one, "key", "type")
        one_of(one, "mode", _SIDES)
        if not isinstance(one.get("content_size") or 0, int):
            raise Refused(400, SCHEMA, "Validation error (invalid literal for int() with base 10)")
    found = _for_update(db, body, force=True)
    known = {(one["key"], one.get("mode", "output")): one for one in found["execution"].get("artifacts") or []}
    known |= {
        (one["key"], one.get("mode", "output")): {"mode": "output", "display_data": [], **one}
        for one in body["artifacts"]
    }
    found["execution"]["artifacts"] = list(known.values())
    _sorted_artifacts(found)
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.delete_artifacts")
def tasks_delete_artifacts(db: Documents, body: Body) -> Document:
    """`Artifacts.delete_artifacts` in `apiserver/bll/task/artifacts.py`."""
    for one in some(body, "artifacts"):
        required(one, "key")
        one_of(one, "mode", _SIDES)
    found = _for_update(db, body, force=True)
    gone = {(one["key"], one.get("mode", "output")) for one in body["artifacts"]}
    artifacts = found["execution"].get("artifacts") or []
    found["execution"]["artifacts"] = [one for one in artifacts if (one["key"], one.get("mode", "output")) not in gone]
    db.save("tasks", found)
    return {"deleted": 1}


@endpoint("tasks.add_or_update_model")
def tasks_add_or_update_model(db: Documents, body: Body) -> Document:
    """`add_or_update_model` in `apiserver/services/tasks.py`: whether there is such a model nobody asks."""
    required(body, "task", "name", "model", "type")
    one_of(body, "type", _SIDES)
    found = _for_update(db, body, force=True)
    side = found["models"][body["type"]]
    side[:] = [one for one in side if one["name"] != body["name"]]
    side.append({"name": body["name"], "model": body["model"], "updated": now()})
    db.save("tasks", found)
    return {"updated": 1}


@endpoint("tasks.edit_hyper_params")
def tasks_edit_hyper_params(db: Documents, body: Body) -> Document:
    """`HyperParams.edit_params` in `apiserver/bll/task/hyperparams.py`: properties are edited at any time."""
    given = [dict(one) for one in some(body, "hyperparams")]
    for one in given:
        required(one, "section", "name", "value")
        some(one, "section")
        some(one, "name")
        if one["section"].lower() == "properties":
            one["section"] = "properties"
    one_of(body, "replace_hyperparams", {"none", "section", "all"})
    if all(one["section"] == "properties" for one in given):
        found = db.get("tasks", body["task"])
    else:
        found = _for_update(db, body, force=bool(body.get("force")))
    replaced = body.get("replace_hyperparams")
    kept = {} if replaced == "all" else found["hyperparams"]
    if replaced == "section":
        kept = {name: one for name, one in kept.items() if name not in {key_of(one["section"]) for one in given}}
    for one in given:
        kept.setdefault(key_of(one["section"]), {})[key_of(one["name"])] = one
    db.save("tasks", {**found, "hyperparams": kept})
    return {"updated": 1}


@endpoint("tasks.edit_configuration")
def tasks_edit_configuration(db: Documents, body: Body) -> Document:
    """`HyperParams.edit_configuration` in `apiserver/bll/task/hyperparams.py`."""
    for one in some(body, "configuration"):
        required(one, "name", "value")
    found = _for_update(db, body, force=bool(body.get("force")))
    if body.get("replace_configuration"):
        found["configuration"] = {}
    found["configuration"] |= {key_of(one["name"]): one for one in body["configuration"]}
    if "S" in found["configuration"]:
        raise Refused(
            500, 0, "Field name cannot contain the null character and top-level field name cannot start with $"
        )
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
