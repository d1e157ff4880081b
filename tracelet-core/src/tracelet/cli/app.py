"""The command group. It turns an error into one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import logging
import sys
from importlib.metadata import version
from typing import NoReturn

import click

from tracelet.cli.changes import alias, rm
from tracelet.cli.completion import completion
from tracelet.cli.copy import copy
from tracelet.cli.diff import diff
from tracelet.cli.doctor import doctor
from tracelet.cli.du import du
from tracelet.cli.experiments import experiments
from tracelet.cli.failing import INTERRUPTED, code_of, words
from tracelet.cli.gc import gc
from tracelet.cli.import_command import import_command
from tracelet.cli.lineage import lineage
from tracelet.cli.log import log
from tracelet.cli.plugins import plugins
from tracelet.cli.prune import prune
from tracelet.cli.reading import get, ls
from tracelet.cli.report import report
from tracelet.cli.screen import Warnings, fail, tell, tell_json
from tracelet.cli.show import show
from tracelet.cli.sync import sync
from tracelet.cli.verify import verify
from tracelet.exceptions import TraceletError

__all__ = ["app", "run"]


class _Context(click.Context):
    """Writes help as the commands write: click fails where the reader of stdout is gone."""

    def get_help(self) -> NoReturn:
        """Write the help of the command, and end it."""
        tell(super().get_help())
        self.exit()


def _tell_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        tell(f"tracelet {version('tracelet-core')}")
        context.exit()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
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


for _command in (
    plugins,
    doctor,
    experiments,
    log,
    ls,
    show,
    get,
    diff,
    lineage,
    report,
    verify,
    du,
    alias,
    rm,
    prune,
    copy,
    import_command,
    sync,
    gc,
    completion,
):
    app.add_command(_command)
    _command.context_class = _Context
app.context_class = _Context


def run() -> int:
    """Run the command of this process's arguments and return its exit code."""
    logging.getLogger("tracelet").addHandler(Warnings(logging.WARNING))
    try:
        return int(app.main(prog_name="tracelet", standalone_mode=False) or 0)
    except click.Abort:
        return _ended(
            KeyboardInterrupt.__name__, "interrupted; the deliveries in the outbox are still there.", INTERRUPTED
        )
    except (click.ClickException, TraceletError, OSError) as error:
        return _ended(type(error).__name__, words(error), code_of(error))


def _ended(kind: str, message: str, code: int) -> int:
    fail(message)
    # A command line that cannot be parsed shows in no other way that it asked for JSON.
    if "--json" in sys.argv[1:]:
        with contextlib.suppress(OSError):  # it may be stdout that failed
            tell_json({"error": {"type": kind, "message": message}})
    return code
