"""The backends of an experiment: their specs and settings, and the couriers and lanes of each process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.records import without_secrets
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.experiment.context import ExperimentContext
from tracelet.core.experiment.reading import finder_of, lane_of, sdk_states, store_of
from tracelet.core.lanes.lane import Lane
from tracelet.core.lanes.shared_lane import SharedLane
from tracelet.core.plugins.store import Store
from tracelet.core.reading.finder import Finder
from tracelet.core.system.processes import ProcessId, current

__all__ = ["ExperimentResources", "ProcessResources"]


@attrs.frozen
class ProcessResources:
    """The resources of one process. Threads and lanes do not survive a fork."""

    #: By backend: what the user's own SDK said when the run began.
    sdk: dict[str, dict[str, Any]]
    couriers: dict[str, Courier]
    #: Of these couriers, the lanes that may be lent for reading.
    shared: dict[str, SharedLane]
    finder: Finder
    sealer: Sealer


class ExperimentResources:
    """The backends of one experiment, its store, and the lanes to them."""

    def __init__(self, context: ExperimentContext, finish: Callable[[Path, Mapping[str, Courier]], None]) -> None:
        """``finish`` finishes a draft or an interrupted put."""
        self._context = context
        self._finish = finish
        self.specs = context.backends.specs
        #: By process.
        self._by_process: dict[ProcessId, ProcessResources] = {}
        self._store: Store | None = None

    @property
    def of_process(self) -> ProcessResources:
        """The resources of this process, made when first asked for."""
        # Of two threads that make them at once the first wins. Nothing is open yet in what the second one made.
        return self.existing or self._by_process.setdefault(current(), self._make())

    @property
    def existing(self) -> ProcessResources | None:
        """The resources of this process, or None where there are none yet."""
        return self._by_process.get(current())

    @property
    def outdated(self) -> bool:
        """Whether the user has set an SDK to something else since the resources were made."""
        return self.existing is not None and self.existing.sdk != self._sdk()

    def detach(self) -> ProcessResources | None:
        """Return the resources of this process for closing. New ones are made when next asked for."""
        return self._by_process.pop(current(), None)

    def _sdk(self) -> dict[str, dict[str, Any]]:
        return sdk_states(self._context)

    def _make(self) -> ProcessResources:
        sdk = self._sdk()
        shared = {
            name: SharedLane(partial(lane_of, self._context, name, sdk[name]), resumes_runs=spec.resumes_runs)
            for name, spec in self.specs.items()
            if not spec.in_process
        }
        lanes = {name: shared.get(name) or lane_of(self._context, name, sdk[name]) for name in self.specs}
        couriers = {name: self._courier(name, sdk[name], lane) for name, lane in lanes.items()}
        finder = finder_of(self._context, sdk, lambda: self.store, shared)
        return ProcessResources(sdk, couriers, shared, finder, Sealer(lambda path: self._finish(path, couriers)))

    @property
    def store(self) -> Store:
        """The store for the bytes of large files."""
        if self._store is None:
            self._store = store_of(self._context)
        return self._store

    def _courier(self, name: str, sdk: dict[str, Any], lane: Lane) -> Courier:
        own = without_secrets(sdk)
        addresses = Addresses(sdk, self._context.backends.settings[name])
        addresses.note()

        def elsewhere(parcel: Parcel) -> Lane | None:
            return None if without_secrets(parcel.sdk) == own else lane_of(self._context, name, parcel.sdk)

        return Courier(
            name,
            self._context.experiment,
            lane,
            self._context.outbox,
            self._context.settings,
            elsewhere,
            addresses.check,
        )
