"""The outbox's files as data: how one is written, and how one is read that anybody may have changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from tracelet.core.artifacts.checks import check_name
from tracelet.core.artifacts.plain import converter
from tracelet.core.delivery.unreadable import Unreadable, describe
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.system.links import read_own
from tracelet.core.system.redaction import redact
from tracelet.core.system.schemas import SCHEMA, check_schema
from tracelet.exceptions import IntegrityError

__all__ = ["astray", "check_names", "encoded", "plain_of", "read_record", "without_secrets"]

T = TypeVar("T")
_ORDER = re.compile(r"[0-9]{1,20}")


def plain_of(record: Any) -> dict[str, Any]:
    """Return a record as its file has it."""
    return {"schema": SCHEMA, **converter().unstructure(record)}


def encoded(record: Any) -> bytes:
    """Return the content of a record's file."""
    return json.dumps(plain_of(record)).encode()


def without_secrets(value: Any) -> Any:
    """Return plain data with the secrets taken out of every URI in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def read_record(path: Path, kind: type[T]) -> T:
    """Read a record of a kind from its file.

    Raises :class:`Unreadable` where it is damaged, or a link, and :class:`NewerFormat` where a later release wrote it.
    """
    try:
        plain = json.loads(read_own(path))
        check_schema(plain, SCHEMA, str(path))
        return converter().structure({key: value for key, value in plain.items() if key != "schema"}, kind)
    except IntegrityError as error:
        raise Unreadable(describe(path, "is a link, or no regular file")) from error
    except (AttributeError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unreadable(describe(path)) from error


def check_names(path: Path, run: RunInfo, backends: Iterable[str]) -> None:
    """Raise ``ValueError``, or :class:`Unreadable`, where the name of something in a file could be a path."""
    if not _ORDER.fullmatch(path.name.partition("~")[0]):
        raise astray(path)
    check_name(run.id, "run")
    for backend in backends:
        check_name(backend, "backend")


def astray(path: Path) -> Unreadable:
    """Return the error for a file that does not belong where it is, or names a place outside its own."""
    return Unreadable(describe(path, "names a place that is not its own"))
