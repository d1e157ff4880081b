"""`tracelet report`: one page of HTML that shows what an experiment has stored."""

from __future__ import annotations

from typing import Any

import click

from tracelet.cli.failing import code_of, plain, words
from tracelet.cli.finding import asked, finding
from tracelet.cli.options import as_json, backends, no_stream, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, note, tell_json
from tracelet.core.reporting.report import MOST_VERSIONS, Report, write_report

__all__ = ["report"]


@click.command(epilog="Example: tracelet report digits -o digits.html")
@click.argument("experiment")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    callback=no_stream,
    help="The page. An existing file is replaced.",
)
@click.option("--name", metavar="NAME", help="Only versions of this name.")
@click.option(
    "--limit",
    metavar="N",
    type=int,
    default=MOST_VERSIONS,
    show_default=True,
    help="Have the newest N versions in the page.",
)
@backends
@tracelet_dir
@as_json
def report(
    experiment: str,
    output: str,
    name: str | None,
    limit: int,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Write one HTML page that shows what an experiment has stored, and say where it is.

    The page needs no network: it has previews of files, timelines of versions, their lineage, the numbers in their
    metadata, and sizes. Files are verified when they are read for it, and nothing in them runs. The exit code is 1 if a
    backend fails, or if a file cannot be read. The page then says so, and has all the rest.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"making {output}") as finder:
        made = write_report(finder, experiment, output, name=name, limit=limit)
    if as_json:
        tell_json({"experiment": experiment, **_plain(made)})
    else:
        line(made.path)
    for left_out in made.notes:
        note(left_out)
    for (digest, path), why in made.unreadable.items():
        fail(f"{path!r} of the version with the digest {digest[:12]} cannot be read: {why}")
    if made.failure is not None:
        fail(words(made.failure))
        return code_of(made.failure)
    if not made.versions:
        note(f"nothing is stored in {asked(experiment, directory, settings)}")
    return int(not made.ok)


def _plain(made: Report) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "size_bytes": made.size_bytes,
        "versions": made.versions,
        "previews": made.previews,
        "notes": list(made.notes),
        "unreadable": [
            {"digest": digest, "path": path, "reason": why} for (digest, path), why in made.unreadable.items()
        ],
        "error": plain(made.failure) if made.failure is not None else None,
    }
