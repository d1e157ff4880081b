"""The record of a version: its manifest, and its label; or that it was deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from tracelet.exceptions import IntegrityError, NewerFormat, UnsafePath
from tracelet.plugin import Manifest, check_schema

__all__ = ["SCHEMA", "Deleted", "Record", "is_deleted", "loads", "read_record"]

SCHEMA = 1
_KNOWN = frozenset({"schema", "label", "manifest"})


@attrs.frozen
class Record:
    """A version that exists."""

    manifest: Manifest
    label: str | None = None
    #: What a later release has added. It is kept.
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    def to_bytes(self) -> bytes:
        """Return what is stored. The manifest stands in it as everywhere."""
        begin = json.dumps({**self.extra, "schema": SCHEMA, "label": self.label})[:-1]
        return "".join([begin, ', "manifest": ', *self.manifest.pieces(), "}\n"]).encode()


@attrs.frozen
class Deleted:
    """A version that was deleted: its number is not used again."""

    def to_bytes(self) -> bytes:
        """Return what is stored."""
        return json.dumps({"schema": SCHEMA, "deleted": True}).encode()


_DELETED_SIZE = len(Deleted().to_bytes())


def is_deleted(size_bytes: int) -> bool:
    """Tell by its size whether a record is that of a deleted version, so that a listing needs not read it.

    A manifest has more bytes. What is cut off has others in all likelihood: it is read, and told to be damaged.
    """
    return size_bytes == _DELETED_SIZE


def read_record(data: bytes, place: str) -> Record | Deleted:
    """Read what :meth:`Record.to_bytes` or :meth:`Deleted.to_bytes` gave.

    Args:
        data: the bytes.
        place: where they are, for a message.

    Raises:
        NewerFormat: A later release wrote it.
        IntegrityError: It is damaged.
        UnsafePath: It has a path that must not be followed.
    """
    found = loads(data, place)
    if found.get("deleted") is True:
        return Deleted()
    label = found.get("label")
    try:
        if label is not None and not isinstance(label, str):
            raise IntegrityError("its label is no text.")
        extra = {key: value for key, value in found.items() if key not in _KNOWN}
        return Record(Manifest.from_dict(found.get("manifest")), label, extra)
    except NewerFormat as error:
        raise NewerFormat(f"{error} It is {place}.") from error
    except (IntegrityError, UnsafePath) as error:
        raise type(error)(
            f"{error} It is {place}: restore it, or delete that version, or get another one by its number, such as "
            "version='v0'."
        ) from error


def loads(data: bytes, place: str) -> dict[str, Any]:
    """Read an object of ours. Raises as :func:`read_record` does."""
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        check_schema(found, SCHEMA, place)
    except (RecursionError, ValueError) as error:
        raise IntegrityError(f"{place} is damaged ({error}): restore it.") from error
    return found
