"""Making a delivery of the outbox, and writing down what became of it."""

from __future__ import annotations

import logging
import time
from collections import Counter

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import Outcome, is_final, unwritable
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.pending import Pending
from tracelet.core.delivery.waiters import Waiters
from tracelet.core.lanes.backend_service import Delivered
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.system.processes import current
from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["STUBBORN", "Redelivery"]

_LOG = logging.getLogger("tracelet.delivery")
#: The number of failed attempts after which the fault may be the delivery's own: the next one of its name is tried too.
STUBBORN = 3


class Redelivery:
    """Takes deliveries to one backend from the outbox, makes them, and settles them there."""

    def __init__(
        self,
        backend: str,
        attempts: Attempts,
        outbox: Outbox,
        settings: TraceletSettings,
        pending: Pending,
        waiters: Waiters,
    ) -> None:
        self._backend = backend
        self._attempts = attempts
        self._backoff = attempts.backoff
        self._outbox = outbox
        self._settings = settings
        self._pending = pending
        self._waiters = waiters
        #: By run: how many of its deliveries the backend will never take.
        self.refused: Counter[str] = Counter()

    def make(self, parcel: Parcel, *, unhurried: bool = False) -> Outcome:
        """Make a delivery of the outbox. Raises what may pass; an ``unhurried`` one ends only by a stall."""
        began = time.monotonic()
        lane = self._attempts.lane_of(parcel)
        try:
            self._attempts.open(lane)
        except TraceletError as error:
            if not self._backoff.rests:
                self._postpone(parcel, error, began)
            raise
        limit = deadline_for(parcel.manifest.held_bytes, self._settings)
        try:
            taken = self._outbox.take(parcel, [current(), *lane.processes()], 2 * limit + 3600)
        except OSError as error:
            self._postpone_shortly(parcel, unwritable(error))
            self._waiters.tell(parcel.key, Outcome(error=unwritable(error), queued=True))
            raise unwritable(error) from error
        if not taken:
            busy = BackendUnavailable(f"another process is on {parcel.manifest.name!r}.", backend=self._backend)
            self._postpone_shortly(parcel, busy)
            raise busy
        try:
            sealed = self._outbox.sealed(parcel)
            delivered = self._attempts.deliver(sealed, parcel, lane, again=True, unhurried=unhurried)
            outcome = self.outcome(parcel, delivered)
        except TraceletError as error:
            outcome = Outcome(error=error, queued=not is_final(error))
        self.settle(parcel, outcome, began)
        if outcome.error is not None and outcome.queued and outcome.delivered is None:
            raise outcome.error
        return outcome

    def outcome(self, parcel: Parcel, delivered: Delivered) -> Outcome:
        """Return what became of a delivery. One that the backend keeps on this machine until it is online stays queued."""
        if not delivered.stored.pending:
            return Outcome(delivered)
        self._pending.keep(parcel.key)
        error = BackendUnavailable(
            f"{self._backend} keeps {delivered.stored.manifest.name!r} on this machine until it is online again.",
            backend=self._backend,
        )
        return Outcome(delivered, error, queued=True)

    def settle(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        """Write down what became of an attempt that began then (monotonic), and tell who waits for it."""
        try:
            self._write_down(parcel, outcome, began)
        except OSError as error:
            self._postpone_shortly(parcel, unwritable(error))
            _LOG.warning("what became of %r is not noted: %s", parcel.manifest.name, unwritable(error))
        self._waiters.tell(parcel.key, outcome)

    def is_stubborn(self, parcel: Parcel) -> bool:
        """Tell whether a delivery has just failed, and so often that the fault may be its own."""
        noted = self._outbox.load(parcel.run.experiment, self._backend, parcel.key)
        return noted is not None and noted.attempts > parcel.attempts and noted.attempts >= STUBBORN

    def _write_down(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        if outcome.error is None:
            self._outbox.done(parcel)
            self._pending.drop(parcel.key)
        elif is_final(outcome.error):
            self._outbox.failed(parcel, outcome.error, final=True)
            self._pending.drop(parcel.key)
            self.refused[parcel.run.id] += 1
            # Somebody who waits for it gets the error, and a warning with the results.
            level = logging.INFO if parcel.key in self._waiters else logging.WARNING
            _LOG.log(level, "%s will never take %r: %s", self._backend, parcel.manifest.name, outcome.error)
        else:
            self._outbox.failed(parcel, outcome.error, final=False)
            _LOG.info("%s does not take %r yet: %s", self._backend, parcel.manifest.name, outcome.error)
            self._postpone(parcel, outcome.error, began)

    def _postpone(self, parcel: Parcel, why: TraceletError, began: float) -> None:
        self._backoff.postpone(parcel.key, parcel.attempts, began)
        self._pending.hold(parcel.key, why)

    def _postpone_shortly(self, parcel: Parcel, why: TraceletError) -> None:
        self._backoff.postpone_shortly(parcel.key)
        self._pending.hold(parcel.key, why)
