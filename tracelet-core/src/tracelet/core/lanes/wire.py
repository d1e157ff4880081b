"""Requests and errors as plain data: the two sides of a lane agree here on what a message means."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import attrs

from tracelet import exceptions
from tracelet.core.artifacts.plain import converter
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.system.files import FileChanged
from tracelet.exceptions import BackendError, TraceletError

__all__ = ["Operation", "error_from_wire", "error_to_wire", "operation"]


@attrs.frozen
class Operation:
    """The types of a request's arguments and of its answer."""

    arguments: dict[str, Any]
    answer: Any


def operation(name: str) -> Operation:
    """Return the types of the request ``name``: those of the :class:`BackendService`'s method."""
    method = getattr(BackendService, name)
    hints = typing.get_type_hints(method)
    answer = hints.pop("return")
    return Operation({key: hints[key] for key in inspect.signature(method).parameters if key != "self"}, answer)


def error_to_wire(error: TraceletError) -> dict[str, Any]:
    """Return an error as plain data."""
    how = {name: getattr(error, name, False) for name in ("retryable", "ends_lane", "retry_after")}
    answers = converter().unstructure(tuple(error.answers), tuple[StoredArtifact, ...])
    return {"type": _known_kind(error).__name__, "message": str(error), "answers": answers, **how}


def _known_kind(error: TraceletError) -> type:
    """Return the nearest kind that is Tracelet's own: only the plugin's side knows the kinds that a plugin defines."""
    return next(
        kind for kind in type(error).__mro__ if kind is FileChanged or getattr(exceptions, kind.__name__, None) is kind
    )


def error_from_wire(data: dict[str, Any], backend: str) -> TraceletError:
    """Return the error that :func:`error_to_wire` described."""
    if data["type"] == FileChanged.__name__:
        return FileChanged(data["message"])
    kind: type[TraceletError] = getattr(exceptions, data["type"])
    how = {name: data[name] for name in ("retryable", "ends_lane", "retry_after")}
    told = kind(data["message"], backend=backend, **how) if issubclass(kind, BackendError) else kind(data["message"])
    told.answers = converter().structure(data["answers"], tuple[StoredArtifact, ...])
    return told
