"""Which experiments there are, in the backends and on this machine, and which one a user may have meant."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path
from urllib.parse import unquote

import attrs

from tracelet.core.delivery.layout import DRAFTS, outbox_of, waiting_in
from tracelet.core.display.words import one_line
from tracelet.core.reading.finder import Finder, incomplete
from tracelet.core.storage.paths import physical_name
from tracelet.core.system.directory import nearest_directory
from tracelet.core.system.links import entries
from tracelet.core.system.messages import many

__all__ = [
    "Waiting",
    "experiments_in",
    "near_experiments",
    "waiting_experiments",
    "warn_of_nothing",
    "what_waits",
]

_LOG = logging.getLogger("tracelet.artifacts")


def experiments_in(finder: Finder) -> dict[str, list[str]]:
    """Return the names of the experiments that each backend holds.

    Raises where a backend fails; what the others hold is in the error's ``answers``.
    """
    found, errors = finder.ask("experiments", {one: {} for one in finder.backends})
    names = {one: list(found[one]) for one in finder.backends if one in found}
    if errors:
        raise incomplete(errors, names, sum(map(len, names.values())))
    return names


@attrs.frozen
class Waiting:
    """What of one experiment waits in the outbox."""

    #: Deliveries, with those that are to be hashed first.
    count: int
    #: The backends that deliveries are for; none where all are to be hashed first.
    backends: tuple[str, ...]

    def __str__(self) -> str:
        where = f"to {', '.join(self.backends)}" if self.backends else "to be hashed first"
        waits = many(self.count, "delivery of it waits", "deliveries of it wait")
        return f"{waits}, {where}: `tracelet sync` sends {'it' if self.count == 1 else 'them'}"


def what_waits(directory: Path, experiment: str) -> Waiting | None:
    """Return what waits of an experiment, by the names of files alone; None where nothing does."""
    places = entries(outbox_of(directory) / physical_name(experiment))
    counts = {place.name: len(waiting_in(place)) for place in places}
    backends = tuple(name for name, count in counts.items() if count and name != DRAFTS)
    count = sum(counts.values())
    return Waiting(count, backends) if count else None


def waiting_experiments(directory: Path) -> dict[str, Waiting]:
    """Return what waits of each experiment that has something in the outbox."""
    names = [unquote(place.name) for place in entries(outbox_of(directory))]
    found = {name: what_waits(directory, name) for name in names}
    return {name: waiting for name, waiting in found.items() if waiting is not None}


def near_experiments(directory: Path, experiment: str) -> list[str]:
    """Return names like that of an experiment of which nothing is on this machine. Only names of files are read for it."""
    stored = {unquote(place.parent.name) for place in (directory / "local").glob("*/versions")}
    known = stored | {unquote(place.name) for place in entries(outbox_of(directory))}
    return [] if experiment in known else difflib.get_close_matches(experiment, sorted(known), n=3)


def warn_of_nothing(directory: Path, experiment: str, backends: list[str]) -> None:
    """Warn that nothing was found where this machine knows why that may be. No backend is asked for it."""
    advice: list[str] = []
    if "local" in backends and not directory.is_dir():
        above = nearest_directory(directory.parent, directory.name)
        other = f"{above} is one: say dir={str(above)!r}" if above else "say dir=, or set TRACELET_DIR"
        advice.append(f"there is no such directory; {other}")
    if near := near_experiments(directory, experiment):
        advice.append(f"did you mean {' or '.join(map(repr, near))}?")
    if waiting := what_waits(directory, experiment):
        advice.append(str(waiting))
    if advice:
        where = f"experiment {experiment!r} of {', '.join(backends)} (directory {directory})"
        _LOG.warning("%s", one_line(f"nothing was found in {where}: {'; '.join(advice)}"))
