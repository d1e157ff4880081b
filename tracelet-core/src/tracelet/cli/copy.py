"""`tracelet copy`: take stored versions to another backend, experiment, directory or server."""

from __future__ import annotations

import click

from tracelet.cli.finding import asked
from tracelet.cli.options import as_json, directory_of, settings_of
from tracelet.cli.screen import note, progress
from tracelet.cli.transfer_options import from_set, into, only_show, source_dir, tell_results
from tracelet.core.artifacts.copied import CopiedVersion
from tracelet.core.transfer.copy import copy as copy_stored

__all__ = ["copy"]


@click.command(epilog="Example: tracelet copy digits --from mlflow --to wandb --dry-run")
@click.argument("experiment")
@click.argument("artifacts", metavar="[NAME[@VERSION]]...", nargs=-1)
@click.option("--from", "from_backend", metavar="BACKEND", required=True, help="The backend that has them.")
@into(required=True)
@click.option(
    "--to-experiment", metavar="EXPERIMENT", help="The experiment to copy into. By default the one of the same name."
)
@source_dir
@from_set
@click.option("--trust", is_flag=True, help="Load models that are stored in a form which runs code, as pickles are.")
@only_show
@as_json
def copy(
    experiment: str,
    artifacts: tuple[str, ...],
    from_backend: str,
    to_backend: str,
    to_dir: str | None,
    to_given: dict[str, str],
    to_experiment: str | None,
    folder: str | None,
    from_given: dict[str, str],
    trust: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Copy stored versions to another backend, experiment, directory or server: all there are, or those that are named.

    Each has the same digest there. Order, labels, aliases, metadata, inputs, run ids and times come over, and every byte
    is verified on its way. What is there already is skipped, so that the same command again completes what was
    interrupted. A model becomes the target's own kind of model where it can be loaded, which for some needs --trust.
    The exit code is 1 if a version is missing in the target at the end.
    """
    settings = settings_of(folder, [from_backend])
    directory = directory_of(settings)
    with progress(f"looking at {experiment}") as bar:

        def told(done: CopiedVersion, count: int) -> None:
            bar.update(f"{done.outcome} {done.name} {done.version}", total=count, more=1)

        results = copy_stored(
            experiment,
            *artifacts,
            from_backend=from_backend,
            to_backend=to_backend,
            to_experiment=to_experiment,
            dir=directory,
            to_dir=to_dir,
            from_set=from_given,
            to_set=to_given,
            trust=trust,
            dry_run=dry_run,
            told=told,
        )
    if not results.versions and not results.failed:
        note(f"nothing is stored in {asked(experiment, directory, settings, '--from BACKEND')}")
    return tell_results({"experiment": experiment}, results, as_json)
