"""What becomes of an error: its words for who uses the command, what programs read of it, and the exit code."""

from __future__ import annotations

import re

import click

from tracelet.exceptions import ArtifactError, ConfigError, TraceletError, UnknownPlugin

__all__ = ["INTERRUPTED", "code_of", "plain", "words"]

_USAGE = 2
INTERRUPTED = 130
#: What the library tells who writes Python, and what does the same here.
_HERE = (
    (re.compile(r"list_artifacts\(\) shows"), "`tracelet ls` shows"),
    (re.compile(r"say backend=\."), "say --backend."),
    (re.compile(r"say trust=True"), "say --trust"),
    # The command shows it.
    (re.compile(r" What was found all the same \(\d+ in number\) is in the error's \.answers\."), ""),
)


def code_of(error: Exception) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    return _USAGE if isinstance(error, (ArtifactError, ConfigError, UnknownPlugin)) else 1


def words(error: Exception) -> str:
    """Return what an error says, with what to do next."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        usage = " ".join(error.ctx.get_usage().split()).removeprefix("Usage: ")
        return f"{error.format_message()} Usage: {usage}; `{error.ctx.command_path} --help` says more."
    if isinstance(error, click.ClickException):
        return error.format_message()
    if not isinstance(error, TraceletError):
        return f"{error}. Mend that, or name another place."
    text = " ".join([str(error), *getattr(error, "__notes__", ())])
    for theirs, ours in _HERE:
        text = theirs.sub(ours, text)
    return text


def plain(error: Exception) -> dict[str, str]:
    """Return what programs read of an error."""
    return {"type": type(error).__name__, "message": words(error)}
