"""How the command reports an error: the words for people, the JSON for programs, and the exit code."""

from __future__ import annotations

import re

import click

from tracelet.exceptions import ArtifactError, ConfigError, TraceletError, UnknownPlugin

__all__ = ["INTERRUPTED", "code_of", "in_options", "plain", "words", "words_of"]

_USAGE = 2
INTERRUPTED = 130
#: Advice for people who write Python, and the advice that fits the command in its place.
_HERE = (
    (re.compile(r"list_artifacts\(\) shows"), "`tracelet ls` shows"),
    (re.compile(r"say backend=\."), "say --backend."),
    (re.compile(r"say trust=True"), "say --trust"),
    (re.compile(r"say force=True"), "say --force"),
    (re.compile(r"say follow_links=True (.*?), or add its target with add_file"), r"say --follow-links \1"),
    (re.compile(r"^(limit|sort|depth)="), r"--\1 "),
    (re.compile(r"say experiment=\."), "say --experiment."),
    (re.compile(r"with trust it is loaded"), "with --trust it is loaded"),
    (re.compile(r"^keep_(last|best)="), r"--keep-\1 "),
    (re.compile(r"^older_than="), "--older-than "),
    (
        re.compile(r"say keep_last=(\S+), keep_best=(\S+), or older_than="),
        r"say --keep-last \1, --keep-best \2, or --older-than ",
    ),
    (re.compile(r"such as version='(v\d+)'"), r"such as NAME@\1"),
    # The command shows those answers itself.
    (re.compile(r" What was found all the same \(\d+ in number\) is in the error's \.answers\."), ""),
)


def code_of(error: Exception) -> int:
    """Return the exit code with which the command ends after an error."""
    if isinstance(error, click.ClickException):
        return error.exit_code
    return _USAGE if isinstance(error, (ArtifactError, ConfigError, UnknownPlugin)) else 1


def words(error: Exception) -> str:
    """Return the message of an error, with what to do next."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        usage = " ".join(error.ctx.get_usage().split()).removeprefix("Usage: ")
        # Some messages are lists of several lines.
        return (
            f"{' '.join(error.format_message().split())} Usage: {usage}; `{error.ctx.command_path} --help` says more."
        )
    if isinstance(error, click.ClickException):
        return error.format_message()
    if not isinstance(error, TraceletError):
        return f"{error}. Mend that, or name another place."
    return in_options(" ".join([str(error), *getattr(error, "__notes__", ())]))


def in_options(text: str) -> str:
    """Return what is said to people who write Python as it fits the command."""
    for theirs, ours in _HERE:
        text = theirs.sub(ours, text)
    return text


def words_of(backend: str, error: Exception) -> str:
    """Return the message of a backend's error, with the backend's name before it, once."""
    text = words(error)
    return text if text.startswith(f"{backend}: ") else f"{backend}: {text}"


def plain(error: Exception) -> dict[str, str]:
    """Return an error as the plain data that programs read."""
    return {"type": type(error).__name__, "message": words(error)}
