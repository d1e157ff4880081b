"""The schema number of what Tracelet writes into W&B. By it a reader knows what a later release wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from tracelet.plugin import check_schema

__all__ = ["SCHEMA", "check_edited", "check_text"]

#: One number for notes on versions, configurations of runs, and notes about the SDK's files: they grow together.
SCHEMA = 1


def check_edited(record: Mapping[str, Any], what: str) -> None:
    """Raise :class:`~tracelet.NewerFormat` where a later release wrote a record.

    A schema that is no number is ignored: users can edit these records.
    """
    with contextlib.suppress(ValueError):
        check_schema(record, SCHEMA, what)


def check_text(text: str, what: str) -> None:
    """The same for the text of a number."""
    with contextlib.suppress(ValueError):
        check_schema({"schema": int(text)}, SCHEMA, what)
