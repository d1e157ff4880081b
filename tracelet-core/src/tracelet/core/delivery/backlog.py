"""Deliveries of the outbox to one backend."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.name_queue import NameQueue
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import Outcome, is_final, run_ended, unwritable
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.lanes.backend_service import Delivered
from tracelet.core.lanes.deadlines import deadline_for
from tracelet.core.system.processes import current
from tracelet.exceptions import BackendError, BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Backlog"]

_LOG = logging.getLogger("tracelet.delivery")
#: After so many attempts that failed, what comes behind in its name is tried right after it: the fault may be its own.
_STUBBORN = 3


class Backlog:
    """What waits in the outbox for one backend, and who waits for it.

    It is remembered, for the outbox is listed only where somebody else may have put something into it.
    """

    def __init__(
        self,
        backend: str,
        experiment: str,
        attempts: Attempts,
        outbox: Outbox,
        settings: TraceletSettings,
        check_address: Callable[[dict[str, Any]], None],
    ) -> None:
        self._backend = backend
        self._experiment = experiment
        self._attempts = attempts
        self._backoff = attempts.backoff
        self._outbox = outbox
        self._clock = outbox.clock(experiment)
        self._settings = settings
        self._check_address = check_address
        self._lock = threading.Lock()
        self._queue = NameQueue()
        #: What has come since the last listing began.
        self._come: set[str] = set()
        self._listed = False
        #: How many submissions of others were known of then.
        self._others = 0
        self._waiters: dict[str, tuple[Parcel, Future[Outcome]]] = {}
        #: Waited for, behind an older one that has to wait.
        self._behind: list[str] = []
        #: Waited for, and settled before that, or elsewhere.
        self._lost: list[str] = []
        #: By run: how many of its deliveries the backend will never take.
        self.refused: Counter[str] = Counter()
        #: What waits on and holds nobody up: the backend keeps it on this machine while this process is offline, or it
        #: is for an address that is none of the user's.
        self._kept: set[str] = set()
        #: What waits on and holds nobody up, for the backend takes others: until everything is tried again.
        self._aside: set[str] = set()

    def add(self, parcel: Parcel) -> None:
        """Take note of a delivery that this process has put into the outbox."""
        with self._lock:
            self._come.add(parcel.key)
            self._queue.add(parcel.key)

    def expect(self, parcel: Parcel) -> Future[Outcome]:
        """Return the future of a delivery that is in the outbox: of its first attempt."""
        outcome: Future[Outcome] = Future()
        self._waiters[parcel.key] = parcel, outcome
        self.add(parcel)
        self._behind.append(parcel.key)
        return outcome

    @property
    def expected(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiters)

    @property
    def outdated(self) -> bool:
        """Whether others may have changed what waits."""
        return not self._listed or self._others != self._clock.others

    @property
    def due(self) -> bool:
        """Whether there is something to try now."""
        return not self._backoff.rests and (bool(self._behind) or self._next() is not None)

    def __len__(self) -> int:
        """How many deliveries wait, whoever they are for."""
        return len(self._outbox.waiting(self._experiment, self._backend))

    def doubt(self) -> None:
        """Others may have changed what waits."""
        self._listed = False

    def hurry(self) -> None:
        """Hold nothing up any more, and look at what others have changed meanwhile."""
        with self._lock:
            self._backoff.hurry()
            self._aside.clear()
            self._queue.release_all()
        self.doubt()
        with contextlib.suppress(OSError):  # the courier looks again
            self.look()

    def look(self) -> None:
        """Learn from the outbox what waits, whoever has put it there."""
        # Before the look: a delivery that somebody begins to wait for meanwhile came into the outbox meanwhile, too.
        asked = list(self._waiters)
        others = self._clock.others
        with self._lock:
            self._come.clear()
        keys = self._outbox.waiting(self._experiment, self._backend)
        with self._lock:
            left_out = self._kept | self._aside
            self._queue.become({*keys, *self._come} - left_out)
            self._lost = [key for key in asked if key not in self._queue and key not in left_out]
        self._listed, self._others = True, others

    def _next(self) -> str | None:
        """The oldest delivery that can be tried."""
        with self._lock:
            self._queue.release(self._backoff.rested())
            return self._queue.free

    def _drop(self, key: str) -> None:
        self._backoff.forget(key)
        with self._lock:
            self._queue.drop(key)

    def make(self, interrupted: Callable[[], bool]) -> None:
        """Make what is due, oldest first, until something else comes; raise where the backend has to be left alone."""
        self._tell_those_behind()
        while not interrupted() and (key := self._next()) is not None:
            parcel = self._load(key)
            if parcel is None:
                continue
            try:
                self.redeliver(parcel)
            except TraceletError as error:
                if self.is_stubborn(parcel) and self._takes_another(parcel):
                    self.set_aside(parcel, error)
                    continue
                # The younger ones of its name wait behind it; other names need not.
                self._tell_many(self._queue.of(parcel.manifest.name), error)
                if self._backoff.rests:
                    self._tell_many(list(self._waiters), error)
                    raise

    def make_older(self, parcel: Parcel) -> tuple[Parcel, TraceletError] | None:
        """Make what waits of a delivery's name and is older than it; raise where that has to wait on.

        Returns what failed once more, and why, where the delivery is tried all the same: if the backend takes it, that one
        is to be set aside.
        """
        if self.outdated:
            self.look()
        failed: tuple[Parcel, TraceletError] | None = None
        after = ""
        while (key := self._queue.oldest(parcel.manifest.name, after)) is not None and key < parcel.key:
            older = self._load(key)
            if older is None:
                continue
            if failed is not None and older.attempts >= _STUBBORN:
                after = key
                continue
            try:
                self.redeliver(older)
            except TraceletError as error:
                if failed is None and self.is_stubborn(older):
                    failed, after = (older, error), key
                    continue
                if self._backoff.rests:
                    self._tell_many(list(self._waiters), error)
                raise
        return failed

    def is_stubborn(self, parcel: Parcel) -> bool:
        """Whether a delivery has just failed, as often before: the fault may be its own."""
        noted = self._outbox.load(self._experiment, self._backend, parcel.key)
        return noted is not None and noted.attempts > parcel.attempts and noted.attempts >= _STUBBORN

    def _takes_another(self, parcel: Parcel) -> bool:
        """Try the next one of a delivery's name right after that has failed; say whether the backend has taken it."""
        after = parcel.key
        while (key := self._queue.oldest(parcel.manifest.name, after)) is not None:
            after = key
            younger = self._load(key)
            if younger is None or younger.attempts >= _STUBBORN:
                continue
            try:
                return self.redeliver(younger).delivered is not None
            except TraceletError:
                return False
        return False

    def set_aside(self, parcel: Parcel, why: TraceletError) -> None:
        """Let one wait on that failed again and again while the backend took what came after it: it holds nobody up."""
        self._aside.add(parcel.key)
        self._drop(parcel.key)
        _LOG.warning(
            "%s takes others, and not this %r: it waits on in the outbox, and what was logged after it goes first (%s)",
            *(self._backend, parcel.manifest.name, why),
        )

    def _load(self, key: str) -> Parcel | None:
        parcel = self._outbox.load(self._experiment, self._backend, key)
        if parcel is None:
            self._drop(key)
            if key in self._waiters:
                self._lost.append(key)
            return None
        try:
            self._check_address(parcel.sdk)
        except BackendUnavailable as error:
            _LOG.warning("%s: %r waits in the outbox, for %s", self._backend, parcel.manifest.name, error)
            self._kept.add(key)
            self._drop(key)
            self._tell(key, Outcome(error=error, queued=True))
            return None
        return parcel

    def redeliver(self, parcel: Parcel, *, unhurried: bool = False) -> Outcome:
        """Make a delivery of the outbox. Raises what may pass; an ``unhurried`` one ends only by a stall."""
        began = time.monotonic()
        lane = self._attempts.lane_of(parcel)
        try:
            self._attempts.open(lane)
        except TraceletError as error:
            if not self._backoff.rests:
                self._backoff.postpone(parcel.key, parcel.attempts, began)
                self._hold(parcel, error)
            raise
        limit = deadline_for(parcel.manifest.held_bytes, self._settings)
        try:
            taken = self._outbox.take(parcel, [current(), *lane.processes()], 2 * limit + 3600)
        except OSError as error:
            self._hold_shortly(parcel, unwritable(error))
            self._tell(parcel.key, Outcome(error=unwritable(error), queued=True))
            raise unwritable(error) from error
        if not taken:
            busy = BackendUnavailable(f"another process is on {parcel.manifest.name!r}.", backend=self._backend)
            self._hold_shortly(parcel, busy)
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
        """Return what became of a delivery: what only this machine has stays in the outbox, for the tracker to get."""
        if not delivered.stored.pending:
            return Outcome(delivered)
        self._kept.add(parcel.key)
        self._drop(parcel.key)
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
            self._hold_shortly(parcel, unwritable(error))
            _LOG.warning("what became of %r is not noted: %s", parcel.manifest.name, unwritable(error))
        self._tell(parcel.key, outcome)

    def _write_down(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        if outcome.error is None:
            self._outbox.done(parcel)
            self._drop(parcel.key)
        elif is_final(outcome.error):
            self._outbox.failed(parcel, outcome.error, final=True)
            self._drop(parcel.key)
            self.refused[parcel.run.id] += 1
            # Who waits for it is told with the others' answers, and warned then.
            level = logging.INFO if parcel.key in self._waiters else logging.WARNING
            _LOG.log(level, "%s will never take %r: %s", self._backend, parcel.manifest.name, outcome.error)
        else:
            self._outbox.failed(parcel, outcome.error, final=False)
            _LOG.info("%s does not take %r yet: %s", self._backend, parcel.manifest.name, outcome.error)
            self._backoff.postpone(parcel.key, parcel.attempts, began)
            self._hold(parcel, outcome.error)

    def _hold_shortly(self, parcel: Parcel, why: TraceletError) -> None:
        self._backoff.postpone_shortly(parcel.key)
        self._hold(parcel, why)

    def _hold(self, parcel: Parcel, why: TraceletError) -> None:
        """Leave it alone for as long as its backoff says, which may be not at all."""
        with self._lock:
            if self._backoff.rests_for(parcel.key):
                self._queue.hold(parcel.key, why)

    def abandon(self) -> None:
        """Tell everybody who waits that the run is over: what they wait for stays in the outbox."""
        for key in list(self._waiters):
            self._tell(key, Outcome(error=run_ended(self._backend), queued=True, told=True))

    @property
    def lost(self) -> bool:
        """Whether somebody waits for what the outbox has no more: it was settled before they asked, or elsewhere."""
        return bool(self._lost)

    def look_up(self) -> None:
        """Ask the backend what became of deliveries that another process has made, one at a time."""
        key = self._lost.pop()
        if key not in self._waiters:
            return
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

    def _tell_those_behind(self) -> None:
        behind, self._behind = self._behind, []
        for key in behind:
            obstacle = self._queue.obstacle(key)
            if obstacle is not None:
                self._tell(key, Outcome(error=obstacle, queued=True))

    def _tell_many(self, keys: Iterable[str], error: TraceletError) -> None:
        """Tell those who wait for these why they wait on."""
        for key in keys:
            self._tell(key, Outcome(error=error, queued=True))

    def _tell(self, key: str, outcome: Outcome) -> None:
        _, waiter = self._waiters.pop(key, (None, None))
        if waiter is not None:
            waiter.set_result(outcome)
