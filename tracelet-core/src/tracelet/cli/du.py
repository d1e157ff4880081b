"""`tracelet du`: how many bytes are stored, and what needs them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import click

from tracelet.cli.failing import plain, words_of
from tracelet.cli.finding import asked
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, note, progress, size, table, tell_json
from tracelet.core.experiment import Experiment
from tracelet.core.management.usage import DiskUsage, Usage, count_usage
from tracelet.core.plugins.registry import registry

__all__ = ["du"]

_KINDS = {
    "versions": "files of local's versions, each content once",
    "records": "manifests and notes of local",
    "store": "large files",
    "outbox": "what waits in the outbox",
    "downloads": "downloads",
    "unneeded": "needed by nothing; `tracelet gc` removes it when it is old enough",
    "other": "the rest",
}


@click.command(epilog="Example: tracelet du digits --backend local --backend mlflow")
@click.argument("experiment", required=False)
@backends
@tracelet_dir
@as_json
def du(experiment: str | None, backend: tuple[str, ...], folder: str | None, as_json: bool) -> int:
    """Count the bytes of an experiment by name and version, or those of all experiments by name.

    OWN are bytes that nothing else in that backend needs: they would be free without it. SHARED are bytes that others
    need, too. STORE are large files. If a backend fails, the exit code is 1, and the command still counts the others.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    if experiment is not None:
        Experiment(experiment, settings=settings)  # which says what is wrong with a name
    with progress("counting"):
        usage = count_usage(directory, settings, registry(), experiment)
    if as_json:
        failed = {one: plain(error) for one, error in usage.failed.items()}
        tell_json({"experiment": experiment, **_plain(usage), "failed": failed})
    elif experiment is None:
        _show(usage, usage.experiments, usage.names, f"{', '.join(settings.backend)} (directory {directory})")
    else:
        _show(usage, (), usage.versions, asked(experiment, directory, settings))
    for one, error in usage.failed.items():
        fail(words_of(one, error))
    return int(not usage.ok)


def _plain(usage: DiskUsage) -> dict[str, object]:
    told = {
        key: [attrs.asdict(one) for one in getattr(usage, key)]
        for key in ("experiments", "names", "versions", "backends")
    }
    return {
        "directory": usage.directory,
        **told,
        "on_disk": {**attrs.asdict(usage.on_disk), "total": usage.on_disk.total},
    }


def _show(usage: DiskUsage, above: Iterable[Usage], below: Iterable[Usage], nowhere: str) -> None:
    rows = [_row(one) for one in (*above, *below)]
    if rows:
        table(rows, ("EXPERIMENT", "NAME", "VERSION", "VERSIONS", "OWN", "SHARED", "STORE", "BACKEND"))
    else:
        note(f"no version is stored in {nowhere}")
    for each in usage.backends:
        said = "" if each.exact else ", as its manifests say"
        said += ", and not all of it could be counted" if each.backend in usage.failed else ""
        line(f"{each.backend}: {size(each.own)} own, and {size(each.shared)} shared, counted once{said}")
    line(f"{size(usage.on_disk.total)} on this machine, of all experiments in {usage.directory}:")
    for key, said in _KINDS.items():
        if count := getattr(usage.on_disk, key):
            line(f"  {size(count):>9}  {said}")


def _row(one: Usage) -> tuple[str, ...]:
    version = "" if one.number is None else f"v{one.number}" + (f" ({one.label})" if one.label else "")
    sizes = (size(count) for count in (one.own, one.shared, one.store))
    return (one.experiment, one.name or "*", version or "*", str(one.versions), *sizes, one.backend)
