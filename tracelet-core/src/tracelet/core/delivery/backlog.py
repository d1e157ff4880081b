"""Deliveries of the outbox to one backend."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.outcomes import Outcome, is_final, limit_for, run_ended, unwritable
from tracelet.core.outbox import Outbox, Parcel
from tracelet.core.processes import current
from tracelet.core.service import Delivered
from tracelet.exceptions import BackendError, BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Backlog"]

_LOG = logging.getLogger("tracelet.delivery")


class Backlog:
    """What waits in the outbox for one backend, and who waits for it."""

    def __init__(
        self, backend: str, experiment: str, attempts: Attempts, outbox: Outbox, settings: TraceletSettings
    ) -> None:
        self._backend = backend
        self._experiment = experiment
        self._attempts = attempts
        self._patience = attempts.patience
        self._outbox = outbox
        self._settings = settings
        self._waiters: dict[str, tuple[Parcel, Future[Outcome]]] = {}
        #: What the backend keeps on this machine for as long as this process is offline.
        self._kept: set[str] = set()

    def expect(self, parcel: Parcel) -> Future[Outcome]:
        """Return the future of a delivery that is in the outbox: of its first attempt."""
        outcome: Future[Outcome] = Future()
        self._waiters[parcel.key] = parcel, outcome
        return outcome

    @property
    def expected(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiters)

    @property
    def due(self) -> bool:
        """Whether there is something to try now."""
        return not self._patience.rests and not all(map(self._patience.rests_for, self._keys()))

    def __len__(self) -> int:
        """How many deliveries wait, whoever they are for."""
        return len(self._outbox.waiting(self._experiment, self._backend))

    def _keys(self, name: str | None = None) -> list[str]:
        """The keys of what can be tried, oldest first."""
        return [key for key in self._outbox.waiting(self._experiment, self._backend, name) if key not in self._kept]

    def make(self, interrupted: Callable[[], bool]) -> None:
        """Make what is due, oldest first, until something else comes; raise where the backend has to be left alone."""
        stuck: dict[str, TraceletError] = {}
        for key in self._keys():
            if interrupted():
                return
            parcel = self._outbox.load(self._experiment, self._backend, key)
            if parcel is None:
                continue
            older = stuck.get(parcel.manifest.name)
            if older is None and self._patience.rests_for(key):
                older = BackendUnavailable(parcel.error, backend=self._backend)
            if older is not None:
                # The younger ones of its name wait behind it; other names need not.
                stuck[parcel.manifest.name] = older
                self._tell(key, Outcome(error=older, queued=True))
                continue
            try:
                self.redeliver(parcel)
            except TraceletError as error:
                stuck[parcel.manifest.name] = error
                if self._patience.rests:
                    self._tell_all(error)
                    raise

    def make_older(self, parcel: Parcel) -> None:
        """Make what waits of a delivery's name and is older than it; raise where that has to wait on."""
        for key in self._keys(parcel.manifest.name):
            if key >= parcel.key:
                return
            older = self._outbox.load(self._experiment, self._backend, key)
            if older is None:
                continue
            try:
                self.redeliver(older)
            except TraceletError as error:
                if self._patience.rests:
                    self._tell_all(error)
                raise

    def redeliver(self, parcel: Parcel, *, unhurried: bool = False) -> Outcome:
        """Make a delivery of the outbox. Raises what may pass; an ``unhurried`` one ends only by a stall."""
        began = time.monotonic()
        lane = self._attempts.lane_of(parcel)
        self._attempts.open(lane)
        limit = limit_for(parcel.manifest.size_bytes, self._settings)
        try:
            taken = self._outbox.take(parcel, [current(), *lane.processes()], 2 * limit + 3600)
        except OSError as error:
            self._patience.postpone_shortly(parcel.key)
            self._tell(parcel.key, Outcome(error=unwritable(error), queued=True))
            raise unwritable(error) from error
        if not taken:
            self._patience.postpone_shortly(parcel.key)
            raise BackendUnavailable(f"another process is on {parcel.manifest.name!r}.", backend=self._backend)
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
        """Return what became of a delivery: what only this machine has stays in the outbox, for the tracker to get."""
        if not delivered.stored.pending:
            return Outcome(delivered)
        self._kept.add(parcel.key)
        error = BackendUnavailable(
            f"{self._backend} keeps {delivered.stored.manifest.name!r} on this machine until it is online again.",
            backend=self._backend,
        )
        return Outcome(delivered, error, queued=True)

    def settle(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        """Write down what became of an attempt that began then, and tell who waits for it."""
        try:
            self._write_down(parcel, outcome, began)
        except OSError as error:
            self._patience.postpone_shortly(parcel.key)
            _LOG.warning("what became of %r is not noted: %s", parcel.manifest.name, unwritable(error))
        self._tell(parcel.key, outcome)

    def _write_down(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        if outcome.error is None:
            self._outbox.done(parcel)
            self._patience.forget(parcel.key)
        else:
            final = is_final(outcome.error)
            self._outbox.failed(parcel, outcome.error, final=final)
            if final:
                # Who waits for it is told with the others' answers, and warned then.
                level = logging.INFO if parcel.key in self._waiters else logging.WARNING
                _LOG.log(level, "%s will never take %r: %s", self._backend, parcel.manifest.name, outcome.error)
            else:
                _LOG.info("%s does not take %r yet: %s", self._backend, parcel.manifest.name, outcome.error)
                self._patience.postpone(parcel.key, parcel.attempts, began)

    def abandon(self) -> None:
        """Tell everybody who waits that the run is over: what they wait for stays in the outbox."""
        for key in list(self._waiters):
            self._tell(key, Outcome(error=run_ended(self._backend), queued=True))

    def lost(self) -> list[str]:
        """Return what somebody waits for and the outbox has no more: it was settled before they asked, or elsewhere."""
        # Before the look: a delivery that somebody begins to wait for meanwhile came into the outbox meanwhile, too.
        asked = list(self._waiters)
        if not asked:
            return []
        waiting = set(self._outbox.waiting(self._experiment, self._backend))
        return [key for key in asked if key not in waiting]

    def look_up(self, key: str) -> None:
        """Ask the backend what became of a delivery that another process has made."""
        parcel, _ = self._waiters[key]
        manifest = parcel.manifest
        try:
            stored = self._attempts.ask("find", name=manifest.name, ref=f"sha256:{manifest.digest}")
        except TraceletError as error:
            self._tell(key, Outcome(error=error))
            return
        refused = BackendError(
            f"{self._backend} has not taken {manifest.name!r}.", backend=self._backend, retryable=False
        )
        self._tell(key, Outcome(Delivered(stored, True)) if stored is not None else Outcome(error=refused))

    def _tell_all(self, error: TraceletError) -> None:
        for key in list(self._waiters):
            self._tell(key, Outcome(error=error, queued=True))

    def _tell(self, key: str, outcome: Outcome) -> None:
        _, waiter = self._waiters.pop(key, (None, None))
        if waiter is not None:
            waiter.set_result(outcome)
