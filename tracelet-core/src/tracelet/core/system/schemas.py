"""The schema number of everything that is stored, and the rule by which what is stored grows: see ``docs/reference/format.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracelet.exceptions import NewerFormat

__all__ = ["SCHEMA", "check_schema"]

#: Of the records in a tracelet directory, all of which grow together.
SCHEMA = 1

#: No schema will ever have that number.
_MOST = 1_000_000


def check_schema(record: Mapping[str, Any], latest: int, what: str) -> None:
    """Check the number under ``schema`` of a stored record; one without a number has schema 1.

    A field that a reader may ignore is added without a new number. What it must not ignore has a higher one.

    Args:
        record: The record as plain data.
        latest: The highest schema that the caller can read.
        what: What the record is, to begin the message with.

    Raises:
        NewerFormat: A later release wrote it.
        ValueError: The number is none.

    Example:
        >>> check_schema({"schema": 2, "name": "net"}, latest=1, what="the record of 'net'")
        Traceback (most recent call last):
        tracelet.exceptions.NewerFormat: the record of 'net' was written by a later Tracelet ...

    """
    schema = record.get("schema", 1)
    if not isinstance(schema, int) or isinstance(schema, bool) or not 0 < schema < _MOST:
        raise ValueError(f"the schema of {what} is no number")
    if schema > latest:
        raise NewerFormat(
            f"{what} was written by a later Tracelet (schema {schema}; this one reads up to {latest}): upgrade tracelet "
            "with its plugins. It is whole, and nothing needs to be deleted."
        )
