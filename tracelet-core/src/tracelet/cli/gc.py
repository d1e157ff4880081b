"""`tracelet gc`: remove the files that nobody needs any more."""

from __future__ import annotations

import re
import time

import attrs
import click

from tracelet.cli.options import as_json, existing_directory, settings_of, tracelet_dir
from tracelet.cli.screen import fail, line, progress, size, tell_json
from tracelet.core.maintenance.gc import SHORTEST_AGE, collect
from tracelet.core.plugins.registry import registry

__all__ = ["gc"]

_AGE = re.compile(r"([0-9]{1,6})([hd])")
_SECONDS = {"h": 3600.0, "d": 86400.0}


def _age(context: click.Context, option: click.Parameter, text: str) -> float:
    """Return the age in seconds."""
    match = _AGE.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds < SHORTEST_AGE:
        raise click.BadParameter(f"{text!r}: give hours or days, such as 24h or 7d, and at least 1h.")
    return seconds


@click.command(epilog="Example: tracelet gc --older-than 7d")
@click.option(
    "--older-than",
    metavar="AGE",
    default="24h",
    show_default=True,
    callback=_age,
    help="The age limit, such as 1h or 7d. Younger files stay.",
)
@tracelet_dir
@as_json
def gc(older_than: float, folder: str | None, as_json: bool) -> int:
    """Remove the garbage of the tracelet directory, and ask the configured backends to clear theirs.

    Garbage is what interrupted processes left, what was delivered, and downloads that were not used for a day
    longer than the age limit. The command never removes anything that a delivery, a reference or a running process
    needs. The exit code is 1 if a backend fails.
    """
    settings = settings_of(folder)
    directory = existing_directory(settings)
    with progress("removing garbage"):
        done = collect(directory, settings, registry(), time.time() - older_than)
    if as_json:
        swept = [attrs.asdict(one) for one in done.swept]
        tell_json({"directory": str(directory), "size_bytes": done.size_bytes, "swept": swept, "failed": done.failed})
    else:
        for one in done.swept:
            line(f"{one.kind}: {one.count}, {size(one.size_bytes)}")
        elsewhere = [one.kind.partition(" ")[2] for one in done.swept if one.kind.startswith("backend ")]
        places = [str(directory), *(name for name in elsewhere if name != "local")]
        line(f"{size(done.size_bytes)} free again in {' and '.join(places)}")
    for name, why in done.failed.items():
        fail(f"{name}: {why}")
    return int(bool(done.failed))
