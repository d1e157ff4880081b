"""Who waits for deliveries that are in the outbox."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from tracelet.core.delivery.outcomes import Outcome, run_ended
from tracelet.core.delivery.parcel import Parcel
from tracelet.exceptions import TraceletError

__all__ = ["Waiters"]


class Waiters:
    """The futures of deliveries to one backend. Each is told once."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._waiters: dict[str, tuple[Parcel, Future[Outcome]]] = {}
        #: Keys that are new, and are told at once where an older delivery of the name has to wait.
        self._new: list[str] = []
        #: Keys of deliveries that are not in the outbox any more: they were settled before, or by another process.
        self._lost: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._waiters

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def keys(self) -> list[str]:
        """The keys of the deliveries that somebody waits for."""
        return list(self._waiters)

    def add(self, parcel: Parcel) -> Future[Outcome]:
        """Return the future of a delivery."""
        outcome: Future[Outcome] = Future()
        self._waiters[parcel.key] = parcel, outcome
        return outcome

    def note_new(self, key: str) -> None:
        """Say that nobody has looked yet whether an older delivery of the name has to wait."""
        self._new.append(key)

    @property
    def new(self) -> bool:
        """Whether there are new ones."""
        return bool(self._new)

    def take_new(self) -> list[str]:
        """Return the new ones, which are new no more."""
        new, self._new = self._new, []
        return new

    @property
    def lost(self) -> bool:
        """Whether somebody waits for a delivery that is not in the outbox any more."""
        return bool(self._lost)

    def lose(self, key: str) -> None:
        """Say that a delivery is not in the outbox any more."""
        if key in self._waiters:
            self._lost.append(key)

    def set_lost(self, keys: list[str]) -> None:
        """Say which deliveries are not in the outbox any more; the others are."""
        self._lost = keys

    def take_lost(self) -> Parcel | None:
        """Return one of the lost deliveries, or None where its waiter was told meanwhile."""
        parcel, _ = self._waiters.get(self._lost.pop(), (None, None))
        return parcel

    def tell(self, key: str, outcome: Outcome) -> None:
        """Tell what became of a delivery, if somebody waits for it."""
        _, waiter = self._waiters.pop(key, (None, None))
        if waiter is not None:
            waiter.set_result(outcome)

    def tell_why(self, keys: Iterable[str], error: TraceletError) -> None:
        """Tell why these deliveries stay in the outbox."""
        for key in keys:
            self.tell(key, Outcome(error=error, queued=True))

    def abandon(self) -> None:
        """Tell everybody that the run is over: what they wait for stays in the outbox."""
        for key in self.keys:
            self.tell(key, Outcome(error=run_ended(self._backend), queued=True, told=True))
