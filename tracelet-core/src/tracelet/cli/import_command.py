"""`tracelet import`: store what was logged without Tracelet as versions of artifacts."""

from __future__ import annotations

from pathlib import Path

import click

from tracelet.cli.options import as_json, directory_of, settings_of
from tracelet.cli.screen import line, moment, note, progress, size, table, tell_json
from tracelet.cli.transfer_options import from_set, into, only_show, source_dir, tell_results
from tracelet.core.artifacts.copied import CopiedVersion
from tracelet.core.artifacts.plain import converter
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.system.messages import many
from tracelet.core.transfer.import_from import discover, import_from

__all__ = ["import_command"]


@click.command("import", epilog="Example: tracelet import mlflow digits --to local --list")
@click.argument("source", metavar="BACKEND")
@click.argument("place")
@into(required=False)
@click.option(
    "--experiment",
    metavar="EXPERIMENT",
    help="The experiment to import into. By default the one that the tracker has it in.",
)
@source_dir
@from_set
@click.option(
    "--list", "only_list", is_flag=True, help="Only show what is there. Nothing is fetched, and no --to is needed."
)
@only_show
@as_json
def import_command(
    source: str,
    place: str,
    to_backend: str | None,
    to_dir: str | None,
    to_given: dict[str, str],
    experiment: str | None,
    folder: str | None,
    from_given: dict[str, str],
    only_list: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Store what was logged without Tracelet as versions of artifacts: from a tracker, a folder, or a DVC repository.

    PLACE is what the tracker's users call it: an experiment or models:/NAME of MLflow, ENTITY/PROJECT of W&B, a project
    or a task's id of ClearML, an experiment or a run's hash of Aim; or a path. Aliases, descriptions and metadata come
    over, and the metadata says where a version comes from. What was imported before is skipped. The exit code is 1 if
    something could not be imported.
    """
    directory = directory_of(settings_of(folder))
    if only_list:
        _list(source, place, directory, from_given, as_json)
        return 0
    if to_backend is None:
        raise click.UsageError("say with --to which backend is to have it, or --list to see what is there.")
    with progress(f"looking at {place}") as bar:

        def told(done: CopiedVersion, count: int) -> None:
            bar.update(f"{done.outcome} {done.name} {done.version}", total=count, more=1)

        results = import_from(
            source,
            place,
            to_backend=to_backend,
            experiment=experiment,
            dir=directory,
            to_dir=to_dir,
            from_set=from_given,
            to_set=to_given,
            dry_run=dry_run,
            told=told,
        )
    if not results.versions:
        note(_nothing(source, place))
    return tell_results({"source": source, "place": place}, results, as_json)


def _list(source: str, place: str, directory: Path, given: dict[str, str], as_json: bool) -> None:
    with progress(f"looking at {place}"):
        found = discover(source, place, dir=directory, from_set=given)
    if as_json:
        tell_json({"source": source, "place": place, "found": converter().unstructure(found, list[ForeignArtifact])})
        return
    if found:
        rows = [
            (one.name, one.version, one.type.value, one.kind, size(one.size_bytes), moment(one.created_at), one.address)
            for one in found
        ]
        table(rows, ("NAME", "VERSION", "TYPE", "WHAT IT IS", "SIZE", "CREATED", "ADDRESS"))
    else:
        note(_nothing(source, place))
    line(f"{many(len(found), 'version', 'versions')} ({size(sum(one.size_bytes for one in found))})")


def _nothing(source: str, place: str) -> str:
    return f"nothing was logged at {place!r} of {source} without Tracelet; `tracelet copy` takes what Tracelet stored"
