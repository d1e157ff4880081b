"""What a ClearML server keeps: a database of documents, and what it refuses to keep.

The stand-in's rules are those of ClearML's own server, release 2.3.0. A rule names the file of the server's sources and
the function that it comes from; what is not known from there says that it is a guess.

Every endpoint is a function of the state and the request's body; one that is not here is refused, and written down.
"""

from __future__ import annotations

import copy
import datetime
import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

Body = dict[str, Any]
Document = dict[str, Any]

#: Whose everything is, but for what is public.
COMPANY = "c"
#: The largest document that the database takes.
LARGEST = 16 * 1024 * 1024
#: The fewest characters of a name (`apiserver/database/model/*.py`), and of each part of a project's.
SHORTEST = 3
#: ClearML's numbers below a 400 (`apiserver/apierrors/errors.conf`): a request that its schema does not take, a value
#: that names nothing, a value that its database does not take, …
SCHEMA, VALUE, NO_ITEMS, REGEX, DATA, TAKEN = 12, 16, 17, 21, 800, 801
NO_TASK, NO_MODEL, NO_PROJECT = 101, 201, 401
_GONE = {"tasks": NO_TASK, "projects": NO_PROJECT, "models": NO_MODEL}
#: `bson` holds whole numbers of eight bytes.
_LEAST, _MOST = -(2**63), 2**63 - 1


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


def required(body: Body, *fields: str) -> None:
    """`StringField(required=True)` of `apiserver/apimodels/*.py`; an empty text is one."""
    for field in fields:
        if not isinstance(body.get(field), str):
            raise Refused(400, SCHEMA, f"Validation error (error for field '{field}'. field is required!)")


def one_of(body: Body, field: str, choices: set[str]) -> None:
    """`Enum` validators of `apiserver/apimodels/*.py`."""
    if field in body and body[field] not in choices:
        raise Refused(400, SCHEMA, f"Validation error (error for field '{field}': not a valid choice)")


def some(body: Body, field: str) -> list[Document]:
    """`Length(minimum_value=1)` of `apiserver/apimodels/*.py`."""
    if not body.get(field):
        raise Refused(400, SCHEMA, f"Validation error (error for field '{field}': length is lower than minimum '1')")
    return list(body[field])


def named(body: Body) -> str:
    """`min_length` of a name: `Task` and `Model` in `apiserver/database/model`."""
    name = str(body.get("name") or "").strip()
    if len(name) < SHORTEST:
        raise Refused(400, DATA, "Data validation error: name=String value is too short")
    return name


def key_of(key: str) -> str:
    """`ParameterKeyEscaper.escape` in `apiserver/utilities/parameter_key_escaper.py`: what is around a key is lost."""
    if not key.strip():
        raise Refused(400, SCHEMA, "Validation error (Empty key is not allowed)")
    return key.strip()


def tags_of(body: Body) -> Body:
    """`validate_tags` in `apiserver/services/utils.py`."""
    given = {key: list(body[key]) for key in ("tags", "system_tags") if body.get(key) is not None}
    if any(tag.startswith("__$") for tags in given.values() for tag in tags):
        raise Refused(400, VALUE, "Invalid value for fields (unsupported tag prefix)")
    return given


def of(document: Document, path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _storable(value: Any) -> None:
    """What `bson` cannot encode is no fault that passes, and the server says 500 to it (`handle_call` in `apiserver/service_repo/service_repo.py`)."""
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            raise Refused(500, 0, "Invalid document: keys must not contain the NULL character")
        for one in value.values():
            _storable(one)
    elif isinstance(value, list):
        for one in value:
            _storable(one)
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise Refused(500, 0, "MongoDB can only handle up to 8-byte ints")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refused(500, 0, str(error)) from None


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
            self.kinds[kind] = {one["id"]: one for one in sorted(loaded, key=lambda one: one["created"])}
        if (folder / "events.jsonl").exists():
            self.events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]

    def get(self, kind: str, key: str) -> Document:
        try:
            return copy.deepcopy(self.kinds[kind][key])
        except KeyError:
            raise Refused(400, _GONE[kind], f"Invalid {kind[:-1]} id: id={key}") from None

    def exists(self, kind: str, key: str, field: str) -> None:
        """`parse_from_call` in `apiserver/database/utils.py`: a field that names another document."""
        if key not in self.kinds[kind]:
            raise Refused(400, VALUE, f"Invalid value for fields (expecting {kind[:-1].title()} id): field={field}")

    def save(self, kind: str, document: Document) -> Document:
        _storable(document)
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
        made = {"id": uuid.uuid4().hex, "created": now(), "company": COMPANY, "user": "u", **fields}
        return self.save(kind, made)


Endpoint = Callable[[Documents, Body], Document]
ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(*names: str) -> Callable[[Endpoint], Endpoint]:
    def keep(function: Endpoint) -> Endpoint:
        ENDPOINTS.update(dict.fromkeys(names, function))
        return function

    return keep
