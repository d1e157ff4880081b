"""How a command asks before it deletes anything."""

from __future__ import annotations

import sys

import click

from tracelet.cli.screen import note

__all__ = ["agreed", "dry_run", "yes"]

dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
yes = click.option(
    "--yes", is_flag=True, help="Do not ask. Where no terminal is there to ask, nothing is done without it."
)


def agreed(question: str, yes: bool) -> bool:
    """Tell whether the user agrees, who is asked on stderr unless ``yes`` says it already.

    Raises:
        click.UsageError: Nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            "nobody can be asked here, and nothing was deleted: say --yes, or --dry-run to see what goes."
        )
    if click.confirm(question, err=True):
        return True
    note("nothing was deleted")
    return False
