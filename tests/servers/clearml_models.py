"""The models of a stand-in ClearML server."""

from __future__ import annotations

from servers.clearml_documents import (
    COMPANY,
    DATA,
    SCHEMA,
    Body,
    Document,
    Documents,
    Refused,
    Unknown,
    endpoint,
    key_of,
    named,
    required,
    some,
    tags_of,
)
from servers.clearml_queries import select

_FIELDS = {
    *("name", "uri", "framework", "tags", "system_tags", "comment", "task", "project", "parent", "labels", "design"),
    *("ready", "metadata", "ui_cache"),
}
#: What `models.update` takes of them: `user_set_allowed` in `apiserver/database/model/model.py`.
_LOOSE_FIELDS = {"name", "project", "comment", "tags", "system_tags", "uri", "ui_cache", "metadata"}
_IN_USE, _CREATOR = 205, 206
#: The mark of what is gone (`deleted_prefix` in `apiserver/bll/task/utils.py`).
_DELETED = "__DELETED__"


def _fields(body: Body) -> Document:
    unknown = set(body) - _FIELDS - {"model", "method", "iteration", "override_model_id", "public", "force"}
    if unknown:
        raise Unknown(400, 0, f"fields of a model: {sorted(unknown)}")
    fields = {key: value for key, value in body.items() if key in _FIELDS and value is not None} | tags_of(body)
    if "name" in fields:
        fields["name"] = named(fields)
    if "metadata" in fields:
        fields["metadata"] = {key_of(key): item for key, item in fields["metadata"].items()}
    if any(not isinstance(one, int) for one in (fields.get("labels") or {}).values()):
        raise Refused(400, DATA, "Data validation error: labels=Expected int or NoneType")
    return fields


@endpoint("models.create")
def models_create(db: Documents, body: Body) -> Document:
    """`create` in `apiserver/services/models.py`."""
    required(body, "name", "uri")
    if body.get("project") and db.kinds["projects"].get(body["project"], {}).get("company") != COMPANY:
        # `validate_id` in `apiserver/database/model/base.py`: a public project is nobody's.
        raise Refused(400, SCHEMA, "Validation error (Invalid project ids)")
    if body.get("task"):
        db.get("tasks", body["task"])
    empty: Document = {"labels": {}, "design": {}, "ready": True, "metadata": {}, "tags": [], "system_tags": []}
    made = db.new("models", **{**empty, **_fields(body)})
    return {"id": made["id"], "created": True}


@endpoint("models.edit")
def models_edit(db: Documents, body: Body) -> Document:
    """`edit` in `apiserver/services/models.py`."""
    found = db.get("models", body["model"])
    fields = _fields(body)
    for field, kind in (("project", "projects"), ("task", "tasks"), ("parent", "models")):
        if field in fields and not fields[field].startswith(_DELETED):
            db.exists(kind, fields[field], field)
    db.save("models", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("models.update")
def models_update(db: Documents, body: Body) -> Document:
    """`_update_model` in `apiserver/services/models.py`: whether the project is there nobody asks."""
    found = db.get("models", body["model"])
    fields = {key: value for key, value in _fields(body).items() if key in _LOOSE_FIELDS}
    db.save("models", {**found, **fields})
    return {"updated": 1, "fields": {}}


@endpoint("models.get_by_id")
def models_get_by_id(db: Documents, body: Body) -> Document:
    return {"model": db.get("models", body["model"])}


@endpoint("models.get_all", "models.get_all_ex")
def models_get_all(db: Documents, body: Body) -> Document:
    return {"models": select("models", db.kinds["models"].values(), body)}


@endpoint("models.delete")
def models_delete(db: Documents, body: Body) -> Document:
    """`ModelBLL.delete_model` in `apiserver/bll/model/__init__.py`: its own task loses it, those that used it keep a mark.

    The true server has its file deleted, too, by a job of its own; the stand-in does not.
    """
    found = db.get("models", body["model"])
    key = found["id"]
    using = [one for one in db.kinds["tasks"].values() if any(it["model"] == key for it in one["models"]["input"])]
    if using and not body.get("force"):
        raise Refused(400, _IN_USE, "Model is used by tasks (as execution model, use force=True to delete)")
    maker = db.kinds["tasks"].get(found.get("task") or "")
    if maker is not None and maker["status"] == "published" and not body.get("force"):
        raise Refused(400, _CREATOR, "Task that created this model exists (and published, use force=True to delete)")
    for task in using:
        _mark(task["models"]["input"], key)
        db.save("tasks", task)
    if maker is not None:
        output = maker["models"]["output"]
        if maker["status"] == "published":
            _mark(output, key)
        else:
            output[:] = [one for one in output if one["model"] != key]
        db.save("tasks", maker)
    db.drop("models", key)
    return {"deleted": True, "url": found["uri"]}


def _mark(side: list[Document], key: str) -> None:
    for one in side:
        if one["model"] == key:
            one["model"] = f"{_DELETED}{key}"


@endpoint("models.add_or_update_metadata")
def models_add_or_update_metadata(db: Documents, body: Body) -> Document:
    """`Metadata.edit_metadata` in `apiserver/bll/model/metadata.py`: where it adds, a key may be taken for a field of the item."""
    for item in some(body, "metadata"):
        required(item, "key", "type", "value")
    found = db.get("models", body["model"])
    items = {key_of(one["key"]): one for one in body["metadata"]}
    if body.get("replace_metadata"):
        found = {**found, "metadata": items}
    elif {"type", "key", "value"} & set(items):
        raise Refused(400, DATA, "Data validation error: type=StringField only accepts string values")
    elif "S" in items:
        # mongoengine writes it as `$`, the place that a search found.
        raise Refused(
            500, 0, "Field name cannot contain the null character and top-level field name cannot start with $"
        )
    else:
        found = {**found, "metadata": {**found["metadata"], **items}}
    db.save("models", found)
    return {"updated": 1}
