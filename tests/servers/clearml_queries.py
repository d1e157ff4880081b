"""How a ClearML server searches: `GetMixin` in the server's `apiserver/database/model/base.py`, as far as anybody asks."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

from servers.clearml_documents import REGEX, SCHEMA, VALUE, Body, Document, Documents, Refused, Unknown, of

#: The most documents that one answer holds (`max_page_size` in `apiserver/config/default/services/_mongo.conf`).
PAGE = 500
#: `get_all_query_options` of each class in `apiserver/database/model`: a field that is a list of choices, and one that is a pattern.
_LISTS = {
    "projects": ("id", "tags", "system_tags", "parent", "path"),
    "tasks": ("id", "user", "tags", "system_tags", "type", "status", "project", "parent", "models.input.model"),
    "models": ("id", "user", "tags", "system_tags", "framework", "uri", "project", "task", "parent"),
}
_LISTED = {"projects": (), "tasks": ("hyperparams.",), "models": ("metadata.",)}
_EQUAL = {"projects": (), "tasks": ("runtime.",), "models": ("ready",)}
_PATTERNS = {
    "projects": ("name", "basename", "description"),
    "tasks": ("name", "comment"),
    "models": ("name", "comment"),
}
_NO_FILTERS = {
    *("only_fields", "order_by", "page", "page_size", "search_hidden", "search_text", "method", "size", "scroll_id"),
    *("refresh_scroll", "allow_public", "include_stats", "shallow_search", "check_own_contents", "last_metrics"),
}
_EVERY, _ANY = {"__$all", "__$and"}, {"__$any", "__$or"}


def fits(value: Any, wanted: Any) -> bool:
    """`NewListFieldBucketHelper` and `get_list_field_query`: the first operator says how the parts come together."""
    have = set(value) if isinstance(value, list) else {value}
    parts: dict[str, set[str]] = {}
    together = context = ""
    negative, none_too, legacy = False, False, True
    for one in wanted if isinstance(wanted, list) else [wanted]:
        if one is None:
            none_too = True
        elif not isinstance(one, str):
            raise Refused(400, VALUE, "Invalid value for fields (invalid value type, string expected)")
        elif one == "__$nop":
            context, legacy = "any", True
        elif one == "__$not" and not negative:
            negative = True
            continue
        elif one in _EVERY | _ANY and not negative:
            context, legacy = ("all" if one in _EVERY else "any"), False
            together = together or context
        elif one.startswith("__$"):
            raise Refused(400, VALUE, f"Invalid value for fields (Unsupported operator): operator={one}")
        else:
            together = together or "all"
            minus = legacy and not negative and one.startswith("-")
            kind = "none" if negative or minus else context or "any"
            parts.setdefault(kind, set()).add(one[1:] if minus else one)
        negative = False
    if negative:
        raise Refused(400, VALUE, "Invalid value for fields (Value is expected after): operator=__$not")
    checks = {
        "all": lambda some: some <= have,
        "any": lambda some: bool(some & have),
        "none": lambda some: not some & have,
    }
    found = [checks[kind](some) for kind, some in parts.items()]
    empty = none_too and not have - {None}
    if none_too and not found:
        return empty
    return empty or (any(found) if together == "any" and found else all(found))


def _unescaped(part: str) -> str:
    """`ParameterKeyEscaper.unescape` in `apiserver/utilities/parameter_key_escaper.py`."""
    for escaped, plain in (("%2E", "."), ("%24", "$"), ("%_%_", "__"), ("%%", "%")):
        part = part.replace(escaped, plain)
    return part


def _value(document: Document, path: str) -> Any:
    found: Any = document
    for part in path.split("."):
        found = found.get(_unescaped(part)) if isinstance(found, dict) else None
    return found


def project(document: Document, fields: list[str] | None) -> Document:
    """`to_proper_dict(only=…)`: the named fields alone; a part of a folder that is not there leaves the empty folder."""
    if not fields:
        return document
    shown: Document = {}
    for path in fields:
        *above, last = path.split(".")
        source: Any = document
        target: Any = shown
        for part in above:
            source = source.get(_unescaped(part)) if isinstance(source, dict) else None
            target = target.setdefault(_unescaped(part), {})
        if isinstance(source, dict) and _unescaped(last) in source:
            target[_unescaped(last)] = source[_unescaped(last)]
    return shown


def _pattern(text: Any, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(text, flags)
    except re.error as error:
        raise Refused(400, REGEX, f"Malformed regular expression: err={error}") from None


def _filtered(kind: str, found: list[Document], body: Body) -> list[Document]:
    """`_prepare_query_no_company`; a filter that the server does not know it leaves out, and the stand-in notes."""
    for key, wanted in body.items():
        if wanted is None or key in _NO_FILTERS:
            continue
        if key in _PATTERNS[kind] and isinstance(wanted, str):
            pattern = _pattern(wanted)
            found = [one for one in found if pattern.search(str(one.get(key) or ""))]
        elif key in _LISTS[kind] or key.startswith(_LISTED[kind]):
            if wanted:
                found = [one for one in found if fits(_value(one, key), wanted)]
        elif key.startswith(_EQUAL[kind]):
            found = [one for one in found if _value(one, key) == wanted]
        elif key in {"_any_", "_all_"}:
            pattern = _pattern(wanted["pattern"], re.IGNORECASE)
            how = any if key == "_any_" else all
            found = [one for one in found if how(pattern.search(str(of(one, path) or "")) for path in wanted["fields"])]
        else:
            raise Unknown(400, 0, f"filter {key}={wanted!r}")
    return found


def _ordered(found: list[Document], fields: list[str]) -> list[Document]:
    """`validate_order_by` and `_get_many_override_none_ordering`: by id at last; what has no first field comes last.

    Without any order the database gives documents as they came, which is a guess about MongoDB's.
    """
    for place, path in reversed(list(enumerate([*fields, "id"] if fields else []))):
        down = path.startswith("-")
        name = path.removeprefix("-")

        def order(one: Document, *, first: bool = place == 0, name: str = name, down: bool = down) -> tuple[bool, str]:
            value = _value(one, name)
            return (value in (None, "", []) if first and not down else value is not None), str(value or "")

        found.sort(key=order, reverse=down)
    return found


def select(kind: str, documents: Iterable[Document], body: Body) -> list[Document]:
    """`get_many`; a search for text is a guess: MongoDB's index of words is not here."""
    found = _filtered(kind, list(documents), body)
    if body.get("search_text"):
        found = [one for one in found if body["search_text"] in str(one)]
    order = body.get("order_by") or []
    found = _ordered(found, [order] if isinstance(order, str) else list(order))
    page, size = body.get("page") or 0, body.get("page_size", PAGE)
    # `validate_paging`.
    if page < 0:
        raise Refused(400, SCHEMA, "Validation error (page must be >=0): field=page")
    if size < 1:
        raise Refused(400, SCHEMA, "Validation error (page_size must be >0): field=page_size")
    size = min(size, PAGE)
    return [project(copy.deepcopy(one), body.get("only_fields")) for one in found[page * size : (page + 1) * size]]


def visible(db: Documents, kind: str, body: Body) -> list[Document]:
    """`_hidden_query` in `apiserver/services/tasks.py` and `projects.py`: the hidden ones by their ids, or where they are asked for."""
    everything = body.get("search_hidden") or body.get("id")
    return [one for one in db.kinds[kind].values() if everything or "hidden" not in one["system_tags"]]
