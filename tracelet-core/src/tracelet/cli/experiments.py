"""`tracelet experiments`: list the experiments that the backends hold."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import click

from tracelet.cli.failing import code_of, plain, words
from tracelet.cli.finding import finding
from tracelet.cli.options import as_json, backends, readable_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, note, table, tell_json
from tracelet.core.management.experiments import experiments_in, waiting_experiments
from tracelet.exceptions import TraceletError

__all__ = ["experiments"]

#: A backend is opened for some experiment. It need not be there, and nothing is made of it.
_ANY = "experiments"


@click.command(epilog="Example: tracelet experiments --backend mlflow --backend local")
@backends
@tracelet_dir
@as_json
def experiments(backend: tuple[str, ...], folder: str | None, as_json: bool) -> int:
    """List the experiments that the backends hold versions of.

    Stderr names the experiments of which there are only deliveries that wait on this machine. If a backend fails, or
    cannot say which experiments it holds, the exit code is 1, and the command still lists what the others hold.
    """
    settings = settings_of(folder, backend)
    directory = readable_directory(settings)
    failure: TraceletError | None = None
    with finding(_ANY, settings, "listing experiments") as finder:
        try:
            found: Mapping[str, list[str]] = experiments_in(finder)
        except TraceletError as error:
            failure, found = error, error.answers
    holders: dict[str, list[str]] = {}
    for one, names in found.items():
        for name in names:
            holders.setdefault(name, []).append(one)
    waiting = {name: what for name, what in waiting_experiments(directory).items() if name not in holders}
    if as_json:
        told = {"directory": str(directory), "experiments": found}
        left = [{"experiment": name, **attrs.asdict(what)} for name, what in waiting.items()]
        tell_json(told | {"waiting": left, "error": plain(failure) if failure is not None else None})
    elif holders:
        rows = [(name, ",".join(held)) for name, held in sorted(holders.items())]
        table(rows, ("EXPERIMENT", "BACKENDS"))
    for name, what in waiting.items():
        note(f"nothing of {name!r} is stored there yet; {what}")
    if failure is not None:
        fail(words(failure))
        return code_of(failure)
    if not holders and not waiting:
        note(f"nothing is stored in {', '.join(settings.backend)} (directory {directory})")
    return 0
