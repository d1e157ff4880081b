"""`tracelet ls` and `tracelet get`: list the stored versions, and download their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from tracelet.cli.failing import code_of, plain, words
from tracelet.cli.finding import asked, find, finding, numbered, plain_version
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, moment, note, size, table, tell_json
from tracelet.core.artifacts import ArtifactType
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.management.filters import query_of
from tracelet.exceptions import TraceletError

__all__ = ["get", "ls"]

_COLUMNS = ("NAME", "VERSION", "TYPE", "SIZE", "CREATED", "ALIASES", "BACKENDS", "PENDING", "DIGEST")


@click.command(
    epilog="Example: tracelet ls digits --name net --where 'metrics.val_loss < 0.3' --sort -metrics.accuracy"
)
@click.argument("experiment")
@click.option("--type", "kind", type=click.Choice([one.value for one in ArtifactType]), help="Show only this type.")
@click.option("--name", metavar="NAME", help="Show only versions of this name.")
@click.option(
    "--where",
    metavar="CONDITION",
    multiple=True,
    help="Show only versions whose metadata fits, such as 'metrics.val_loss < 0.3'. May be repeated: all must fit.",
)
@click.option("--sort", metavar="KEY", help="Sort by a key of the metadata. With - before it, the largest come first.")
@click.option("--limit", metavar="N", type=int, help="Show this many versions at most.")
@backends
@tracelet_dir
@as_json
def ls(
    experiment: str,
    kind: str | None,
    name: str | None,
    where: tuple[str, ...],
    sort: str | None,
    limit: int | None,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """List the stored versions of an experiment, newest first.

    A CONDITION is a key of the metadata (dots lead into dicts), one of < <= = != >= > ~ (contains), and a value. A
    version that has not the key fits none. A key that no listed version has in its metadata may be one of the
    artifact's own, such as size, created or label.

    If a backend fails, the exit code is 1, and the command still lists what the others hold. If there is nothing
    to list, stderr says which backends and which directory were asked.
    """
    query = query_of(where, sort, limit)
    settings = settings_of(folder, backend, looks_for_plugins=False)
    directory = readable_directory(settings)
    failure: TraceletError | None = None
    with finding(experiment, settings, "listing") as finder:
        try:
            found: Sequence[LoggedArtifact] = finder.find_all(
                ArtifactType(kind) if kind else None, None, name, query.select
            )
        except TraceletError as error:
            failure, found = error, error.answers
    if as_json:
        told = {"experiment": experiment, "artifacts": [plain_version(one) for one in found]}
        tell_json(told | {"error": plain(failure) if failure is not None else None})
    elif found:
        table(_rows(found), _COLUMNS)
    if failure is not None:
        fail(words(failure))
        return code_of(failure)
    if not found:
        given = [("type", kind), ("name", name), *(("where", repr(one)) for one in where)]
        filters = [f"--{option} {value}" for option, value in given if value]
        fits = f" that fits {' '.join(filters)}" if filters else ""
        note(f"nothing{fits} is stored in {asked(experiment, directory, settings)}")
    return 0


@click.command(epilog="Example: tracelet get digits net@best -o there")
@click.argument("experiment")
@click.argument("artifact", metavar="NAME[@VERSION]")
@click.option(
    "-o", "--output", metavar="DIR", help="Where the files go. By default a folder in the tracelet directory."
)
@click.option(
    "--path", "paths", metavar="PATH", multiple=True, help="Only this file or folder of the artifact. May be repeated."
)
@click.option("--references", is_flag=True, help="Also fetch the files that references point at, into references/.")
@click.option("--trust", is_flag=True, help="Allow references in the manifest to copy files of this machine.")
@backends
@tracelet_dir
@as_json
def get(
    experiment: str,
    artifact: str,
    output: str | None,
    paths: tuple[str, ...],
    references: bool,
    trust: bool,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> None:
    """Download a version of an artifact, verify each file against its sha256, and write the folder's path.

    VERSION is latest (the default), v3, a label, an alias, or sha256: and the beginning of a digest.
    """
    settings = settings_of(folder, backend, looks_for_plugins=False)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"getting {artifact}") as finder:
        found = find(finder, artifact, experiment, directory, settings)
        there = found.download(output, list(paths) or None, references=references, trust=trust)
    if as_json:
        tell_json({"experiment": experiment, **plain_version(found), "folder": str(there)})
    else:
        line(there)


def _rows(found: Iterable[LoggedArtifact]) -> list[tuple[str, ...]]:
    """Return a row for each version. What several backends hold under the same names shares a row."""
    rows: dict[tuple[object, ...], list[LoggedArtifact]] = {}
    for one in found:
        rows.setdefault((one.name, one.digest, one.number, one.label, one.aliases), []).append(one)
    return [_row(held) for held in rows.values()]


def _row(held: list[LoggedArtifact]) -> tuple[str, ...]:
    one = held[0]
    return (
        one.name,
        numbered(one),
        one.type.value,
        size(one.size_bytes),
        moment(one.created_at),
        ",".join(one.aliases) or "-",
        ",".join(copy.backend for copy in held),
        ",".join(copy.backend for copy in held if copy.pending) or "-",
        one.digest[:12],
    )
