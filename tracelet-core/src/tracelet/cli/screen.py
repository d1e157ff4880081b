"""Output for people (lines, columns, colours and progress) and for programs (JSON)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from tracelet.core.display.words import ago, columns, moment, one_line, size
from tracelet.core.system.signs import without_signs

__all__ = ["Warnings", "ago", "fail", "line", "moment", "note", "progress", "size", "table", "tell", "tell_json"]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to :func:`line`. Versions of rich without such a method do that, too."""
        raise


_OUT = _Console(highlight=False)
_ERR = _Console(stderr=True, highlight=False)


def line(text: object, style: str = "", *, console: Console = _OUT) -> None:
    """Write one line without wrapping it. Characters that could control the terminal are replaced."""
    try:
        console.print(Text(one_line(text), style), soft_wrap=True)
    except BrokenPipeError:
        _drain(console.file)


def fail(why: object) -> None:
    """Write one red line on stderr."""
    line(f"error: {why}", "red", console=_ERR)


def note(what: object) -> None:
    """Write one yellow line on stderr."""
    line(what, "yellow", console=_ERR)


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


def _drain(stream: IO[str]) -> None:
    """Discard further output, because its reader is gone. The command still finishes its work."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Give a progress bar on stderr. It is shown only on a terminal, and disappears at the end."""
    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=_ERR,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not sys.stderr.isatty(),
    )
    with without_signs(), bar:
        yield bar


class Warnings(logging.Handler):
    """Shows the library's warnings as yellow lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        line(f"warning: {record.getMessage()}", "yellow", console=_ERR)
