"""`tracelet prune`: delete the versions that no rule keeps."""

from __future__ import annotations

import click

from tracelet.cli.asking import agreed, dry_run, yes
from tracelet.cli.failing import plain, words_of
from tracelet.cli.finding import asked, finding
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, freed, line, moment, note, size, table, tell_json
from tracelet.core.artifacts.pruned import PruneResults
from tracelet.core.management.retention import prune as prune_versions
from tracelet.core.management.retention import rules_of
from tracelet.core.system.messages import many

__all__ = ["prune"]


@click.command(
    epilog="Example: tracelet prune digits --name checkpoint --keep-last 5 --keep-best metrics.val_loss:min:3"
)
@click.argument("experiment")
@click.option("--name", metavar="NAME", help="Only versions of this name.")
@click.option("--keep-last", metavar="N", type=int, help="Keep this many of the newest versions of a name.")
@click.option(
    "--keep-best",
    metavar="KEY:min|max:K",
    help="Keep the K versions of a name with the least or the largest number at a key of the metadata.",
)
@click.option("--older-than", metavar="AGE", help="Keep what is younger than this age, such as 12h, 30d or 8w.")
@dry_run
@yes
@backends
@tracelet_dir
@as_json
def prune(
    experiment: str,
    name: str | None,
    keep_last: int | None,
    keep_best: str | None,
    older_than: str | None,
    dry_run: bool,
    yes: bool,
    backend: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> int:
    """Delete the versions that no rule keeps, in every configured backend, and free their bytes.

    At least one rule must be given. What has a label or an alias other than latest, what a version that stays was
    made from, and, without --keep-last, the newest version of a name stay whatever the rules say. The command shows
    what goes and what stays, each with the reason, and asks. The exit code is 1 if a backend is away or refuses: the
    same command again completes it.
    """
    rules = rules_of(keep_last, keep_best, older_than)
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    with finding(experiment, settings, "looking at what would be deleted") as finder:
        results = prune_versions(finder, rules, name, dry_run=True)
    if not as_json:
        _list(results)
    if not dry_run:
        if results.goes and not agreed(f"Delete {many(len(results.goes), 'version', 'versions')}?", yes):
            return 1
        shown = {(one.backend, one.name, one.number) for one in results.goes}
        with finding(experiment, settings, "deleting") as finder:
            results = prune_versions(finder, rules, name, shown=shown)
    if as_json:
        failed = {one: plain(error) for one, error in results.failed.items()}
        tell_json({"experiment": experiment, **results.to_dict(), "failed": failed})
    elif not results.dry_run:
        what = f", {freed(results.freed_bytes)}" if results.goes else ""
        line(f"{many(len(results.goes), 'version', 'versions')} deleted{what}")
    if not (results.goes or results.stays or results.failed):
        note(f"nothing is stored in {asked(experiment, directory, settings)}")
    for one, error in results.failed.items():
        fail(words_of(one, error))
    return int(not results.ok)


def _list(results: PruneResults) -> None:
    rows = [
        (fate, one.name, one.version, size(one.size_bytes), moment(one.created_at), one.backend, one.why)
        for fate, group in (("stays", results.stays), ("goes", results.goes))
        for one in group
    ]
    if rows:
        table(rows, ("", "NAME", "VERSION", "SIZE", "CREATED", "BACKEND", "WHY"))
    line(
        f"{many(len(results.goes), 'version goes', 'versions go')} ({size(results.size_bytes)}), "
        f"{many(len(results.stays), 'stays', 'stay')}"
    )
