"""What a notebook shows for an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracelet.core.display.cards import card, copyable, facts, note, number, section
from tracelet.core.display.html import element, table
from tracelet.core.display.words import moment
from tracelet.core.plugins.versions import RunInfo

__all__ = ["experiment_card"]


def experiment_card(name: str, run: RunInfo | None, stats: Mapping[str, Any]) -> str:
    """Return an experiment as HTML. ``stats`` is what :meth:`~tracelet.Experiment.stats` returns."""
    state = [copyable(run.id), f" since {moment(run.started_at)}"] if run is not None else ["none"]
    rows = [
        (backend, known["state"], number(str(known["waiting"])), number(str(known["delivered"])), known["reason"])
        for backend, known in stats["backends"].items()
    ]
    known = [("run", element("span", *state)), ("directory", copyable(stats["directory"]))]
    backends = table(("backend", "state", "waiting", "delivered", "why"), rows)
    off = [] if stats["enabled"] else [note("Artifacts are off: say artifacts=True.")]
    return card("experiment", name, facts(known), section("Backends", backends), *off)
