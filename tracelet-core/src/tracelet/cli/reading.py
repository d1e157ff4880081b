"""`tracelet ls` and `tracelet get`: list the stored versions, and download their files."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click

from tracelet.cli.failing import code_of, plain, words
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, moment, note, progress, size, table, tell_json
from tracelet.core.artifacts import ArtifactType
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.experiment import Experiment
from tracelet.core.reading.finder import Finder
from tracelet.core.system.messages import many, sentence
from tracelet.exceptions import ArtifactNotFound, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["get", "ls"]


@click.command()
@click.argument("experiment")
@click.option("--type", "kind", type=click.Choice([one.value for one in ArtifactType]), help="Show only this type.")
@click.option("--name", metavar="NAME", help="Show only versions of this name.")
@backends
@tracelet_dir
@as_json
def ls(
    experiment: str, kind: str | None, name: str | None, backend: tuple[str, ...], folder: str | None, as_json: bool
) -> int:
    """List the stored versions of an experiment, newest first.

    If a backend fails, the exit code is 1, and the command still lists what the others hold. If there is nothing
    to list, stderr says which backends and which directory were asked.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    failure: TraceletError | None = None
    with _finder(experiment, settings, "listing") as finder:
        try:
            found: Sequence[LoggedArtifact] = finder.find_all(ArtifactType(kind) if kind else None, None, name)
        except TraceletError as error:
            failure, found = error, error.answers
    if as_json:
        told = {"experiment": experiment, "artifacts": [_plain(one) for one in found]}
        tell_json(told | {"error": plain(failure) if failure is not None else None})
    else:
        table(_row(one) for one in found)
    if failure is not None:
        fail(words(failure))
        return code_of(failure)
    if not found:
        filters = [f"--{option} {value}" for option, value in (("type", kind), ("name", name)) if value]
        fits = f" that fits {' '.join(filters)}" if filters else ""
        note(f"nothing{fits} is stored in {_asked(experiment, directory, settings)}")
    return 0


@click.command()
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
    name, _, version = artifact.partition("@")
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with _finder(experiment, settings, f"getting {artifact}") as finder:
        try:
            found = finder.get(name, version or "latest", None)
        except ArtifactNotFound as error:
            asked = sentence(f"The command asked {_asked(experiment, directory, settings)}")
            raise ArtifactNotFound(f"{error} {asked}") from error
        there = found.download(output, list(paths) or None, references=references, trust=trust)
    if as_json:
        tell_json({"experiment": experiment, **_plain(found), "folder": str(there)})
    else:
        line(there)


@contextmanager
def _finder(experiment: str, settings: TraceletSettings, what: str) -> Iterator[Finder]:
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


def _asked(experiment: str, directory: Path, settings: TraceletSettings) -> str:
    """Say what was asked and what else the user may mean. Only files of this machine are read for it."""
    said = [f"experiment {experiment!r} of {', '.join(settings.backend)} (directory {directory})"]
    near = difflib.get_close_matches(experiment, sorted(_experiments(directory) - {experiment}), n=3)
    if near:
        said.append(f"did you mean {' or '.join(map(repr, near))}?")
    outbox = Outbox(directory)
    parcels = [parcel for parcel in outbox.everything() if parcel.run.experiment == experiment]
    count = len(parcels) + len(outbox.drafts.files(experiment))
    if count:
        places = ", ".join(sorted({parcel.backend for parcel in parcels})) or "be hashed first"
        waiting = many(count, "delivery of it waits", "deliveries of it wait")
        said.append(f"{waiting}, to {places}: `tracelet sync` sends {'it' if count == 1 else 'them'}")
    if not near and not count:
        said.append("--backend NAME asks another backend, --dir DIR another directory")
    return "; ".join(said)


def _experiments(directory: Path) -> set[str]:
    """Return the experiments that have something in the embedded backend or in the outbox."""
    tops = [directory / "local", Outbox(directory).root]
    return {unquote(entry.name) for top in tops if top.is_dir() for entry in top.iterdir()}


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
        "number": one.number,
        "label": one.label,
        "aliases": list(one.aliases),
        "backend": one.backend,
        "uri": one.uri,
        "digest": one.digest,
        "created_at": one.created_at,
        "run_id": one.run_id,
        "inputs": list(one.inputs),
        "pending": one.pending,
        "size_bytes": one.size_bytes,
        **{key: manifest[key] for key in ("description", "metadata", "files", "objects", "models", "references")},
    }
