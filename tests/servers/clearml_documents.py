"""What a ClearML server keeps, and its rules, as far as its own sources and its SDK tell them. No real server ran beside it.

Every endpoint is a function of the state and the request's body; one that is not here is refused, and written down.
"""

from __future__ import annotations

import copy
import datetime
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Body = dict[str, Any]
Document = dict[str, Any]

#: The most documents that one answer holds.
PAGE = 500
#: The largest document that the database takes.
LARGEST = 16 * 1024 * 1024
#: The fewest characters of a name, and of each part of a project's.
SHORTEST = 3
#: The most levels of projects within projects.
DEEPEST = 10
#: ClearML's numbers below a 400: a request that its schema does not take, a value that its database does not take, …
SCHEMA, DATA, TAKEN, TOO_DEEP, NAMELESS, NO_EVENTS = 12, 800, 801, 409, 407, 131
#: Tasks that take no events.
_LOCKED = {"publishing", "published"}
_LISTS = ("id", "project", "parent", "status", "type", "tags", "system_tags", "user", "task", "framework", "uri")
_PATTERNS = ("name", "basename", "description", "comment")
_NO_FILTERS = {
    *("only_fields", "order_by", "page", "page_size", "search_hidden", "search_text", "method", "size", "scroll_id"),
    *("refresh_scroll", "allow_public", "include_stats", "shallow_search", "check_own_contents", "last_metrics"),
}


#: What a record says of only one version of a name.
_OF_ONE_VERSION = ("number:", "label:", "moved:")


class Refused(Exception):
    """An answer that is no success: its HTTP status, ClearML's own code below it, and the message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unknown(Refused):
    """Something that the stand-in does not know: a test that meets it must not pass."""


def now() -> str:
    """The database's clock counts milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def named(body: Body) -> str:
    name = str(body.get("name") or "").strip()
    if len(name) < SHORTEST:
        raise Refused(400, DATA, "Data validation error (String value is too short): name")
    return name


