"""The options of the commands that take versions elsewhere, and how these tell what became of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tracelet.cli.failing import in_options, plain, words, words_of
from tracelet.cli.options import no_stream
from tracelet.cli.pairs import pairs_of
from tracelet.cli.screen import fail, line, size, table, tell_json
from tracelet.core.artifacts.copied import CopiedVersion, CopyResults

__all__ = ["from_set", "into", "only_show", "source_dir", "tell_results"]

F = TypeVar("F", bound=Callable[..., Any])


def _settings(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    return pairs_of(given, "tracking_uri=http://localhost:5000")


from_set = click.option(
    "--from-set",
    "from_given",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_settings,
    help="A setting for the source alone, as with --to-set. May be repeated.",
)
source_dir = click.option(
    "--dir",
    "folder",
    metavar="DIR",
    help="The tracelet directory of the source. By default TRACELET_DIR, or else .tracelet in this folder, or in the "
    "nearest one above it.",
)
only_show = click.option(
    "--dry-run", is_flag=True, help="Only show what would be done, and how many bytes would be brought."
)
_to_dir = click.option(
    "--to-dir",
    metavar="DIR",
    callback=no_stream,
    help="The tracelet directory of the target, by default that of the source. With --to local it holds all that "
    "belongs to it, and can be carried to another machine.",
)
_to_set = click.option(
    "--to-set",
    "to_given",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_settings,
    help="A setting for the target alone, such as tracking_uri=http://new:5000; in capitals, a variable of its SDK. "
    "May be repeated.",
)


def into(*, required: bool) -> Callable[[F], F]:
    """Add the options that say where versions are to go."""
    backend = click.option(
        "--to", "to_backend", metavar="BACKEND", required=required, help="The backend that is to have them."
    )

    def added(command: F) -> F:
        return backend(_to_dir(_to_set(command)))

    return added


def tell_results(what: dict[str, str], results: CopyResults, as_json: bool) -> int:
    """Tell what became of each version of ``what`` was asked for, and return the exit code."""
    if as_json:
        failed = {one: plain(error) for one, error in results.failed.items()}
        told = results.to_dict()
        versions = [{**one, "why": in_options(one["why"])} for one in told["versions"]]
        tell_json({**what, **told, "versions": versions, "failed": failed})
    elif results.versions:
        rows = [
            (
                _outcome(one, results),
                one.name,
                one.version,
                one.target or "",
                size(one.size_bytes),
                in_options(one.why) if not one.error else "",
            )
            for one in results.versions
        ]
        table(rows, ("", "NAME", "VERSION", "THERE", "SIZE", ""))
    if not as_json:
        line(results)
    for one in results.versions:
        if one.error is not None:
            # Not every source has versions.
            fail(f"{f'{one.name} {one.version}'.rstrip()}: {words(one.error)}")
    for backend, error in results.failed.items():
        fail(words_of(backend, error))
    return int(not results.ok)


def _outcome(one: CopiedVersion, results: CopyResults) -> str:
    return "to copy" if results.dry_run and one.outcome == "copied" else one.outcome
