"""`tracelet diff`: what differs between two stored versions."""

from __future__ import annotations

import click

from tracelet.cli.finding import find, finding
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import line, tell_json

__all__ = ["diff"]

_STYLES = {"+": "green", "-": "red", "~": "yellow"}


@click.command(epilog="Example: tracelet diff digits net@v3 net@best")
@click.argument("experiment")
@click.argument("before", metavar="NAME[@VERSION]")
@click.argument("after", metavar="NAME[@VERSION]")
@backends
@tracelet_dir
@as_json
def diff(experiment: str, before: str, after: str, backend: tuple[str, ...], folder: str | None, as_json: bool) -> None:
    """Show what differs between two versions: files, objects, models, references, metadata, type, description, inputs.

    Nothing is downloaded: their manifests tell it. The exit code is 0 also where they differ.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"comparing {before} and {after}") as finder:
        one, other = (find(finder, version, experiment, directory, settings) for version in (before, after))
    found = one.diff(other)
    if as_json:
        tell_json({"experiment": experiment, **found.to_dict()})
    else:
        for text in str(found).split("\n"):
            line(text, _STYLES.get(text[:1], ""))
