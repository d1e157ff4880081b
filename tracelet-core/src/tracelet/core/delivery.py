"""Fan-out: one courier a backend, each with a thread and a lane of its own; reads have lanes of their own.

A courier makes deliveries in order: what a caller waits for first, then what waits in the outbox; and of
one artifact's name always the older one first, so that ``latest`` is the latest. What fails for a
reason that may pass goes to the outbox before its caller hears of it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import attrs

from tracelet.core.backend import RunInfo, SealedArtifact, StoredArtifact
from tracelet.core.files import FileChanged
from tracelet.core.lane import Lane, LaneState
from tracelet.core.outbox import Outbox, Parcel
from tracelet.core.processes import current
from tracelet.core.service import Delivered
from tracelet.exceptions import (
    ArtifactError,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    IntegrityError,
    PluginError,
    TraceletError,
)
from tracelet.settings import TraceletSettings

__all__ = [
    "Courier",
    "Outcome",
    "Reader",
    "Sealer",
    "Task",
    "all_at_once",
    "beside",
    "close_all",
    "is_final",
    "limit_for",
    "unwritable",
]

T = TypeVar("T")

_LOG = logging.getLogger("tracelet.delivery")
_MB = 1_000_000
#: A backend that is away may cost the user's program a tenth of its time at most: after an attempt
#: that failed, this many times its duration passes before the next one.
_BACKOFF = 10.0
_LONGEST_BACKOFF = 300.0
#: Seconds between attempts that nobody waits for.
_SHORTEST_RETRY = 1.0


def limit_for(size_bytes: int, settings: TraceletSettings) -> float:
    """Return the seconds that a delivery of so many bytes may take."""
    return settings.deadline + size_bytes / (settings.min_rate * _MB)


def is_final(error: TraceletError) -> bool:
    """Tell whether trying again would fail again."""
    if isinstance(error, BackendError):
        return not error.retryable
    return isinstance(error, (ArtifactError, IntegrityError, PluginError))


@attrs.frozen
class Outcome:
    """What became of one artifact at one backend: it has it, or why not, and whether it is queued."""

    delivered: Delivered | None = None
    error: TraceletError | None = None
    queued: bool = False


class Task:
    """A delivery that somebody waits for."""

    def __init__(self, sealed: SealedArtifact, parcel: Parcel) -> None:
        self.sealed = sealed
        self.parcel = parcel
        self.outcome: Future[Outcome] = Future()
        self.lock = threading.Lock()
        self.in_hand = False
        self.parked = False


class Courier:
    """Makes the deliveries to one backend, one at a time."""

    def __init__(
        self,
        backend: str,
        experiment: str,
        lane: Lane,
        outbox: Outbox,
        settings: TraceletSettings,
        elsewhere: Callable[[Parcel], Lane | None] = lambda parcel: None,
    ) -> None:
        """``elsewhere`` makes a lane for a delivery that was logged where the user's SDK said something else."""
        self.backend = backend
        self.lane = lane
        self._elsewhere = elsewhere
        #: The lane of deliveries of another process, and what the SDK said there.
        self._other: tuple[dict[str, Any], Lane] | None = None
        self._experiment = experiment
        self._outbox = outbox
        self._settings = settings
        self._wake = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._inputs: deque[tuple[StoredArtifact, RunInfo]] = deque()
        self._waiters: dict[str, tuple[Parcel, Future[Outcome]]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = False
        self._open_first = False
        self._retry_at = 0.0
        self._hurried_at = 0.0
        self._trouble: TraceletError | None = None
        self._later: dict[str, float] = {}
        #: What the backend keeps on this machine for as long as this process is offline.
        self._kept: set[str] = set()
        self.delivered = 0

    def start(self) -> None:
        """Bring the lane up, and make what waits in the outbox, without keeping the caller waiting."""
        with self._wake:
            self._open_first = True
            self._run()

    def send(self, sealed: SealedArtifact, parcel: Parcel) -> Task:
        """Begin a delivery; :meth:`wait_for` gives its outcome."""
        task = Task(sealed, parcel)
        with self._wake:
            self._tasks.append(task)
            self._run()
        return task

    def wait_for(self, task: Task, until: float) -> Outcome:
        """Return the outcome of a delivery, or park it in the outbox when the time (monotonic) is over."""
        try:
            return task.outcome.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return self._park(task)

    def expect(self, parcel: Parcel) -> Future[Outcome]:
        """Return the future of a delivery that is in the outbox: of its first attempt."""
        outcome: Future[Outcome] = Future()
        with self._wake:
            self._waiters[parcel.key] = parcel, outcome
            self._run()
        return outcome

    def hurry(self) -> None:
        """Try at once what waits for a better time; an attempt that is under way does not count."""
        with self._wake:
            self._hurried_at = time.monotonic()
            self._retry_at = 0.0
            self._later.clear()
            self._run()

    def idle(self) -> bool:
        """Whether nothing is under way and everything that waits has been tried."""
        with self._wake:
            if self._tasks or self._inputs or self._busy:
                return False
            waiting = self._waiting()
            now = time.monotonic()
            return not waiting or self._retry_at > now or all(self._later.get(key, 0.0) > now for key in waiting)

    def state(self) -> dict[str, Any]:
        """Return what there is to know: state, reason, what waits, how many were delivered."""
        reason = self.lane.reason or (str(self._trouble) if self._trouble is not None else "")
        return {
            "state": self.lane.state.value,
            "reason": reason,
            "waiting": len(self._outbox.waiting(self._experiment, self.backend)),
            "delivered": self.delivered,
        }

    def note_input(self, stored: StoredArtifact, run: RunInfo) -> None:
        """Tell the backend, when its turn comes, that the run uses this version of its own."""
        with self._wake:
            self._inputs.append((stored, run))
            self._run()

    def close(self, until: float, *, failed: bool) -> None:
        """End the thread and the lane by then (monotonic); what is in hand is left to the outbox."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            thread, idle = self._thread, not self._busy and not self._tasks
        if thread is not None:
            if not (idle and self.lane.state is LaneState.OPENING):
                thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                # The end of the lane's process is the end of its request: the thread puts away what it had.
                self.lane.kill()
                other = self._other
                if other is not None:
                    other[1].kill()
                thread.join(5.0)
        self._close_other(until)
        try:
            self.lane.close(max(0.0, until - time.monotonic()), failed=failed)
        except TraceletError as error:
            _LOG.warning("%s did not end its run as it should: %s", self.backend, error)

    def _run(self) -> None:
        """Wake the thread, or make it. The caller holds the condition."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"tracelet-{self.backend}", daemon=True)
            self._thread.start()
        self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not (
                    self._closing or self._tasks or self._inputs or self._open_first or self._lost() or self._due()
                ):
                    self._wake.wait(self._pause())
                if self._closing and not self._tasks:
                    return
                task = self._tasks.popleft() if self._tasks else None
                opening, self._open_first = self._open_first and task is None, False
                self._busy = not opening
            if task is not None:
                self._make(task)
                continue
            with contextlib.suppress(TraceletError):
                if opening:
                    self._opened(self.lane)
                elif self._inputs:
                    self._record(*self._inputs.popleft())
                elif lost := self._lost():
                    self._look_up(lost[0])
                else:
                    self._make_waiting(None)

    def _record(self, stored: StoredArtifact, run: RunInfo) -> None:
        try:
            self._opened(self.lane)
            self.lane.request("record_input", self._settings.deadline, stored=stored, run=run)
        except TraceletError as error:
            _LOG.warning("%s has not noted the use of %r: %s", self.backend, stored.manifest.name, error)

    def _due(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        return any(self._later.get(key, 0.0) <= now for key in self._waiting())

    def _waiting(self, name: str | None = None) -> list[str]:
        """The keys of what can be tried, oldest first."""
        return [key for key in self._outbox.waiting(self._experiment, self.backend, name) if key not in self._kept]

    def _pause(self) -> float | None:
        times = [*self._later.values(), *([self._retry_at] if self._retry_at else [])]
        # Another process may make what is waited for here, and tells nobody.
        times += [time.monotonic() + _SHORTEST_RETRY] if self._waiters else []
        ahead = [when - time.monotonic() for when in times]
        return max(0.05, min((left for left in ahead if left > 0), default=0.05)) if ahead else None

    def _make(self, task: Task) -> None:
        began = time.monotonic()
        with task.lock:
            if task.parked:
                task.outcome.set_result(Outcome(queued=True))
                return
            task.in_hand = True
        try:
            if time.monotonic() < self._retry_at and self._trouble is not None:
                raise self._still_away()
            self._opened(self.lane)
            # What was queued before under this name is older: it goes first, or this one waits behind it.
            self._make_waiting(task.parcel.manifest.name, before=task.parcel.key)
            outcome = self._outcome(task.parcel, self._deliver(task.sealed, task.parcel, self.lane, again=False))
        except TraceletError as error:
            outcome = Outcome(error=error)
        with task.lock:
            task.in_hand = False
            if task.parked:
                self._settle(task.parcel, outcome, began)
            elif outcome.error is not None and not is_final(outcome.error):
                outcome = attrs.evolve(self._queue(task, outcome.error), delivered=outcome.delivered)
            task.outcome.set_result(outcome)

    def _queue(self, task: Task, error: TraceletError) -> Outcome:
        try:
            self._outbox.add(task.sealed, task.parcel)
        except (FileChanged, OSError) as failure:
            known = failure if isinstance(failure, FileChanged) else unwritable(failure)
            return Outcome(error=known)
        return Outcome(error=error, queued=True)

    def _park(self, task: Task) -> Outcome:
        """The caller waits no longer: keep its delivery, and go on with it behind its back."""
        with task.lock:
            if task.outcome.done():
                return task.outcome.result()
            reason = self.lane.state.value if self.lane.state is LaneState.OPENING else "busy"
            error = BackendUnavailable(
                f"{self.backend} is still {reason}: the delivery waits in the outbox and goes on.", backend=self.backend
            )
            holders = [current(), *self.lane.processes()] if task.in_hand else []
            try:
                self._outbox.add(task.sealed, task.parcel, holders)
            except (FileChanged, OSError) as failure:
                return Outcome(error=failure if isinstance(failure, FileChanged) else unwritable(failure))
            task.parked = True
        with self._wake:
            self._run()
        return Outcome(error=error, queued=True)

    def _make_waiting(self, name: str | None, before: str | None = None) -> None:
        """Make what waits in the outbox (of one name, up to a key), oldest first; raise where that has to wait on."""
        stuck: dict[str, TraceletError] = {}
        for key in self._waiting(name):
            if (before is not None and key >= before) or (self._closing and name is None):
                return
            parcel = self._outbox.load(self._experiment, self.backend, key)
            if parcel is None:
                continue
            older = stuck.get(parcel.manifest.name)
            if older is None and name is None and self._later.get(key, 0.0) > time.monotonic():
                older = BackendUnavailable(parcel.error, backend=self.backend)
            if older is not None:
                # The younger ones of its name wait behind it; other names need not.
                stuck[parcel.manifest.name] = older
                self._tell(key, Outcome(error=older, queued=True))
                continue
            try:
                self.redeliver(parcel)
            except TraceletError as error:
                stuck[parcel.manifest.name] = error
                if self._retry_at > time.monotonic():
                    for other in list(self._waiters):
                        self._tell(other, Outcome(error=error, queued=True))
                    raise
                if name is not None:
                    raise
            if name is None and self._tasks:
                return

    def redeliver(self, parcel: Parcel, *, unhurried: bool = False) -> Outcome:
        """Make a delivery of the outbox. Raises what may pass; an ``unhurried`` one ends only by a stall."""
        began = time.monotonic()
        lane = self._lane_of(parcel)
        self._opened(lane)
        limit = limit_for(parcel.manifest.size_bytes, self._settings)
        if not self._outbox.take(parcel, [current(), *lane.processes()], 2 * limit + 3600):
            self._later[parcel.key] = time.monotonic() + _SHORTEST_RETRY
            raise BackendUnavailable(f"another process is on {parcel.manifest.name!r}.", backend=self.backend)
        try:
            sealed = self._outbox.sealed(parcel)
            outcome = self._outcome(parcel, self._deliver(sealed, parcel, lane, again=True, unhurried=unhurried))
        except TraceletError as error:
            outcome = Outcome(error=error, queued=not is_final(error))
        self._settle(parcel, outcome, began)
        if outcome.error is not None and outcome.queued and outcome.delivered is None:
            raise outcome.error
        return outcome

    def _outcome(self, parcel: Parcel, delivered: Delivered) -> Outcome:
        """What only this machine has stays in the outbox, for the tracker is still to get it."""
        if not delivered.stored.pending:
            return Outcome(delivered)
        self._kept.add(parcel.key)
        error = BackendUnavailable(
            f"{self.backend} keeps {delivered.stored.manifest.name!r} on this machine until it is online again.",
            backend=self.backend,
        )
        return Outcome(delivered, error, queued=True)

    def _settle(self, parcel: Parcel, outcome: Outcome, began: float) -> None:
        """Write down what became of an attempt that began then, and tell who waits for it."""
        if outcome.error is None:
            self._outbox.done(parcel)
            self._later.pop(parcel.key, None)
        else:
            final = is_final(outcome.error)
            self._outbox.failed(parcel, outcome.error, final=final)
            if final:
                _LOG.warning("%s will never take %r: %s", self.backend, parcel.manifest.name, outcome.error)
            else:
                _LOG.info("%s does not take %r yet: %s", self.backend, parcel.manifest.name, outcome.error)
                if began >= self._hurried_at:
                    self._later[parcel.key] = time.monotonic() + min(_LONGEST_BACKOFF, 2.0 ** min(parcel.attempts, 9))
        self._tell(parcel.key, outcome)

    def _tell(self, key: str, outcome: Outcome) -> None:
        _, waiter = self._waiters.pop(key, (None, None))
        if waiter is not None:
            waiter.set_result(outcome)

    def _lost(self) -> list[str]:
        """What somebody waits for and the outbox has no more: it was settled before they asked, or elsewhere."""
        # Before the look: a delivery that somebody begins to wait for meanwhile came into the outbox meanwhile, too.
        asked = list(self._waiters)
        if not asked:
            return []
        waiting = set(self._outbox.waiting(self._experiment, self.backend))
        return [key for key in asked if key not in waiting]

    def _look_up(self, key: str) -> None:
        """Ask the backend what became of a delivery that another process has made."""
        parcel, _ = self._waiters[key]
        manifest = parcel.manifest
        try:
            self._opened(self.lane)
            stored = self.lane.request(
                "find", self._settings.deadline, name=manifest.name, ref=f"sha256:{manifest.digest}"
            )
        except TraceletError as error:
            self._tell(key, Outcome(error=error))
            return
        refused = BackendError(
            f"{self.backend} has not taken {manifest.name!r}.", backend=self.backend, retryable=False
        )
        self._tell(key, Outcome(Delivered(stored, True)) if stored is not None else Outcome(error=refused))

    def _lane_of(self, parcel: Parcel) -> Lane:
        if self._other is not None and self._other[0] == parcel.sdk:
            return self._other[1]
        lane = self._elsewhere(parcel)
        if lane is None:
            return self.lane
        self._close_other(time.monotonic() + self._settings.deadline)
        self._other = parcel.sdk, lane
        return lane

    def _close_other(self, until: float) -> None:
        other, self._other = self._other, None
        if other is not None:
            with contextlib.suppress(TraceletError):
                other[1].close(max(0.0, until - time.monotonic()), failed=False)

    def _deliver(
        self, sealed: SealedArtifact, parcel: Parcel, lane: Lane, *, again: bool, unhurried: bool = False
    ) -> Delivered:
        began = time.monotonic()
        limit = None if unhurried else limit_for(sealed.manifest.size_bytes, self._settings)
        try:
            answer: Delivered = lane.request(
                "deliver", limit, sealed=sealed, labels=parcel.labels, run=parcel.run, again=again
            )
        except TraceletError as error:
            self._note_trouble(error, began, lane)
            raise
        if lane is self.lane:
            self._retry_at, self._trouble = 0.0, None
        self.delivered += 1
        return answer

    def _opened(self, lane: Lane) -> None:
        began = time.monotonic()
        try:
            lane.open(self._settings.open_timeout)
        except TraceletError as error:
            self._note_trouble(error, began, lane)
            raise

    def _note_trouble(self, error: TraceletError, began: float, lane: Lane) -> None:
        """Leave the backend alone for a while; what another process's deliveries meet is their own trouble."""
        if lane is not self.lane:
            return
        if isinstance(error, (BackendUnavailable, BackendAuthError)) and began >= self._hurried_at:
            took = time.monotonic() - began
            self._trouble = error
            self._retry_at = time.monotonic() + min(_LONGEST_BACKOFF, max(_BACKOFF * took, 0.05))

    def _still_away(self) -> TraceletError:
        left = max(0.0, self._retry_at - time.monotonic())
        kind = BackendAuthError if isinstance(self._trouble, BackendAuthError) else BackendUnavailable
        return kind(
            f"{self.backend} is away, and is asked again in {left:.0f} s ({self._trouble})", backend=self.backend
        )


def unwritable(error: OSError) -> TraceletError:
    """Return what to say where the tracelet directory takes nothing any more."""
    return BackendError(
        f"the tracelet directory cannot be written: {error}. Free space, or set TRACELET_DIR.", retryable=False
    )


class Reader:
    """Reads from one backend, on a lane of its own, so that nobody waits behind an upload."""

    def __init__(self, lane: Lane, settings: TraceletSettings) -> None:
        self.lane = lane
        self._settings = settings
        self._lock = threading.Lock()

    def request(self, what: str, size_bytes: int = 0, **arguments: Any) -> Any:
        """Ask the backend, within the time that so many bytes may take. Raises what it raises."""
        with self._lock:
            self.lane.open(self._settings.open_timeout)
            return self.lane.request(what, limit_for(size_bytes, self._settings), **arguments)

    def close(self, until: float) -> None:
        """End the lane by then (monotonic)."""
        with contextlib.suppress(TraceletError):
            self.lane.close(max(0.0, until - time.monotonic()), failed=False)


def all_at_once(calls: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, TraceletError]]:
    """Make calls to several backends at the same time; return what they gave and what they raised, by name."""
    given: dict[str, T] = {}
    raised: dict[str, TraceletError] = {}

    def one(name: str, call: Callable[[], T]) -> None:
        try:
            given[name] = call()
        except TraceletError as error:
            raised[name] = error

    if len(calls) == 1:
        one(*next(iter(calls.items())))
        return given, raised
    threads = [threading.Thread(target=one, args=item, daemon=True) for item in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: given[name] for name in calls if name in given}, raised


def beside(call: Callable[[], T]) -> Future[T]:
    """Make a call that nobody can end on a thread of its own; a caller who is tired of waiting leaves it to itself."""
    answer: Future[T] = Future()

    def one() -> None:
        try:
            answer.set_result(call())
        except (TraceletError, OSError) as error:
            answer.set_exception(error)

    threading.Thread(target=one, daemon=True).start()
    return answer


def close_all(couriers: Iterable[Courier], until: float, *, failed: bool) -> None:
    """End several couriers at the same time, by then (monotonic)."""
    all_at_once(
        {
            courier.backend: lambda courier=courier: courier.close(until, failed=failed)  # type: ignore[misc]
            for courier in couriers
        }
    )


class Sealer:
    """Finishes drafts, in order, on a thread of its own."""

    def __init__(self, finish: Callable[[Path], None]) -> None:
        self._finish = finish
        self._wake = threading.Condition()
        self._drafts: deque[Path] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closing = False

    def add(self, draft: Path) -> None:
        """Finish this draft, when its turn comes."""
        with self._wake:
            self._drafts.append(draft)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracelet-sealer", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def close(self) -> list[Path]:
        """Begin nothing more; return the drafts that were not begun."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            return list(self._drafts)

    def settle(self, until: float) -> bool:
        """Wait until no draft is under way, or until then (monotonic); say which."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._drafts and not self._busy, max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not self._drafts and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                draft = self._drafts.popleft()
                self._busy = True
            try:
                self._finish(draft)
            except (TraceletError, OSError) as error:
                _LOG.warning("%s stays in the outbox unfinished: %s", draft.name, error)
