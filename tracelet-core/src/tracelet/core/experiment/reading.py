"""What reading the versions of an experiment needs: lanes to its backends, its store, and what finds the versions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tracelet.core.artifacts.logged import Manager
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.lanes.shared_lane import SharedLane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.calling import sdk_state
from tracelet.core.plugins.store import Store
from tracelet.core.reading.finder import Finder
from tracelet.core.reading.reader import Reader
from tracelet.core.storage.large_files import store_for

__all__ = ["finder_of", "lane_of", "sdk_states", "store_of"]


def sdk_states(context: ExperimentContext) -> dict[str, dict[str, Any]]:
    """Return what the user's own SDKs say now, by backend."""
    return {name: sdk_state(spec) for name, spec in context.backends.specs.items()}


def lane_of(context: ExperimentContext, name: str, sdk: dict[str, Any]) -> Lane:
    """Return a new lane to a backend; nothing is opened yet."""
    own = context.backends
    return open_lane(own.specs[name], context.experiment, own.settings[name], BackendContext(context.directory, sdk))


def store_of(context: ExperimentContext) -> Store:
    """Return the store for the bytes of large files."""
    own = context.backends
    return store_for(
        context.settings, context.directory, ((spec, own.settings[name]) for name, spec in own.specs.items())
    )


def finder_of(
    context: ExperimentContext,
    sdk: Mapping[str, dict[str, Any]],
    store: Callable[[], Store] | None = None,
    shared: Mapping[str, SharedLane] | None = None,
) -> Finder:
    """Return what finds the stored versions, on lanes of its own or on ``shared`` ones, by backend; nothing is opened yet."""
    lent, names = shared or {}, context.backends.specs
    return Finder(
        context.experiment,
        names,
        {
            name: Reader(functools.partial(lane_of, context, name, sdk[name]), context.settings, lent.get(name))
            for name in names
        },
        outbox=lambda: context.outbox,
        plugins=context.plugins,
        store=store or functools.cache(lambda: store_of(context)),
        downloads=context.directory / "downloads",
        manager=_manager,
    )


def _manager(finder: Finder) -> Manager:
    """Imported when a version is found: what only logs needs none of it."""
    from tracelet.core.management.stored_manager import StoredManager

    return StoredManager(finder)
