"""Making every delivery that waits in a tracelet directory, whichever process left it there."""

from __future__ import annotations

import contextlib
import enum
import itertools
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs

from tracelet.core.capture.journal import leftovers
from tracelet.core.delivery.addresses import Addresses
from tracelet.core.delivery.completion import Completion
from tracelet.core.delivery.courier import Courier
from tracelet.core.delivery.drafts import parcels_of, seal_draft
from tracelet.core.delivery.inventory import damaged_in
from tracelet.core.delivery.layout import drafted_at
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import interrupted_puts
from tracelet.core.experiment.manager import ArtifactManager
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import sdk_state
from tracelet.core.plugins.specs import Registry
from tracelet.core.storage.blob_store import open_store
from tracelet.core.system.links import check_directory
from tracelet.core.system.messages import sentence
from tracelet.core.system.processes import current
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import NewerFormat, TraceletError
from tracelet.settings import TraceletSettings, load_plugin

__all__ = ["Delivery", "DeliveryState", "SyncReport", "sync"]

#: Seconds for putting away what was in hand when the user interrupts.
_LAST = 5.0


class DeliveryState(enum.Enum):
    """How far a delivery is."""

    PLANNED = "planned"
    BEGUN = "begun"
    DELIVERED = "delivered"
    LEFT = "left"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class Delivery:
    """One artifact on its way to one backend, and how far it is."""

    state: DeliveryState
    experiment: str
    backend: str
    name: str
    put_id: str
    size_bytes: int
    #: Seconds since the epoch when it was logged.
    queued_at: float
    #: The version that it is, once it is delivered.
    version: str = ""
    uri: str = ""
    #: Why it is left or refused.
    reason: str = ""
    #: Where a refused one is kept; deleting the file forgets it.
    file: Path | None = None