def of(document: Document, path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def fits(value: Any, wanted: Any) -> bool:
    """Whether a field fits a list filter: any of its values, or as `__$all`, `__$any`, `__$not` and a `-` say."""
    have = set(value) if isinstance(value, list) else {value}
    mode, negative = "any", False
    some: set[Any] = set()
    every: set[Any] = set()
    none: set[Any] = set()
    for one in wanted if isinstance(wanted, list) else [wanted]:
        if one in {"__$all", "__$and", "__$any", "__$or"}:
            mode = "all" if one in {"__$all", "__$and"} else "any"
        elif one == "__$not":
            negative = True
            continue
        elif isinstance(one, str) and one.startswith("__$"):
            raise Unknown(400, 0, f"operator {one}")
        elif negative or (isinstance(one, str) and one.startswith("-")):
            none.add(one if negative else one[1:])
        else:
            (every if mode == "all" else some).add(one)
        negative = False
    return every <= have and not none & have and (not some or bool(some & have))


def project(document: Document, fields: list[str] | None) -> Document:
    """The named fields; a part of a folder that is not there leaves the empty folder."""
    if not fields:
        return document
    shown: Document = {"id": document["id"]}
    for path in fields:
        *above, last = path.split(".")
        source: Any = document
        target: Any = shown
        for part in above:
            source = source.get(part) if isinstance(source, dict) else None
            target = target.setdefault(part, {})
        if isinstance(source, dict) and last in source:
            target[last] = source[last]
    return shown


def select(documents: Iterable[Document], body: Body) -> list[Document]:
    found = list(documents)
    for key, wanted in body.items():
        if wanted is None or key in _NO_FILTERS:
            continue
        if key in _PATTERNS and isinstance(wanted, str):
            pattern = re.compile(wanted)
            found = [one for one in found if pattern.search(str(one.get(key) or ""))]
        elif key in _LISTS or key.startswith(("hyperparams.", "runtime.", "metadata.", "execution.")):
            if wanted:
                found = [one for one in found if fits(of(one, key), wanted)]
        elif key in {"_any_", "_all_"}:
            pattern, fields = re.compile(wanted["pattern"]), wanted["fields"]
            how = any if key == "_any_" else all
            found = [one for one in found if how(pattern.search(json.dumps(of(one, path) or "")) for path in fields)]
        else:
            raise Unknown(400, 0, f"filter {key}={wanted!r}")
    text = body.get("search_text")
    if text:
        found = [one for one in found if text in json.dumps(one)]
    for path in reversed(body.get("order_by") or ["-last_update"]):
        found.sort(key=lambda one: str(of(one, path.lstrip("-")) or ""), reverse=path.startswith("-"))
    size = int(body.get("page_size") or PAGE)
    if not 0 < size <= PAGE:
        raise Refused(400, SCHEMA, f"Validation error (page_size): at most {PAGE}")
    start = int(body.get("page") or 0) * size
    return [project(copy.deepcopy(one), body.get("only_fields")) for one in found[start : start + size]]


class Documents:
    """The database: documents on disk, one file each, so that a killed server finds them again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.kinds: dict[str, dict[str, Document]] = {}
        self.events: list[Document] = []
        for kind in ("projects", "tasks", "models"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            loaded = [json.loads(path.read_text()) for path in (folder / kind).glob("*.json")]
            self.kinds[kind] = {one["id"]: one for one in loaded}
        if (folder / "events.jsonl").exists():
            self.events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]

    def get(self, kind: str, key: str) -> Document:
        try:
            return self.kinds[kind][key]
        except KeyError:
            raise Refused(400, {"tasks": 101, "projects": 401, "models": 201}[kind], f"Invalid id {key!r}") from None

    def save(self, kind: str, document: Document) -> Document:
        document["last_update"] = now()
        document |= {field: sorted(document[field]) for field in ("tags", "system_tags") if document.get(field)}
        text = json.dumps(document)
        if len(text) > LARGEST:
            raise Refused(500, 1, "Internal server error (Resulting document after update is larger than 16777216)")
        self.kinds[kind][document["id"]] = document
        (self.folder / kind / f"{document['id']}.json").write_text(text)
        return document

    def drop(self, kind: str, key: str) -> None:
        del self.kinds[kind][key]
        (self.folder / kind / f"{key}.json").unlink()

    def note(self, event: Document) -> None:
        self.events.append(event)
        with (self.folder / "events.jsonl").open("a") as log:
            log.write(json.dumps(event) + "\n")

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in every document, behind the server's back; return in how many."""
        changed = 0
        for kind, documents in self.kinds.items():
            for document in list(documents.values()):
                text = json.dumps(document, ensure_ascii=False).encode()
                if old in text:
                    self.save(kind, json.loads(text.replace(old, new)))
                    changed += 1
        return changed

    def multiply(self, key: str, count: int) -> None:
        """Copy a record of a version so often, each as the version after the one before."""
        pattern = json.dumps(self.kinds["tasks"][key])
        title = self.kinds["tasks"][key]["name"]
        put = title.partition(";put:")[2].partition(";")[0]
        for number in range(1, count + 1):
            text = pattern.replace(put, uuid.uuid4().hex).replace(key, uuid.uuid4().hex)
            made = json.loads(text) | {"created": now()}
            entity, _, *facts = made["name"].replace(" ", ";").strip(";").split(";")
            kept = [fact for fact in facts if fact and not fact.startswith(_OF_ONE_VERSION)]
            made["name"] = f"{entity} {number:010d} ;{';'.join([*kept, f'number:{number}'])};"
            self.kinds["tasks"][made["id"]] = made | {"last_update": now()}

    def new(self, kind: str, **fields: Any) -> Document:
        made = {"id": uuid.uuid4().hex, "created": now(), "company": "c", "user": "u", **fields}
        return self.save(kind, made)


Endpoint = Callable[[Documents, Body], Document]
ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(*names: str) -> Callable[[Endpoint], Endpoint]:
    def keep(function: Endpoint) -> Endpoint:
        ENDPOINTS.update(dict.fromkeys(names, function))
        return function

    return keep


def tags_of(body: Body) -> Body:
    return {key: list(body.get(key) or []) for key in ("tags", "system_tags")}


# -- projects


def visible(db: Documents, kind: str, body: Body) -> list[Document]:
    """What a search goes through: the hidden ones by their ids, or where they are asked for, alone."""
    seen = db.kinds[kind].values()
    everything = body.get("search_hidden") or body.get("id")
    return [one for one in seen if everything or "hidden" not in one["system_tags"]]


@endpoint("projects.get_all", "projects.get_all_ex")
def projects_get_all(db: Documents, body: Body) -> Document:
    return {"projects": select(visible(db, "projects", body), body)}


@endpoint("projects.get_by_id")
def projects_get_by_id(db: Documents, body: Body) -> Document:
    return {"project": db.get("projects", body["project"])}


@endpoint("projects.create")
def projects_create(db: Documents, body: Body) -> Document:
    parts = [part.strip() for part in str(body.get("name") or "").split("/") if part]
    if not parts:
        raise Refused(400, NAMELESS, "Invalid project name")
    if len(parts) > DEEPEST:
        raise Refused(400, TOO_DEEP, f"Project path exceed the maximum allowed depth: max_depth={DEEPEST}")
    for part in parts:
        named({"name": part})
    name = "/".join(parts)
    if any(one["name"] == name for one in db.kinds["projects"].values()):
        raise Refused(400, TAKEN, "Value combination already exists (unique field already contains this value): name")
    above = name.rpartition("/")[0]
    if above and not any(one["name"] == above for one in db.kinds["projects"].values()):
        projects_create(db, {"name": above})
    made = db.new("projects", name=name, basename=name.rpartition("/")[2], description=body.get("description") or "")
    made |= tags_of(body)
    return {"id": db.save("projects", made)["id"]}


@endpoint("projects.update")
def projects_update(db: Documents, body: Body) -> Document:
    found = db.get("projects", body["project"])
    before = found["name"]
    found |= {key: value for key, value in body.items() if key in {"name", "description", "tags", "system_tags"}}
    db.save("projects", found)
    for one in below(db, before):
        db.save("projects", {**one, "name": found["name"] + one["name"].removeprefix(before)})
    return {"updated": 1, "fields": {}}


def below(db: Documents, name: str) -> list[Document]:
    return [one for one in db.kinds["projects"].values() if one["name"].startswith(f"{name}/")]


@endpoint("projects.delete")
def projects_delete(db: Documents, body: Body) -> Document:
    """``delete_project`` in the server's ``apiserver/bll/project/project_cleanup.py``: what is in it goes, or has no project."""
    found = db.get("projects", body["project"])
    gone = {one["id"] for one in (found, *below(db, found["name"]))}
    for kind in ("tasks", "models"):
        inside = [one for one in db.kinds[kind].values() if one.get("project") in gone]
        if inside and not body.get("force"):
            raise Refused(400, 402, "Project has associated tasks: use force=true")
        for one in inside:
            if body.get("delete_contents"):
                db.drop(kind, one["id"])
            else:
                db.save(kind, {**one, "project": None})
    for key in gone:
        db.drop("projects", key)
    return {"deleted": len(gone)}


def tags_in(db: Documents, kinds: tuple[str, ...], body: Body) -> Document:
    """``_get_tags_from_db`` in the server's ``apiserver/bll/organization/tags_cache.py``: of hidden projects below, too."""
    names = [db.get("projects", key)["name"] for key in body.get("projects") or []]
    within = {one["id"] for name in names for one in below(db, name)} | set(body.get("projects") or [])
    found = [one for kind in kinds for one in db.kinds[kind].values() if not within or one.get("project") in within]
    fields = ("tags", "system_tags") if body.get("include_system") else ("tags",)
    return {field: sorted({tag for one in found for tag in one.get(field) or []}) for field in fields}


ENDPOINTS["projects.get_task_tags"] = lambda db, body: tags_in(db, ("tasks",), body)
ENDPOINTS["projects.get_model_tags"] = lambda db, body: tags_in(db, ("models",), body)
ENDPOINTS["organization.get_tags"] = lambda db, body: tags_in(db, ("tasks", "models"), body)


# -- models

_MODEL_FIELDS = {
    *("name", "uri", "framework", "tags", "system_tags", "comment", "task", "project", "parent", "labels", "design"),
    *("ready", "metadata", "ui_cache"),
}


def _model_fields(db: Documents, body: Body) -> Document:
    unknown = set(body) - _MODEL_FIELDS - {"model", "method", "iteration", "override_model_id", "public", "force"}
    if unknown:
        raise Unknown(400, 0, f"fields of a model: {sorted(unknown)}")
    fields = {key: value for key, value in body.items() if key in _MODEL_FIELDS and value is not None}
    if "name" in fields:
        fields["name"] = named(fields)
    if fields.get("project") and fields["project"] not in db.kinds["projects"]:
        raise Refused(400, SCHEMA, "Validation error (Invalid project ids)")
    if fields.get("task"):
        db.get("tasks", fields["task"])
    return fields


@endpoint("models.create")
def models_create(db: Documents, body: Body) -> Document:
    named(body)
    if not body.get("uri"):
        raise Refused(400, SCHEMA, "Validation error: uri is required")
    empty: Document = {"framework": "", "comment": "", "labels": {}, "design": {}, "ready": True, "metadata": {}}
    made = db.new("models", **{**empty, **tags_of(body), **_model_fields(db, body)})
    return {"id": made["id"], "created": True}


@endpoint("models.edit", "models.update")
def models_edit(db: Documents, body: Body) -> Document:
    db.save("models", {**db.get("models", body["model"]), **_model_fields(db, body)})
    return {"updated": 1, "fields": {}}


@endpoint("models.get_by_id")
def models_get_by_id(db: Documents, body: Body) -> Document:
    return {"model": db.get("models", body["model"])}


@endpoint("models.get_all", "models.get_all_ex")
def models_get_all(db: Documents, body: Body) -> Document:
    return {"models": select(db.kinds["models"].values(), body)}


@endpoint("models.delete")
def models_delete(db: Documents, body: Body) -> Document:
    """Tasks lose it whatever their status; those that used it, and published ones, keep a mark of it."""
    found = db.get("models", body["model"])
    key = found["id"]
    for task in list(db.kinds["tasks"].values()):
        sides = task["models"]
        if all(one["model"] != key for side in sides.values() for one in side):
            continue
        if not body.get("force") and any(one["model"] == key for one in sides["input"]):
            raise Refused(400, 205, "Model is used by tasks: as execution model, use force=True to delete")
        kept = [sides["input"], sides["output"] if task["status"] == "published" else []]
        for one in (one for side in kept for one in side if one["model"] == key):
            one["model"] = f"__DELETED__{key}"
        sides["output"][:] = [one for one in sides["output"] if one["model"] != key]
        db.save("tasks", task)
    db.drop("models", key)
    return {"deleted": True, "url": found["uri"]}


@endpoint("models.add_or_update_metadata")
def models_add_or_update_metadata(db: Documents, body: Body) -> Document:
    """``edit_metadata`` in the server's ``apiserver/bll/model/metadata.py``: where it adds, a key may be a field's name."""
    found = db.get("models", body["model"])
    items = {one["key"].strip(): one for one in body["metadata"]}
    if "" in items:
        raise Refused(400, SCHEMA, "Validation error (Empty key is not allowed)")
    if body.get("replace_metadata"):
        found["metadata"] = {}
    elif {"type", "key", "value"} & set(items):
        raise Refused(400, DATA, "Data validation error (StringField only accepts string values): type")
    elif "S" in items:
        raise Refused(500, 100, "General data error: metadata S")
    found["metadata"] |= items
    db.save("models", found)
    return {"updated": 1}


# -- events and what the SDK asks besides


@endpoint("events.add_batch")
def events_add_batch(db: Documents, body: Body) -> Document:
    tasks = db.kinds["tasks"]
    taken = [one for one in body["events"] if tasks.get(one["task"], {"status": "published"})["status"] not in _LOCKED]
    for one in taken:
        if one["type"] == "training_debug_image" and not one.get("url"):
            raise Refused(400, SCHEMA, "Validation error: a debug image needs a url")
        db.note(one)
    if not taken:
        raise Refused(400, NO_EVENTS, "Events not added: invalid task id")
    return {"added": len(taken), "errors": len(body["events"]) - len(taken)}
