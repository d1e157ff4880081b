"""`tracelet show`: everything about one stored version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from tracelet.cli.failing import code_of, plain, words
from tracelet.cli.finding import find, finding, numbered, plain_version
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import ago, fail, line, moment, size, table, tell_json
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.artifacts.plain_values import leaves
from tracelet.core.display.words import brief

__all__ = ["show"]

#: Characters of a value in the metadata that people are shown. Programs get all.
_LONGEST = 200


@click.command(epilog="Example: tracelet show digits net@best")
@click.argument("experiment")
@click.argument("artifact", metavar="NAME[@VERSION]")
@backends
@tracelet_dir
@as_json
def show(experiment: str, artifact: str, backend: tuple[str, ...], folder: str | None, as_json: bool) -> int:
    """Show everything about one version: its names, which backends hold its content, its metadata and its entries.

    VERSION is latest (the default), v3, a label, an alias, or sha256: and the beginning of a digest. Nothing is
    downloaded. If a backend fails, the exit code is 1, and the command still shows what the others hold.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"looking at {artifact}") as finder:
        found = find(finder, artifact, experiment, directory, settings)
        copies, failed = finder.copies(found)
        waiting = finder.awaited(found)
    if as_json:
        tell_json(
            {
                "experiment": experiment,
                **plain_version(found),
                "copies": [_plain_copy(one) for one in copies],
                "waiting": waiting,
                "errors": [{"backend": one, **plain(error)} for one, error in failed.items()],
            }
        )
    else:
        _show(found, copies, waiting)
    for error in failed.values():
        fail(words(error))
    return max(map(code_of, failed.values()), default=0)


def _plain_copy(one: LoggedArtifact) -> dict[str, Any]:
    plain = {"backend": one.backend, "version": one.version, "number": one.number, "label": one.label}
    return plain | {"aliases": list(one.aliases), "uri": one.uri, "pending": one.pending}


def _show(one: LoggedArtifact, copies: Sequence[LoggedArtifact], waiting: Sequence[str]) -> None:
    line(f"{one.name} {numbered(one)}", "bold")
    facts = [
        ("type", one.type.value),
        ("description", one.description),
        ("size", f"{size(one.size_bytes)} ({one.size_bytes} bytes)"),
        ("created", f"{moment(one.created_at)} ({ago(one.created_at)} ago)"),
        ("run", one.run_id),
        ("digest", one.digest),
        *(("input", digest) for digest in one.inputs),
        ("waiting", ", ".join(f"a delivery to {name}" for name in waiting)),
    ]
    for what, told in facts:
        if told:
            line(f"{what:11}  {told}")
    _section(
        ("BACKEND", "VERSION", "ALIASES", "PENDING", "URI"),
        (
            (copy.backend, numbered(copy), ",".join(copy.aliases) or "-", "yes" if copy.pending else "-", copy.uri)
            for copy in copies
        ),
    )
    values = ((".".join(keys), brief(value, _LONGEST)) for keys, value in leaves(one.manifest.metadata))
    _section(("METADATA", "VALUE"), values)
    _section(
        ("FILE", "SIZE", "SHA256"), ((file.artifact_path, size(file.size_bytes), file.sha256) for file in one.files)
    )
    _section(
        ("OBJECT", "SIZE", "SERIALIZER", "PATH"),
        ((item.name, size(item.size_bytes or 0), item.serializer, item.artifact_path) for item in one.objects),
    )
    _section(
        ("MODEL", "SIZE", "FRAMEWORK", "FILES"),
        (
            (model.name, size(sum(file.size_bytes for file in model.files)), model.framework, len(model.files))
            for model in one.models
        ),
    )
    _section(
        ("REFERENCE", "SIZE", "URI"),
        (
            (reference.path or "-", "-" if reference.size_bytes is None else size(reference.size_bytes), reference.uri)
            for reference in one.references
        ),
    )


def _section(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    told = list(rows)
    if told:
        line("")
        table(told, header)