@attrs.frozen
class SyncReport:
    """What a pass over the outbox did, and what the outbox holds after it."""

    delivered: tuple[Delivery, ...]
    left: tuple[Delivery, ...]
    refused: tuple[Delivery, ...]

    @property
    def complete(self) -> bool:
        """Whether every delivery was made."""
        return not self.left and not self.refused


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
    experiment and backend, the older one goes first. ``report`` is told of every step, from several threads.
    What fails stays, and is in the report with the reason; so does what is for an address that no program of this user's
    was set to, unless ``trust_addresses`` says to send that, too. When it is interrupted, lanes are
    ended, and what was in hand stays in the outbox.
    """
    check_directory(directory)
    tour = _Tour(directory, settings, plugins, report, trust_addresses=trust_addresses)
    tour.draft_captures()
    tour.seal_drafts()
    tour.complete_puts()
    parcels = sorted(tour.outbox.everything(), key=lambda parcel: parcel.backend)
    for parcel in parcels:
        report(_delivery(parcel, DeliveryState.PLANNED))
    groups = {backend: list(group) for backend, group in itertools.groupby(parcels, lambda parcel: parcel.backend)}
    try:
        all_at_once({backend: partial(tour.deliver, backend, group) for backend, group in groups.items()})
    finally:
        tour.stop()
    return tour.result()


def _delivery(parcel: Parcel, state: DeliveryState, reason: str = "") -> Delivery:
    manifest = parcel.manifest
    return Delivery(
        state=state,
        experiment=parcel.run.experiment,
        backend=parcel.backend,
        name=manifest.name,
        put_id=manifest.put_id,
        size_bytes=manifest.size_bytes,
        queued_at=parcel.queued_at,
        reason=reason,
    )


class _Tour:
    """One pass over an outbox."""

    def __init__(
        self,
        directory: Path,
        settings: TraceletSettings,
        plugins: Registry,
        report: Callable[[Delivery], None],
        *,
        trust_addresses: bool,
    ) -> None:
        self.outbox = Outbox(directory)
        self._trust_addresses = trust_addresses
        self._directory = directory
        self._settings = settings
        self._plugins = plugins
        self._report = report
        self._stopped = False
        #: By backend: the lane in use.
        self._lanes: dict[str, Lane] = {}
        self._delivered: list[Delivery] = []
        #: By backend and put, or by draft: why it is left.
        self._reasons: dict[tuple[str, str] | Path, str] = {}

    def draft_captures(self) -> None:
        """Make drafts of what dead processes captured, for the backends that their experiments used."""
        for left in leftovers(self._directory):
            own = {"backend": left.head.backends, "routing": left.head.routing, "dir": self._directory}
            settings = TraceletSettings(**{**attrs.asdict(self._settings, recurse=False), **own})
            try:
                experiment = left.head.run.experiment
                manager = ArtifactManager(experiment, settings, self._directory, lambda: self._plugins, writes=True)
                manager.draft_captures(left)
            except (TraceletError, OSError) as error:
                self._reasons[left.path] = f"{sentence(error)} It is {left.path}."

    def seal_drafts(self) -> None:
        drafts = self.outbox.drafts.files()
        if not drafts:
            return
        store = open_store(self._settings.store, self._directory)
        limit = None if self._settings.on_large == "upload" else self._settings.large_file_mb
        for path in drafts:
            try:
                for _ in seal_draft(path, self.outbox, store, limit):
                    pass
            except (TraceletError, OSError) as error:
                self._reasons[path] = f"{sentence(error)} It is {path}."

    def complete_puts(self) -> None:
        """Queue what a dead process put into some of its backends for the others."""
        with Completion(self._directory, self._settings, self._plugins, self.outbox) as completion:
            for path, put in interrupted_puts(self._directory):
                try:
                    for parcel in put.parcels:
                        self._check_address(parcel)
                    completion.complete(path, put)
                except (TraceletError, OSError) as error:
                    self._reasons[path] = f"{sentence(error)} It is {path}."

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
        # A lane sees what the user's own SDK said in the process that logged it, not what it says in this one.
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
        courier = Courier(spec.name, experiment, lane, self.outbox, self._settings)
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

    def _check_address(self, parcel: Parcel) -> None:
        if not self._trust_addresses:
            spec = self._plugins.backends.get(parcel.backend)
            Addresses(sdk_state(spec), load_plugin(spec.settings, spec.name)).check(parcel.sdk)

    def _deliver_one(self, courier: Courier, parcel: Parcel, blocked: set[tuple[str, str]]) -> None:
        place = (parcel.run.experiment, parcel.manifest.name)
        if self._stopped:
            return
        if place in blocked:
            self._leave(parcel, "an older delivery of this name goes first.")
            return
        self._report(_delivery(parcel, DeliveryState.BEGUN))
        try:
            outcome = courier.backlog.redeliver(parcel, unhurried=True)
        except (TraceletError, OSError) as error:
            if not courier.backlog.is_stubborn(parcel):
                blocked.add(place)
            self._leave(parcel, error)
            return
        if outcome.delivered is None:
            self._report(_delivery(parcel, DeliveryState.REFUSED, str(outcome.error)))
            return
        if outcome.queued:
            self._leave(parcel, outcome.error)
            return
        stored = outcome.delivered.stored
        made = attrs.evolve(_delivery(parcel, DeliveryState.DELIVERED), version=stored.version, uri=stored.uri)
        self._delivered.append(made)
        self._report(made)

    def _leave(self, parcel: Parcel, why: object) -> None:
        self._reasons[parcel.backend, parcel.manifest.put_id] = str(why)
        self._report(_delivery(parcel, DeliveryState.LEFT, str(why)))

    def stop(self) -> None:
        """Begin nothing more, and end what is under way: its thread then puts it back."""
        self._stopped = True
        until = time.monotonic() + _LAST
        while self._lanes and time.monotonic() < until:
            for lane in list(self._lanes.values()):
                lane.kill()
            time.sleep(0.02)

    def result(self) -> SyncReport:
        """Say what was done, and read what is left off the disk: others may have been at work, too."""
        left = [
            _delivery(
                parcel,
                DeliveryState.LEFT,
                self._reasons.get((parcel.backend, parcel.manifest.put_id), "it was queued in the meantime."),
            )
            for parcel in self.outbox.everything()
        ]
        refused = [
            attrs.evolve(_delivery(parcel, DeliveryState.REFUSED, parcel.error), file=self.outbox.refusal(parcel))
            for parcel in self.outbox.refused()
        ]
        unfinished = (*self._left_captures(), *self._left_drafts(), *self._left_puts(), *self._damaged())
        return SyncReport(tuple(self._delivered), (*unfinished, *left), tuple(refused))

    def _left_captures(self) -> list[Delivery]:
        return [
            Delivery(
                state=DeliveryState.LEFT,
                experiment=left.head.run.experiment,
                backend=backend,
                name=kept.detection.name or Path(kept.key).name,
                put_id="",
                size_bytes=0,
                queued_at=left.head.run.started_at,
                reason=self._reasons.get(left.path, "another process is on it."),
            )
            for left in leftovers(self._directory)
            for kept in left.waiting
            for backend in left.head.backends
        ]

    def _left_puts(self) -> list[Delivery]:
        return [
            _delivery(parcel, DeliveryState.LEFT, self._reasons.get(path, "another process is on it."))
            for path, put in interrupted_puts(self._directory)
            for parcel in put.parcels
        ]

    def _damaged(self) -> list[Delivery]:
        return [
            Delivery(
                state=DeliveryState.LEFT,
                experiment=one.experiment,
                backend=one.backend,
                name=one.name,
                put_id="",
                size_bytes=0,
                queued_at=drafted_at(one.path),
                reason=one.advice,
            )
            for one in damaged_in(self.outbox)
        ]

    def _left_drafts(self) -> list[Delivery]:
        here = current().host
        found = []
        for path in self.outbox.drafts.files():
            draft = None
            with contextlib.suppress(NewerFormat):  # it is among what cannot be read
                draft = self.outbox.drafts.load(path)
            if draft is None:
                continue
            host = draft.owner.host
            theirs = "another process is on it." if host == here else f"its process is on {host}: sync there."
            found += [
                _delivery(parcel, DeliveryState.LEFT, self._reasons.get(path, theirs))
                for parcel in parcels_of(path, draft, draft.draft.manifest)
            ]
        return found
