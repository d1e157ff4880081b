"""The projects of a stand-in ClearML server, and the tags that people choose from."""

from __future__ import annotations

from servers.clearml_documents import (
    COMPANY,
    SCHEMA,
    SHORTEST,
    TAKEN,
    Body,
    Document,
    Documents,
    Refused,
    endpoint,
    tags_of,
)
from servers.clearml_queries import fits, select, visible

#: The most levels of projects within projects (`max_depth` in `apiserver/bll/project/project_bll.py`).
DEEPEST = 10
_HAS_TASKS, _HAS_MODELS, _NAMELESS, _ELSEWHERE, _TOO_DEEP, _PUBLIC = 402, 405, 407, 408, 409, 414


def _parts(name: str) -> list[str]:
    """`_validate_project_name` and `_get_basename_from_name` in `apiserver/bll/project/sub_projects.py`."""
    if len([part for part in name.split("/") if part]) > DEEPEST:
        raise Refused(400, _TOO_DEEP, f"Project path exceed the maximum allowed depth: max_depth={DEEPEST}")
    parts = [part.strip() for part in name.split("/") if part]
    if not parts:
        raise Refused(400, _NAMELESS, f"Invalid project name: name={name}")
    return parts


def _long_enough(parts: list[str]) -> None:
    if any(len(part) < SHORTEST for part in parts):
        raise Refused(400, SCHEMA, "Validation error (Project name cannot be blank)")


def _named(db: Documents, name: str) -> Document | None:
    """`_get_writable_project_from_name` in `apiserver/bll/project/sub_projects.py`."""
    found = next((one for one in db.kinds["projects"].values() if one["name"] == name), None)
    if found is not None and found["company"] != COMPANY:
        raise Refused(400, _PUBLIC, "Cannot create project. Public project with the same name already exists")
    return found


def _ensure(db: Documents, parts: list[str], fields: Document) -> Document:
    """`_ensure_project` in `apiserver/bll/project/sub_projects.py`: what is above is made, too."""
    name = "/".join(parts)
    found = _named(db, name)
    if found is not None:
        return found
    above = _ensure(db, parts[:-1], {}) if len(parts) > 1 else None
    place = {"parent": above["id"], "path": [*above["path"], above["id"]]} if above else {"parent": None, "path": []}
    empty: Document = {"description": "", "tags": [], "system_tags": []}
    return db.new("projects", **{**empty, **fields}, name=name, basename=parts[-1], **place)


@endpoint("projects.get_all", "projects.get_all_ex")
def projects_get_all(db: Documents, body: Body) -> Document:
    """`_adjust_search_parameters` in `apiserver/services/projects.py`: a parent is any above."""
    asked = dict(body)
    if "parent" in asked and not asked.get("shallow_search"):
        asked["path"] = asked.pop("parent")
    return {"projects": select("projects", visible(db, "projects", asked), asked)}


@endpoint("projects.get_by_id")
def projects_get_by_id(db: Documents, body: Body) -> Document:
    return {"project": db.get("projects", body["project"])}


@endpoint("projects.create")
def projects_create(db: Documents, body: Body) -> Document:
    """`ProjectBLL.create` in `apiserver/bll/project/project_bll.py`."""
    parts = _parts(str(body.get("name") or ""))
    if _named(db, "/".join(parts)) is not None:
        raise Refused(400, TAKEN, "Project with the same name already exists")
    _long_enough(parts)
    fields = {**tags_of(body), "description": body.get("description") or ""}
    return {"id": _ensure(db, parts, fields)["id"]}


@endpoint("projects.make_public")
def projects_make_public(db: Documents, body: Body) -> Document:
    """`GetMixin.set_public` in `apiserver/database/model/base.py`."""
    for key in body["ids"]:
        db.save("projects", {**db.get("projects", key), "company": ""})
    return {"updated": len(body["ids"])}


@endpoint("projects.update")
def projects_update(db: Documents, body: Body) -> Document:
    """`ProjectBLL.update` in `apiserver/bll/project/project_bll.py`: what is below is renamed, too, and keeps its ids."""
    found = db.get("projects", body["project"])
    fields = {key: body[key] for key in ("name", "description") if key in body} | tags_of(body)
    before = found["name"]
    if fields.get("name"):
        parts = _parts(fields["name"])
        if parts[:-1] != before.split("/")[:-1]:
            raise Refused(400, _ELSEWHERE, "Cannot update project location. use projects.move instead")
        _long_enough(parts[-1:])
        fields |= {"name": "/".join(parts), "basename": parts[-1]}
    db.save("projects", {**found, **fields})
    for one in _below(db, found):
        db.save("projects", {**one, "name": db.get("projects", found["id"])["name"] + one["name"].removeprefix(before)})
    return {"updated": 1, "fields": {}}


def _below(db: Documents, above: Document) -> list[Document]:
    return [one for one in db.kinds["projects"].values() if above["id"] in one["path"]]


@endpoint("projects.delete")
def projects_delete(db: Documents, body: Body) -> Document:
    """`delete_project` in `apiserver/bll/project/project_cleanup.py`: what is in it goes, or has no project."""
    found = db.get("projects", body["project"])
    gone = {one["id"] for one in (found, *_below(db, found))}
    counts = {"tasks": 0, "models": 0}
    for kind, code in (("tasks", _HAS_TASKS), ("models", _HAS_MODELS)):
        inside = [one for one in db.kinds[kind].values() if one.get("project") in gone]
        if not body.get("force") and any("archived" not in one["system_tags"] for one in inside):
            raise Refused(400, code, f"Project has associated {kind} (use force=true): id={found['id']}")
        counts[kind] = len(inside)
        for one in inside:
            if body.get("delete_contents"):
                db.drop(kind, one["id"])
            else:
                db.save(kind, {**one, "project": None})
    for key in gone:
        db.drop("projects", key)
    if body.get("delete_contents"):
        return {"deleted": len(gone), "deleted_tasks": counts["tasks"], "deleted_models": counts["models"]}
    return {"deleted": len(gone), "disassociated_tasks": counts["tasks"]}


def _tags(db: Documents, kinds: tuple[str, ...], body: Body) -> Document:
    """`_get_tags_from_db` in `apiserver/bll/organization/tags_cache.py`: those of hidden tasks and projects are among them.

    The true server remembers an answer for an hour, and so gives tags that are gone; the stand-in does not.
    """
    asked = set(body.get("projects") or [])
    within = asked | {one["id"] for one in db.kinds["projects"].values() if asked & set(one["path"])}
    found = [one for kind in kinds for one in db.kinds[kind].values() if not asked or one.get("project") in within]
    for field, wanted in (body.get("filter") or {}).items():
        found = [one for one in found if fits(one[field], wanted)]
    fields = ("tags", "system_tags") if body.get("include_system") else ("tags",)
    return {field: sorted({tag for one in found for tag in one[field]}) for field in fields}


@endpoint("projects.get_task_tags")
def projects_get_task_tags(db: Documents, body: Body) -> Document:
    return _tags(db, ("tasks",), body)


@endpoint("projects.get_model_tags")
def projects_get_model_tags(db: Documents, body: Body) -> Document:
    return _tags(db, ("models",), body)


@endpoint("organization.get_tags")
def organization_get_tags(db: Documents, body: Body) -> Document:
    return _tags(db, ("tasks", "models"), {**body, "projects": []})
