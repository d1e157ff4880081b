"""Output for people (lines, columns, colours and progress) and for programs (JSON)."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

from tracelet.cli.bar import above, progress
from tracelet.core.display.words import ago, columns, moment, one_line, size

__all__ = [
    "Warnings",
    "ago",
    "fail",
    "freed",
    "line",
    "moment",
    "note",
    "progress",
    "size",
    "table",
    "tell",
    "tell_json",
]


def line(text: object, style: str = "") -> None:
    """Write one line without wrapping it. Characters that could control the terminal are replaced."""
    _write(one_line(text), style, sys.stdout)


def fail(why: object) -> None:
    """Write one red line on stderr."""
    _tell_aside(f"error: {why}", "red")


def note(what: object) -> None:
    """Write one yellow line on stderr."""
    _tell_aside(what, "yellow")


def freed(size_bytes: int) -> str:
    """Say how many bytes a deletion freed. Some backends do not know that, or free them later."""
    return f"{size(size_bytes)} free again" if size_bytes else "no backend says that this freed bytes"


def _tell_aside(what: object, colour: str) -> None:
    text = one_line(what)
    # A line that a bar would overwrite goes above it.
    if not above(text, colour):
        _write(text, colour, sys.stderr)


def _write(text: str, style: str, stream: TextIO) -> None:
    if style and _has_colours(stream):
        text = click.style(text, bold=True) if style == "bold" else click.style(text, style)
    try:
        click.echo(text, stream, color=True)
    except BrokenPipeError:
        _drain(stream)


def _has_colours(stream: TextIO) -> bool:
    from tracelet.settings import wants_colours  # help and versions have no colours, and need no settings

    wanted = wants_colours()
    return stream.isatty() if wanted is None else wanted


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
    """Write rows under a header, in columns that are as wide as their longest cell."""
    for number, text in enumerate(columns([header, *rows])):
        line(text, "" if number else "bold")


def tell_json(data: dict[str, Any]) -> None:
    """Write data as JSON on stdout."""
    tell(json.dumps(data, indent=1, allow_nan=False))


def tell(text: str) -> None:
    """Write text for programs on stdout, as it is."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _drain(sys.stdout)


def _drain(stream: TextIO) -> None:
    """Discard further output, because its reader is gone. The command still finishes its work."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Warnings(logging.Handler):
    """Shows the library's warnings as yellow lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        note(f"warning: {record.getMessage()}")
