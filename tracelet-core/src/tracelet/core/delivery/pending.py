"""What waits in the outbox for one backend, kept in memory: the outbox is listed only where others may have changed it."""

from __future__ import annotations

import threading

from tracelet.core.delivery.backoff import Backoff
from tracelet.core.delivery.name_queue import NameQueue
from tracelet.core.delivery.outbox import Outbox
from tracelet.exceptions import TraceletError

__all__ = ["Pending"]


class Pending:
    """The keys of the deliveries to one backend, and which of them can be tried now."""

    def __init__(self, backend: str, experiment: str, outbox: Outbox, backoff: Backoff) -> None:
        self._backend = backend
        self._experiment = experiment
        self._outbox = outbox
        self._clock = outbox.clock(experiment)
        self._backoff = backoff
        self._lock = threading.Lock()
        self._queue = NameQueue()
        #: What has come since the last listing began.
        self._come: set[str] = set()
        self._listed = False
        #: How many submissions of others were known of then.
        self._others = 0
        #: Deliveries that wait and hold up none of their name: the backend keeps them on this machine while this process
        #: is offline, or their address is none of the user's.
        self._kept: set[str] = set()
        #: Deliveries that wait and hold up none of their name, for the backend takes others: until everything is tried again.
        self._aside: set[str] = set()

    def count(self) -> int:
        """Return how many deliveries are in the outbox, read off the disk."""
        return len(self._outbox.waiting(self._experiment, self._backend))

    def add(self, key: str) -> None:
        """Note a delivery that this process has put into the outbox; one that is kept there is not tried again for that."""
        with self._lock:
            if key not in self._kept:
                self._come.add(key)
                self._queue.add(key)

    @property
    def outdated(self) -> bool:
        """Whether others may have changed what waits."""
        return not self._listed or self._others != self._clock.others

    def doubt(self) -> None:
        """Say that others may have changed what waits."""
        self._listed = False

    def look(self, asked: list[str]) -> list[str]:
        """List the outbox; return those of the keys ``asked`` for that do not wait in it any more."""
        others = self._clock.others
        with self._lock:
            self._come.clear()
        keys = self._outbox.waiting(self._experiment, self._backend)
        with self._lock:
            left_out = self._kept | self._aside
            self._queue.become({*keys, *self._come} - left_out)
            lost = [key for key in asked if key not in self._queue and key not in left_out]
        self._listed, self._others = True, others
        return lost

    def next(self) -> str | None:
        """Return the oldest delivery that can be tried."""
        with self._lock:
            self._queue.release(self._backoff.rested())
            return self._queue.free

    def oldest(self, name: str, after: str = "") -> str | None:
        """Return the oldest delivery of a name that is younger than the key ``after``."""
        return self._queue.oldest(name, after)

    def of(self, name: str) -> list[str]:
        """Return the deliveries of a name, oldest first."""
        return self._queue.of(name)

    def obstacle(self, key: str) -> TraceletError | None:
        """Return why an older delivery of a key's name has to wait, or None where none has to."""
        return self._queue.obstacle(key)

    def drop(self, key: str) -> None:
        """Forget a delivery: it is settled, or is to hold up none of its name."""
        self._backoff.forget(key)
        with self._lock:
            self._queue.drop(key)

    def keep(self, key: str) -> None:
        """Let a delivery wait on, and hold up none of its name."""
        self._kept.add(key)
        self.drop(key)

    def set_aside(self, key: str) -> None:
        """Let a delivery wait, and hold up none of its name, until everything is tried again."""
        self._aside.add(key)
        self.drop(key)

    def hold(self, key: str, why: TraceletError) -> None:
        """Leave a delivery alone, and so the younger ones of its name, for as long as its backoff says, if it says so."""
        with self._lock:
            if self._backoff.rests_for(key):
                self._queue.hold(key, why)

    def release_all(self) -> None:
        """Let everything be tried again."""
        with self._lock:
            self._backoff.hurry()
            self._aside.clear()
            self._queue.release_all()
