"""The command group. It turns an error into one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from typing import NoReturn

import click

from tracelet.cli.commands import COMMANDS
from tracelet.cli.failing import INTERRUPTED, code_of, words
from tracelet.cli.screen import Warnings, fail, tell, tell_json
from tracelet.exceptions import TraceletError

__all__ = ["app", "run"]


class _Context(click.Context):
    """Writes help as the commands write: click fails where the reader of stdout is gone."""

    def get_help(self) -> NoReturn:
        """Write the help of the command, and end it."""
        tell(super().get_help())
        self.exit()


class _Commands(click.Group):
    """Imports a command when it is called, so that none pays for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"tracelet.cli.{module}"), name)
        command.context_class = _Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help, each with the beginning of its own."""
        room = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, click.Command(name, help=one.does).get_short_help_str(room)) for name, one in COMMANDS.items()]
            )


def _tell_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        import tracelet

        tell(f"tracelet {tracelet.__version__}")
        context.exit()


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.pass_context
def app(context: click.Context) -> None:
    """Show what Tracelet stores, and send the deliveries that wait.

    The command reads its settings from TRACELET_* variables. Exit codes: 0, everything is in order; 1, something
    failed, is wrong or is left over; 2, the command or a setting cannot be used; 130, interrupted.
    """
    if context.invoked_subcommand is None:
        context.get_help()


app.context_class = _Context


def run() -> int:
    """Run the command of this process's arguments and return its exit code."""
    logging.getLogger("tracelet").addHandler(Warnings(logging.WARNING))
    try:
        return int(app.main(prog_name="tracelet", standalone_mode=False) or 0)
    except click.Abort:
        return _ended(KeyboardInterrupt.__name__, f"interrupted; {_what_now(sys.argv[1:2])}.", INTERRUPTED)
    except (click.ClickException, TraceletError, OSError) as error:
        return _ended(type(error).__name__, words(error), code_of(error))


def _what_now(command: list[str]) -> str:
    """Say what an interruption means for the user. Nothing is put into the outbox by what takes versions elsewhere."""
    if command in (["copy"], ["import"]):
        return "the same command again skips what is there already, and brings the rest"
    return "the deliveries in the outbox are still there"


def _ended(kind: str, message: str, code: int) -> int:
    fail(message)
    # A command line that cannot be parsed shows in no other way that it asked for JSON.
    if "--json" in sys.argv[1:]:
        with contextlib.suppress(OSError):  # it may be stdout that failed
            tell_json({"error": {"type": kind, "message": message}})
    return code
