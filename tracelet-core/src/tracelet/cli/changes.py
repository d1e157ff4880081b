"""`tracelet alias` and `tracelet rm`: change and delete stored versions, in every backend that holds them."""

from __future__ import annotations

from typing import Any

import click

from tracelet.cli.asking import agreed, dry_run, yes
from tracelet.cli.failing import plain, words, words_of
from tracelet.cli.finding import find, finding
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, freed, line, size, table, tell_json
from tracelet.core.artifacts.changes import ChangeResults
from tracelet.core.artifacts.logged import LoggedArtifact
from tracelet.core.management.changes import delete_all
from tracelet.core.system.messages import many
from tracelet.exceptions import ArtifactNotFound

__all__ = ["alias", "rm"]


@click.command(epilog="Example: tracelet alias digits net@v3 best")
@click.argument("experiment")
@click.argument("artifact", metavar="NAME[@VERSION]")
@click.argument("aliases", metavar="ALIAS...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take the aliases away from the version.")
@backends
@tracelet_dir
@as_json
def alias(
    experiment: str,
    artifact: str,
    aliases: tuple[str, ...],
    remove: bool,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Move aliases to a version, in every configured backend that holds its content.

    The exit code is 1 if a backend is away or refuses, or if a delivery of the version waits. Those that could
    have the change have it then, and the same command again completes it.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, f"changing {artifact}") as finder:
        found = find(finder, artifact, experiment, directory, settings)
        results = found.remove_alias(*aliases) if remove else found.add_alias(*aliases)
    if as_json:
        tell_json({"experiment": experiment, **_plain(found, results)})
    else:
        _tell(found, results)
    _tell_errors(found, results)
    return int(not results.ok)


@click.command(epilog="Example: tracelet rm digits net@v3 net@v4 --dry-run")
@click.argument("experiment")
@click.argument("artifacts", metavar="NAME@VERSION...", nargs=-1, required=True)
@click.option(
    "--force", is_flag=True, help="Also delete what has a label or an alias, or is an input of another version."
)
@dry_run
@yes
@backends
@tracelet_dir
@as_json
def rm(
    experiment: str,
    artifacts: tuple[str, ...],
    force: bool,
    dry_run: bool,
    yes: bool,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Delete versions, in every configured backend that holds their content, and free their bytes.

    What has a label, an alias other than latest, or is an input of a version that stays is deleted with --force
    alone: without it, the exit code is 1 then, and nothing is deleted at all.

    The exit code is 1, too, if a backend is away or refuses, or if a delivery of a version waits. The same command
    again completes it then, for what is not there any more is told, and the others go; name the version by sha256: and its digest if no other backend has it any more.
    """
    for artifact in artifacts:
        if not artifact.partition("@")[2] and not artifact.partition(":")[2]:
            raise click.UsageError(f"{artifact!r} names no version: say which, as {artifact}@v3.")
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, "looking at what would be deleted") as finder:
        named, missing = [], list[ArtifactNotFound]()
        for artifact in artifacts:
            try:
                named.append(find(finder, artifact, experiment, directory, settings))
            except ArtifactNotFound as error:
                missing.append(error)
        if not named:
            raise missing[0]
        found = list({(one.backend, one.name, one.number): one for one in named}.values())
        results = delete_all(finder, found, force, dry_run=True)
    if not dry_run:
        if not yes and not as_json:
            _list(found, results)
        if not agreed(f"Delete {many(len(found), 'version', 'versions')}?", yes):
            return 1
        with finding(experiment, settings, "deleting") as finder:
            results = delete_all(finder, found, force)
    count = sum(one.freed_bytes for one in results)
    if as_json:
        versions = [_plain(*each) for each in zip(found, results, strict=True)]
        told = {"experiment": experiment, "dry_run": dry_run, "versions": versions, "freed_bytes": count}
        tell_json({**told, "missing": [plain(error) for error in missing]})
    elif dry_run:
        _list(found, results)
        line("nothing was deleted")
    else:
        for each in zip(found, results, strict=True):
            _tell(*each)
        line(freed(count))
    for each in zip(found, results, strict=True):
        _tell_errors(*each)
    for absent in missing:
        fail(words(absent))
    return int(bool(missing) or not all(one.ok for one in results))


def _list(found: list[LoggedArtifact], results: list[ChangeResults]) -> None:
    """Show what would be deleted."""
    held = ((one, change) for one, each in zip(found, results, strict=True) for change in each.values())
    table(
        [(one.name, change.version, size(one.size_bytes), change.backend) for one, change in held],
        ("NAME", "VERSION", "SIZE", "BACKEND"),
    )


def _tell(one: LoggedArtifact, results: ChangeResults) -> None:
    for name, change in results.items():
        line(f"{one.name} {name}: {change}")
    for name in results.absent:
        line(f"{one.name} {name}: not there")


def _tell_errors(one: LoggedArtifact, results: ChangeResults) -> None:
    for name, error in (results.failed | results.queued).items():
        fail(f"{one.name} {words_of(name, error)}")


def _plain(one: LoggedArtifact, results: ChangeResults) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "number": one.number,
        "digest": one.digest,
        "size_bytes": one.size_bytes,
        "backends": {
            name: {
                "version": change.version,
                "uri": change.uri,
                "aliases": list(change.aliases),
                "deleted": change.deleted,
                "freed_bytes": change.freed_bytes,
            }
            for name, change in results.items()
        },
        "failed": {name: plain(error) for name, error in results.failed.items()},
        "queued": {name: plain(error) for name, error in results.queued.items()},
        "absent": list(results.absent),
    }
