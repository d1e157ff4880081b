"""`tracelet ls` and `tracelet get`: what is stored, and its files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from tracelet.cli.options import as_json, backends, settings_of, tracelet_dir
from tracelet.cli.screen import line, moment, progress, size, table, tell_json
from tracelet.core.artifacts import ArtifactType, LoggedArtifact
from tracelet.core.experiment import Experiment
from tracelet.core.finding import Finder
from tracelet.exceptions import TraceletError

__all__ = ["get", "ls"]


@click.command()
@click.argument("experiment")
@click.option("--type", "kind", type=click.Choice([one.value for one in ArtifactType]), help="Only this type.")
@click.option("--name", metavar="NAME", help="Only this name's versions.")
@backends
@tracelet_dir
@as_json
def ls(
    experiment: str, kind: str | None, name: str | None, backend: tuple[str, ...], folder: str | None, as_json: bool
) -> None:
    """List the stored versions of an experiment, newest first.

    The exit code is 1 where a backend fails; what the others hold is listed.
    """
    failure: TraceletError | None = None
    with _finder(experiment, folder, backend, "listing") as finder:
        try:
            found: Sequence[LoggedArtifact] = finder.find_all(ArtifactType(kind) if kind else None, None, name)
        except TraceletError as error:
            failure, found = error, error.answers
    if as_json:
        told = {"experiment": experiment, "artifacts": [_plain(one) for one in found]}
        tell_json(told | {"error": str(failure) if failure is not None else ""})
    else:
        table(_row(one) for one in found)
    if failure is not None:
        raise failure


@click.command()
@click.argument("experiment")
@click.argument("artifact", metavar="NAME[@VERSION]")
@click.option(
    "-o", "--output", metavar="DIR", help="Where the files go; by default a folder of the tracelet directory."
)
@click.option("--path", "paths", metavar="PATH", multiple=True, help="Only this file or folder of it; may be repeated.")
@click.option("--references", is_flag=True, help="Also fetch what references point at, to references/.")
@click.option("--trust", is_flag=True, help="Let references of the manifest copy files of this machine.")
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
    """Download a version of an artifact, each file verified against its sha256, and say where it is.

    VERSION is latest, v3, a label, an alias, or sha256: and the beginning of a digest.
    """
    name, _, version = artifact.partition("@")
    with _finder(experiment, folder, backend, f"getting {artifact}") as finder:
        found = finder.get(name, version or "latest", None)
        there = found.download(output, list(paths) or None, references=references, trust=trust)
    if as_json:
        tell_json({"experiment": experiment, **_plain(found), "folder": str(there)})
    else:
        line(there)


@contextmanager
def _finder(experiment: str, folder: str | None, backend: Sequence[str], what: str) -> Iterator[Finder]:
    settings = settings_of(folder, backend)
    finder = Experiment(experiment, settings=settings)._artifact_manager.finder
    try:
        with progress() as bar:
            bar.add_task(what, total=None)
            yield finder
    except KeyboardInterrupt:
        finder.kill()
        raise
    finally:
        finder.close(time.monotonic() + settings.stop_timeout)


def _row(one: LoggedArtifact) -> tuple[str, ...]:
    aliases = ",".join(one.aliases) or "-"
    when = moment(one.created_at)
    return (one.name, one.version, one.type.value, size(one.size_bytes), when, one.backend, aliases, one.digest[:12])


def _plain(one: LoggedArtifact) -> dict[str, Any]:
    manifest = one.manifest.to_dict()
    return {
        "name": one.name,
        "type": one.type.value,
        "version": one.version,
        "aliases": list(one.aliases),
        "backend": one.backend,
        "uri": one.uri,
        "digest": one.digest,
        "created_at": one.created_at,
        "pending": one.pending,
        "size_bytes": one.size_bytes,
        **{key: manifest[key] for key in ("description", "metadata", "files", "objects", "models", "references")},
    }
