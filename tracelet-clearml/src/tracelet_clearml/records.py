"""The stored forms besides names: the text of a record, the places of its bytes, and the marks of tasks.

A later release may add fields to all of them. A reader ignores fields that it does not know. What a reader must not
ignore has a higher schema number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError
from tracelet.plugin import check_schema

__all__ = [
    "SCHEMA",
    "Blob",
    "Body",
    "Place",
    "configuration",
    "deleted",
    "has_mark",
    "is_deleted",
    "mark",
    "marks",
    "read_body",
]

#: The schema of everything here, and of the names of records and notes.
SCHEMA = 1
#: The only item of a record's configuration.
_ITEM = "tracelet"
_DELETED = "tracelet_deleted"


def _fields_of(cls: type[attrs.AttrsInstance], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a record that this release knows."""
    return {field.name: data[field.name] for field in attrs.fields(cls) if field.name in data}


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    texts = tuple(given)
    if isinstance(given, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{given!r} is no list of texts")
    return texts


@attrs.frozen
class Blob:
    """A stored file, and which files of the artifact are in it."""

    uri: str = attrs.field(validator=attrs.validators.instance_of(str))
    size_bytes: int = attrs.field(validator=attrs.validators.instance_of(int))
    #: The digest of the stored file, which may be a zip.
    sha256: str = attrs.field(validator=attrs.validators.instance_of(str))
    paths: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    zipped: bool = False

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Blob:
        """Read plain data. Raises TypeError if it does not describe a blob."""
        return cls(**_fields_of(cls, data))


@attrs.frozen
class Place:
    """Where one version is in ClearML."""

    #: ``artifacts``, ``model`` or ``dataset``.
    kind: str = attrs.field(validator=attrs.validators.instance_of(str))
    task: str
    project: str
    blobs: tuple[Blob, ...]
    #: The model's id, or the dataset's.
    entity: str = ""
    #: How many ancestors a dataset has.
    depth: int = 0
    #: Names of the entries in the task.
    keys: tuple[str, ...] = attrs.field(default=(), converter=_texts)

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return attrs.asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Place:
        """Read what :meth:`to_plain` gave.

        Raises:
            NewerFormat: A later release wrote it.
            IntegrityError: It does not describe a place.

        """
        try:
            check_schema(data, SCHEMA, "the place of a version in ClearML")
            blobs = tuple(map(Blob.from_plain, data["blobs"]))
            return cls(**{**_fields_of(cls, data), "blobs": blobs})
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"a record in ClearML was changed, and does not say where its bytes are: {error}"
            ) from error


@attrs.frozen
class Body:
    """The text of a record: everything that its name does not say."""

    #: Where the files are, plain data of a :class:`Place`.
    place: dict[str, Any]
    manifest: dict[str, Any] | None = None
    #: The blob that holds the manifest, in a record of an earlier release.
    aside: Blob | None = None
    #: The blob that holds all of this text, if that is long. The place then has no blobs and keys.
    whole: Blob | None = None

    @property
    def text(self) -> str:
        """The body as JSON text."""
        return json.dumps({"schema": SCHEMA, **attrs.asdict(self)}, ensure_ascii=False)

    @classmethod
    def of(cls, text: str | bytes) -> Body:
        """Read a text.

        Raises:
            NewerFormat: A later release wrote it.
            IntegrityError: It is not the text of a record.

        """
        try:
            data = json.loads(text)
            check_schema(data, SCHEMA, "a record in ClearML")
            blobs = {key: Blob.from_plain(data[key]) for key in ("aside", "whole") if data.get(key) is not None}
            return cls(dict(data["place"]), data.get("manifest"), **blobs)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"a record in ClearML was changed, and cannot be read: {error}") from error


def configuration(body: Body) -> dict[str, Any]:
    """Return the configuration of a task that holds a record's text."""
    return {_ITEM: {"name": _ITEM, "type": "json", "value": body.text, "description": "Leave it as it is."}}


def read_body(task: Mapping[str, Any]) -> Body:
    """Read the text of a record's task. Raises as :meth:`Body.of` does."""
    try:
        text = task["configuration"][_ITEM]["value"]
    except (LookupError, TypeError) as error:
        raise IntegrityError(f"the record {task.get('id')} in ClearML has no text any more ({error}).") from error
    return Body.of(text)


def mark(kind: str, key: str) -> dict[str, Any]:
    """Return a mark for the runtime of a new task: it says which run, or which put, the task belongs to."""
    return {f"tracelet_{kind}": key, "tracelet_schema": SCHEMA}


def has_mark(task: Mapping[str, Any], kind: str, key: str) -> bool:
    """Say whether a task has the mark of a run, or of a put. A mark of a later schema does not count: leave that task alone."""
    runtime = task.get("runtime") or {}
    return runtime.get(f"tracelet_{kind}") == key and runtime.get("tracelet_schema", SCHEMA) == SCHEMA


def deleted() -> dict[str, Any]:
    """Return a mark for the runtime of a dataset whose version is deleted, and which others come from."""
    return {_DELETED: True}


def is_deleted(runtime: Mapping[str, Any]) -> bool:
    """Say whether a dataset has that mark."""
    return runtime.get(_DELETED) is True and runtime.get("tracelet_schema", SCHEMA) == SCHEMA


def marks(kind: str, key: str) -> dict[str, Any]:
    """Return the part of a request that asks for marked tasks. An old server ignores it: check with :func:`has_mark`."""
    return {
        f"runtime.tracelet_{kind}": key,
        "only_fields": ["id", f"runtime.tracelet_{kind}", "runtime.tracelet_schema"],
    }
