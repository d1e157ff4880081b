"""`tracelet log`: store files and folders."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import attrs
import click

from tracelet.cli.failing import plain
from tracelet.cli.options import as_json, backends, no_stream, settings_of, tracelet_dir
from tracelet.cli.pairs import pairs_of
from tracelet.cli.screen import line, progress, size, tell_json
from tracelet.core.artifacts import ArtifactType
from tracelet.core.artifacts.results import LogResults
from tracelet.core.experiment import Experiment
from tracelet.core.experiment.from_paths import artifact_of

__all__ = ["log"]

#: Decimal numbers that JSON writes otherwise.
_DECIMAL = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {"True": True, "False": False}


def _metadata(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Return the metadata that the options give."""
    return {key: _value(text) for key, text in pairs_of(given, "accuracy=0.93").items()}


def _value(text: str) -> Any:
    """Return the number, the truth value or the JSON that a text is, or else the text."""
    if text in _WORDS:
        return _WORDS[text]
    if _DECIMAL.fullmatch(text):
        return float(text)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


@click.command(epilog="Example: tracelet log digits classifier weights.pt --alias best --meta accuracy=0.93")
@click.argument("experiment")
@click.argument("name")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, callback=no_stream)
@click.option(
    "--type",
    "kind",
    type=click.Choice([one.value for one in ArtifactType]),
    help="The type. By default the content and the names of the files tell.",
)
@click.option("--description", metavar="TEXT", help="A description for people.")
@click.option(
    "--label", metavar="LABEL", help="A label for this content, such as 1.0. It never moves to other content."
)
@click.option(
    "--alias", "aliases", metavar="ALIAS", multiple=True, help="A name that moves to this version. May be repeated."
)
@click.option(
    "--meta",
    "metadata",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_metadata,
    help="Metadata: a number, true or false, JSON, or else text. May be repeated.",
)
@click.option("--follow-links", is_flag=True, help="Also follow links that lead out of a folder.")
@backends
@tracelet_dir
@as_json
def log(
    experiment: str,
    name: str,
    paths: tuple[str, ...],
    kind: str | None,
    description: str | None,
    label: str | None,
    aliases: tuple[str, ...],
    metadata: dict[str, Any],
    follow_links: bool,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Store files and folders as one version of an artifact, in the backends that suit its type.

    A file keeps its name. What is in a folder is at the top of the artifact; of several paths, each folder keeps its
    name, too. The exit code is 1 if a backend does not have the artifact at the end.
    """
    settings = settings_of(folder, backend)
    artifact = artifact_of(paths, name, kind, description=description, metadata=metadata, follow_links=follow_links)
    with (
        Experiment(
            experiment, settings=settings, automagic_artifacts=False, watch_filesystem=False, strict=False
        ) as exp,
        progress(f"logging {name}"),
    ):
        results = exp.log_artifact(artifact, version=label, aliases=aliases)
    if as_json:
        tell_json({"experiment": experiment, "name": name, "type": artifact.type.value, **_plain(results)})
    else:
        _show(name, results)
    return int(not results.ok)


def _show(name: str, results: LogResults) -> None:
    for where, result in results.items():
        how = "logged   " if result.created else "unchanged"
        line(f"{how}  {name} to {where} {result.version} ({size(result.size_bytes)})")
    # The library's warnings have said why.
    for where in results.queued:
        line(f"queued     {name} to {where}: `tracelet sync` sends it", "yellow")
    for where in results.failed:
        line(f"failed     {name} to {where}", "red")
    for where, reason in results.skipped.items():
        line(f"skipped    {where}: {reason}")


def _plain(results: LogResults) -> dict[str, Any]:
    return {
        "logged": [attrs.asdict(result) for result in results.values()],
        "queued": [{"backend": where, "error": plain(error)} for where, error in results.queued.items()],
        "failed": [{"backend": where, "error": plain(error)} for where, error in results.failed.items()],
        "skipped": [{"backend": where, "reason": reason} for where, reason in results.skipped.items()],
        "warnings": list(results.warnings),
    }
