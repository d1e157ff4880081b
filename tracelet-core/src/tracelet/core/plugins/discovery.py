"""Discovery: what is installed, from which distribution, and what is broken.

A plugin that is broken costs nothing until its name is used. What Tracelet's own distributions provide is theirs: no
other distribution can take a name from them.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points, requires
from typing import Any

import attrs

from tracelet.core.plugins.loading import HOOKS, Found, load_point
from tracelet.core.plugins.marks import PROJECT
from tracelet.core.plugins.specs import CORE, Installed, PluginRecord, SpecSet
from tracelet.core.system.messages import words_of
from tracelet.exceptions import PluginLoadError

__all__ = ["discover", "discover_installed"]

_LOG = logging.getLogger("tracelet.plugins")


def _unique(points: Iterable[EntryPoint]) -> list[tuple[EntryPoint, PluginRecord]]:
    """Return each entry point once, also where its distribution is found twice on the path; Tracelet's own come first."""
    seen: dict[tuple[str, str, str], tuple[EntryPoint, PluginRecord]] = {}
    for point in points:
        name, version = _distribution(point.dist)
        seen[point.name, point.value, name] = point, PluginRecord(point.name, name, version, point.value)
    return sorted(seen.values(), key=lambda one: (_rank(one[1].distribution), one[1].name))


def _distribution(found: Distribution | None) -> tuple[str, str]:
    try:
        return (found.name or "unknown", found.version or "") if found is not None else ("unknown", "")
    except Exception:  # noqa: BLE001 - where its metadata is gone, Pythons differ in what they raise
        return "unknown", ""


@functools.cache
def _siblings() -> frozenset[str]:
    """The distributions that core names as its extras and that are Tracelet's own."""
    names = {re.split(r"[^A-Za-z0-9_.-]", need)[0].lower() for need in requires(CORE) or ()}
    return frozenset(name for name in names if name.startswith("tracelet-"))


def _rank(distribution: str) -> int:
    if distribution == CORE:
        return 0
    return 1 if distribution.lower().replace("_", "-") in _siblings() else 2


def _failure(record: PluginRecord, found: Found) -> PluginLoadError | None:
    """Return the error for a plugin in which something is wrong."""
    if not found.faults:
        return None
    first = found.faults[0]
    reasons = "; ".join(dict.fromkeys(words_of(error).rstrip(".") for error in found.faults))
    whole = " whole" if any(found.specs.values()) else ""
    failure = PluginLoadError(
        f"the plugin {record.name!r} of {record} does not load{whole}: {reasons}. Repair it, or uninstall it."
    )
    failure.__cause__ = first
    return failure


class _Sorter:
    """Decides which plugin each name belongs to, one plugin after the other, Tracelet's own first."""

    def __init__(self) -> None:
        self.records: list[PluginRecord] = []
        self._specs: dict[str, dict[str, Any]] = {hook: {} for hook in HOOKS}
        self._clashes: dict[str, dict[str, PluginLoadError]] = {hook: {} for hook in HOOKS}
        #: By hook and name in small letters, since a file system or a variable may not tell them apart: who came first.
        self._owners: dict[tuple[str, str], tuple[str, PluginRecord]] = {}
        self._failed: dict[str, PluginLoadError] = {}

    def add(self, record: PluginRecord, found: Found) -> None:
        """Add what one plugin provides."""
        error = _failure(record, found)
        if error is not None:
            self._failed[record.name] = error
        provides: list[str] = []
        refused: dict[str, PluginLoadError] = {}
        for hook, (kind, _) in HOOKS.items():
            for spec in found.specs[hook]:
                what = f"{kind} {spec.name}"
                wrong = self._refusal(hook, kind, spec.name, record)
                if wrong is not None:
                    refused[what] = wrong
                    continue
                provides.append(what)
                self._specs[hook][spec.name] = spec
        self.records.append(attrs.evolve(record, provides=tuple(provides), error=error, refused=refused))

    def _refusal(self, hook: str, kind: str, name: str, record: PluginRecord) -> PluginLoadError | None:
        """Return why a spec is not used. Of two with one name, neither Tracelet's own, neither is used."""
        owner, first = self._owners.setdefault((hook, name.lower()), (name, record))
        if first is record and name not in self._specs[hook]:
            return None
        if _rank(first.distribution) < _rank(record.distribution):
            return PluginLoadError(
                f"{kind} {owner!r} is Tracelet's own, of {first}: that of {record} is not used. Give it another name."
            )
        clash = PluginLoadError(
            f"{kind} {name!r} is provided by {first.distribution} and by {record.distribution}: uninstall one of them."
            if first is not record
            else f"{kind} {name!r} is provided twice by {record}: repair it, or uninstall it."
        )
        self._clashes[hook] |= {owner: clash, name: clash}
        return None

    def spec_set(self, hook: str) -> SpecSet[Any]:
        """Return all specs of one kind."""
        specs, clashes = self._specs[hook], self._clashes[hook]
        # A name whose own entry point is broken may be provided by another one.
        absent = {name: error for name, error in self._failed.items() if name not in specs}
        good = {name: spec for name, spec in specs.items() if name not in clashes}
        whose = {name: self._owners[hook, name.lower()][1] for name in good}
        return SpecSet(
            HOOKS[hook][0],
            good,
            {**absent, **clashes},
            {name: str(record) for name, record in whose.items()},
            frozenset(name for name, record in whose.items() if _rank(record.distribution) < 2),
        )


def discover(points: Iterable[EntryPoint]) -> Installed:
    """Load plugins one by one and sort what they provide. What is wrong with a plugin is kept in its record.

    No other distribution can take a name from Tracelet's own. Where two others provide the same name, it cannot be
    used until one of them is removed.
    """
    sorter = _Sorter()
    for point, record in _unique(points):
        sorter.add(record, load_point(point))
    return Installed(
        tuple(sorter.records),
        sorter.spec_set("tracelet_backends"),
        sorter.spec_set("tracelet_detectors"),
        sorter.spec_set("tracelet_routing"),
        sorter.spec_set("tracelet_serializers"),
    )


def _installed() -> Iterable[EntryPoint]:
    try:
        return entry_points(group=PROJECT)
    except Exception:  # noqa: BLE001 - one distribution's damaged file would hide all plugins
        return [point for found in distributions() for point in _points_of(found)]


def _points_of(found: Distribution) -> list[EntryPoint]:
    try:
        return [point for point in found.entry_points if point.group == PROJECT]
    except Exception:  # noqa: BLE001 - the one whose file is damaged
        _LOG.warning("the entry points of %s cannot be read: reinstall it.", " ".join(_distribution(found)).rstrip())
        return []


def discover_installed() -> Installed:
    """Return what is installed.

    What a plugin prints while it loads is printed: a program's output belongs to all its threads, and to withhold it here
    would withhold theirs.
    """
    return discover(_installed())
