"""Telling backends what runs used, where they were away when it was to be noted."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import attrs

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.lineage import Lineage
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.uses import Use, Uses
from tracelet.core.lanes.lane import open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.registry import Registry
from tracelet.exceptions import TraceletError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["LeftUse", "note_uses"]


@attrs.frozen
class LeftUse:
    """A use that its backend has not noted, and why."""

    use: Use
    reason: str


def note_uses(directory: Path, settings: TraceletSettings, plugins: Registry) -> tuple[int, list[LeftUse]]:
    """Tell every backend what it is still to note, of all experiments; say how many uses are done with, and what is left."""
    before = Uses(directory).everything()
    reasons: dict[tuple[str, str], str] = {}
    for place, _ in itertools.groupby(before, lambda use: (use.run.experiment, use.backend)):
        try:
            _note(*place, directory, settings, plugins)
        except TraceletError as error:
            reasons[place] = str(error)
    waits = "its version waits in the outbox."
    left = [LeftUse(use, reasons.get((use.run.experiment, use.backend), waits)) for use in Uses(directory).everything()]
    return len(before) - len(left), left


def _note(experiment: str, backend: str, directory: Path, settings: TraceletSettings, plugins: Registry) -> None:
    """Raises the first error after which a use is left: the others would fare no better."""
    spec = plugins.backends.get(backend)
    context = BackendContext(directory, call_plugin(backend, spec.context))
    lane = open_lane(spec, experiment, load_plugin(spec.settings, backend), context)
    attempts = Attempts(lane, settings, lambda parcel: None)
    lineage = Lineage(backend, experiment, attempts, Outbox(directory))
    try:
        lineage.recall()
        while lineage.due:
            error = lineage.note_next()
            if error is not None:
                raise error
    finally:
        attempts.close(time.monotonic() + settings.stop_timeout, failed=False)
