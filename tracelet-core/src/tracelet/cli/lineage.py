"""`tracelet lineage`: what a version was made from, and what was made from it."""

from __future__ import annotations

import click

from tracelet.cli.failing import plain, words_of
from tracelet.cli.finding import find, finding
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, tell_json

__all__ = ["lineage"]


@click.command(epilog="Example: tracelet lineage digits images@best --depth 3")
@click.argument("experiment")
@click.argument("artifact", metavar="NAME[@VERSION]")
@click.option(
    "--depth", metavar="N", type=int, default=10, show_default=True, help="How many steps to go, at most 100."
)
@backends
@tracelet_dir
@as_json
def lineage(
    experiment: str, artifact: str, depth: int, backend: tuple[str, ...], folder: str | None, as_json: bool
) -> int:
    """Show as a tree what a version was made from, and what was made from it, across all backends that are asked.

    VERSION is latest (the default), v3, a label, an alias, or sha256: and the beginning of a digest. If a backend
    fails, the exit code is 1, and the command still shows what the others know.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"following {artifact}") as finder:
        found = find(finder, artifact, experiment, directory, settings).lineage(depth)
    if as_json:
        failed = {one: plain(error) for one, error in found.failed.items()}
        tell_json({"experiment": experiment, "depth": depth, **found.to_dict(), "failed": failed})
    else:
        for text in str(found).split("\n"):
            line(text)
    for one, error in found.failed.items():
        fail(words_of(one, error))
    return int(not found.ok)
