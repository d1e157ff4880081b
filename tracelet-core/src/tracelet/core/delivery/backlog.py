"""The order in which the deliveries of the outbox are made to one backend."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import Outcome
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.pending import Pending
from tracelet.core.delivery.redelivery import STUBBORN, Redelivery
from tracelet.core.delivery.waiters import Waiters
from tracelet.core.lanes.backend_service import Delivered
from tracelet.exceptions import BackendError, BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Backlog"]

_LOG = logging.getLogger("tracelet.delivery")


class Backlog:
    """Makes the deliveries that wait for one backend: of each name the oldest first, unless the fault is its own."""

    def __init__(
        self,
        backend: str,
        experiment: str,
        attempts: Attempts,
        outbox: Outbox,
        settings: TraceletSettings,
        check_address: Callable[[dict[str, Any]], None],
    ) -> None:
        """``check_address`` raises :class:`~tracelet.BackendUnavailable` where that is no address of the user's."""
        self._backend = backend
        self._experiment = experiment
        self._attempts = attempts
        self._backoff = attempts.backoff
        self._outbox = outbox
        self._check_address = check_address
        self.pending = Pending(backend, experiment, outbox, attempts.backoff)
        self.waiters = Waiters(backend)
        self.redelivery = Redelivery(backend, attempts, outbox, settings, self.pending, self.waiters)

    def expect(self, parcel: Parcel) -> Future[Outcome]:
        """Return the future of a delivery that is in the outbox: of its first attempt."""
        outcome = self.waiters.add(parcel)
        self.pending.add(parcel.key)
        self.waiters.note_new(parcel.key)
        return outcome

    @property
    def due(self) -> bool:
        """Whether there is something to try now."""
        return not self._backoff.rests and (self.waiters.new or self.pending.next() is not None)

    def hurry(self) -> None:
        """Let everything be tried again, and look at what others have changed meanwhile."""
        self.pending.release_all()
        self.pending.doubt()
        with contextlib.suppress(OSError):  # the courier looks again
            self.look()

    def look(self) -> None:
        """Learn from the outbox what waits, whichever process has put it there."""
        # Asked before the look: a delivery that somebody begins to wait for meanwhile came into the outbox meanwhile, too.
        self.waiters.set_lost(self.pending.look(self.waiters.keys))

    def make(self, interrupted: Callable[[], bool]) -> None:
        """Make what is due, oldest first, until ``interrupted``; raise where the backend has to be left alone."""
        self._tell_new()
        while not interrupted() and (key := self.pending.next()) is not None:
            parcel = self._load(key)
            if parcel is None:
                continue
            try:
                self.redelivery.make(parcel)
            except TraceletError as error:
                if self.redelivery.is_stubborn(parcel) and self._takes_another(parcel):
                    self.set_aside(parcel, error)
                    continue
                # The younger ones of its name wait behind it; other names need not.
                self.waiters.tell_why(self.pending.of(parcel.manifest.name), error)
                if self._backoff.rests:
                    self.waiters.tell_why(self.waiters.keys, error)
                    raise

    def make_older(self, parcel: Parcel) -> tuple[Parcel, TraceletError] | None:
        """Make the deliveries of a name that are older than one of it; raise where that one has to wait behind them.

        Returns an older one that failed once more, and why, where the one is to be tried all the same: if the backend takes
        that, the older one is to be set aside.
        """
        if self.pending.outdated:
            self.look()
        failed: tuple[Parcel, TraceletError] | None = None
        after = ""
        while (key := self.pending.oldest(parcel.manifest.name, after)) is not None and key < parcel.key:
            older = self._load(key)
            if older is None:
                continue
            if failed is not None and older.attempts >= STUBBORN:
                after = key
                continue
            try:
                self.redelivery.make(older)
            except TraceletError as error:
                if failed is None and self.redelivery.is_stubborn(older):
                    failed, after = (older, error), key
                    continue
                if self._backoff.rests:
                    self.waiters.tell_why(self.waiters.keys, error)
                raise
        return failed

    def _takes_another(self, parcel: Parcel) -> bool:
        """Try the next delivery of a name right after this one has failed; tell whether the backend has taken it."""
        after = parcel.key
        while (key := self.pending.oldest(parcel.manifest.name, after)) is not None:
            after = key
            younger = self._load(key)
            if younger is None or younger.attempts >= STUBBORN:
                continue
            try:
                return self.redelivery.make(younger).delivered is not None
            except TraceletError:
                return False
        return False

    def set_aside(self, parcel: Parcel, why: TraceletError) -> None:
        """Let a delivery wait that failed again and again while the backend took what came after it: it holds nothing up."""
        self.pending.set_aside(parcel.key)
        _LOG.warning(
            "%s takes others, and not this %r: it waits on in the outbox, and what was logged after it goes first (%s)",
            *(self._backend, parcel.manifest.name, why),
        )

    def _load(self, key: str) -> Parcel | None:
        parcel = self._outbox.load(self._experiment, self._backend, key)
        if parcel is None:
            self.pending.drop(key)
            self.waiters.lose(key)
            return None
        try:
            self._check_address(parcel.sdk)
        except BackendUnavailable as error:
            _LOG.warning("%s: %r waits in the outbox, for %s", self._backend, parcel.manifest.name, error)
            self.pending.keep(key)
            self.waiters.tell(key, Outcome(error=error, queued=True))
            return None
        return parcel

    def look_up(self) -> None:
        """Ask the backend what became of a delivery that is not in the outbox any more."""
        parcel = self.waiters.take_lost()
        if parcel is None:
            return
        manifest = parcel.manifest
        try:
            stored = self._attempts.ask("find", name=manifest.name, ref=f"sha256:{manifest.digest}")
        except TraceletError as error:
            self.waiters.tell(parcel.key, Outcome(error=error))
            return
        refused = BackendError(
            f"{self._backend} has not taken {manifest.name!r}.", backend=self._backend, retryable=False
        )
        found = Outcome(Delivered(stored, True)) if stored is not None else Outcome(error=refused)
        self.waiters.tell(parcel.key, found)

    def _tell_new(self) -> None:
        """Tell those who wait for a delivery behind one that has to wait."""
        for key in self.waiters.take_new():
            obstacle = self.pending.obstacle(key)
            if obstacle is not None:
                self.waiters.tell(key, Outcome(error=obstacle, queued=True))
