"""Making every delivery that waits in a tracelet directory, whichever process left it there."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs

from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.maintenance.deliveries import delivery_of, left, refused
from tracelet.core.maintenance.queueing import queue_captures, queue_drafts, queue_interrupted_puts
from tracelet.core.maintenance.sync_report import Delivery, DeliveryState, SyncReport
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import sdk_state
from tracelet.core.plugins.registry import Registry
from tracelet.core.system.filesystems import check_filesystem
from tracelet.core.system.links import check_directory
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import TraceletError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["sync"]

#: Seconds for ending the deliveries that are under way when the user interrupts.
_LAST = 5.0


def sync(
    directory: Path,
    settings: TraceletSettings,
    plugins: Registry,
    report: Callable[[Delivery], None],
    *,
    trust_addresses: bool = False,
) -> SyncReport:
    """Make every delivery that waits in the directory's outbox, of all experiments, to all backends at once.

    Drafts of dead processes become deliveries first. A delivery ends only by a stall; of one name, in one
    experiment and backend, the older one goes first. ``report`` gets every step, from several threads.
    A delivery that fails stays in the outbox, and is in the result with the reason. So does one for an address that no
    program of this user's was set to, unless ``trust_addresses`` is True. After an interrupt the lanes are ended, and the
    deliveries under way stay in the outbox.
    """
    check_directory(directory)
    check_filesystem(directory)
    outbox = Outbox(directory)

    def check_address(parcel: Parcel) -> None:
        if not trust_addresses:
            spec = plugins.backends.get(parcel.backend)
            Addresses(sdk_state(spec), load_plugin(spec.settings, spec.name)).check(parcel.sdk)

    failures = queue_captures(directory, settings, plugins)
    failures |= queue_drafts(directory, settings, plugins, outbox)
    failures |= queue_interrupted_puts(directory, settings, plugins, outbox, check_address)
    parcels = sorted(outbox.everything(), key=lambda parcel: parcel.backend)
    for parcel in parcels:
        report(delivery_of(parcel, DeliveryState.PLANNED))
    groups = {backend: list(group) for backend, group in itertools.groupby(parcels, lambda parcel: parcel.backend)}
    deliverer = _Deliverer(directory, settings, plugins, outbox, report, check_address)
    try:
        all_at_once({backend: partial(deliverer.deliver, backend, group) for backend, group in groups.items()})
    finally:
        deliverer.stop()
    return SyncReport(tuple(deliverer.delivered), left(directory, outbox, deliverer.reasons, failures), refused(outbox))


class _Deliverer:
    """Makes the deliveries of one pass over an outbox."""

    def __init__(
        self,
        directory: Path,
        settings: TraceletSettings,
        plugins: Registry,
        outbox: Outbox,
        report: Callable[[Delivery], None],
        check_address: Callable[[Parcel], None],
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._plugins = plugins
        self._outbox = outbox
        self._report = report
        self._check_address = check_address
        self._stopped = False
        #: By backend: the lane in use.
        self._lanes: dict[str, Lane] = {}
        self.delivered: list[Delivery] = []
        #: By backend and put: why it is left.
        self.reasons: dict[tuple[str, str], str] = {}

    def deliver(self, backend: str, parcels: Sequence[Parcel]) -> None:
        """Make the deliveries to one backend, in an order that keeps each name's."""
        try:
            spec = self._plugins.backends.get(backend)
            own = load_plugin(spec.settings, backend)
        except TraceletError as error:
            for parcel in parcels:
                self._leave(parcel, error)
            return
        blocked: set[tuple[str, str]] = set()
        ordered = sorted(parcels, key=lambda parcel: (parcel.run.experiment, parcel.key))
        # A lane gets what the user's own SDK said in the process that logged the artifact, not what it says in this one.
        for _, group in itertools.groupby(
            ordered, lambda one: (one.run.experiment, json.dumps(one.sdk, sort_keys=True))
        ):
            if not self._stopped:
                self._deliver_group(spec, own, list(group), blocked)

    def _deliver_group(
        self, spec: BackendSpec, own: attrs.AttrsInstance, group: list[Parcel], blocked: set[tuple[str, str]]
    ) -> None:
        experiment = group[0].run.experiment
        try:
            self._check_address(group[0])
        except TraceletError as error:
            for parcel in group:
                self._leave(parcel, error)
            return
        lane = open_lane(spec, experiment, own, BackendContext(self._directory, group[0].sdk))
        courier = Courier(spec.name, experiment, lane, self._outbox, self._settings)
        self._lanes[spec.name] = lane
        try:
            lane.open(self._settings.open_timeout)
        except (TraceletError, OSError) as error:
            for parcel in group:
                blocked.add((experiment, parcel.manifest.name))
                self._leave(parcel, error)
        else:
            for parcel in group:
                self._deliver_one(courier, parcel, blocked)
        finally:
            courier.close(time.monotonic() + self._settings.stop_timeout, failed=False)
            del self._lanes[spec.name]

    def _deliver_one(self, courier: Courier, parcel: Parcel, blocked: set[tuple[str, str]]) -> None:
        place = (parcel.run.experiment, parcel.manifest.name)
        if self._stopped:
            return
        if place in blocked:
            self._leave(parcel, "an older delivery of this name goes first.")
            return
        self._report(delivery_of(parcel, DeliveryState.BEGUN))
        try:
            outcome = courier.backlog.redelivery.make(parcel, unhurried=True)
        except (TraceletError, OSError) as error:
            if not courier.backlog.redelivery.is_stubborn(parcel):
                blocked.add(place)
            self._leave(parcel, error)
            return
        if outcome.delivered is None:
            self._report(delivery_of(parcel, DeliveryState.REFUSED, str(outcome.error)))
            return
        if outcome.queued:
            self._leave(parcel, outcome.error)
            return
        stored = outcome.delivered.stored
        made = attrs.evolve(delivery_of(parcel, DeliveryState.DELIVERED), version=stored.version, uri=stored.uri)
        self.delivered.append(made)
        self._report(made)

    def _leave(self, parcel: Parcel, why: object) -> None:
        self.reasons[parcel.backend, parcel.manifest.put_id] = str(why)
        self._report(delivery_of(parcel, DeliveryState.LEFT, str(why)))

    def stop(self) -> None:
        """Begin no more deliveries, and end those under way; their threads leave them in the outbox."""
        self._stopped = True
        until = time.monotonic() + _LAST
        while self._lanes and time.monotonic() < until:
            for lane in list(self._lanes.values()):
                lane.kill()
            time.sleep(0.02)
