"""The thread that makes the deliveries to one backend: those that callers wait for first, then those of the outbox."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import attrs

from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.backlog import Backlog
from tracelet.core.delivery.lineage import Lineage
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import Outcome, is_final, run_ended, unwritable
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.uses import Use
from tracelet.core.lanes.lane import Lane
from tracelet.core.lanes.state import LaneState
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.system.files import FileChanged
from tracelet.core.system.processes import current
from tracelet.core.system.threads import all_at_once
from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.settings import TraceletSettings

__all__ = ["Courier", "Task", "close_all"]

_LOG = logging.getLogger("tracelet.delivery")
#: Seconds until the outbox is looked at again that could not be read or written.
_PAUSE = 1.0


class Task:
    """A delivery that somebody waits for."""

    def __init__(self, sealed: SealedArtifact, parcel: Parcel) -> None:
        self.sealed = sealed
        self.parcel = parcel
        self.outcome: Future[Outcome] = Future()
        #: Done when a kill would lose nothing of it any more: it is settled, or in the outbox.
        self.safe: Future[None] = Future()
        self.outcome.add_done_callback(lambda _: self._is_safe())
        self.lock = threading.Lock()
        self.in_hand = False
        self.parked = False

    def park(self) -> None:
        """Note that the delivery is in the outbox, whatever the attempt comes to."""
        self.parked = True
        self._is_safe()

    def _is_safe(self) -> None:
        if not self.safe.done():
            self.safe.set_result(None)


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
        check_address: Callable[[dict[str, Any]], None] = lambda sdk: None,
    ) -> None:
        """``elsewhere`` makes a lane for a delivery that was logged while the user's SDK was set to something else.

        ``check_address`` raises :class:`~tracelet.BackendUnavailable` where that is no address of the user's.
        """
        self.backend = backend
        self.lane = lane
        self._outbox = outbox
        self._attempts = Attempts(lane, settings, elsewhere)
        self._backoff = self._attempts.backoff
        self.check_address = check_address
        self.backlog = Backlog(backend, experiment, self._attempts, outbox, settings, check_address)
        self._lineage = Lineage(backend, experiment, self._attempts, outbox)
        self._wake = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = False
        self._open_first = False

    def start(self) -> None:
        """Open the lane and make the deliveries of the outbox, in the background."""
        with self._wake:
            self._open_first = True
            self._lineage.recall()
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
        with self._wake:
            if self._closing:
                outcome: Future[Outcome] = Future()
                outcome.set_result(Outcome(error=run_ended(self.backend), queued=True, told=True))
                return outcome
            try:
                self._backoff.check(self.backend)
            except TraceletError as error:
                # The backend may be left alone for long, so the caller gets the reason now.
                self.backlog.pending.add(parcel.key)
                outcome = Future()
                outcome.set_result(Outcome(error=error, queued=True))
            else:
                outcome = self.backlog.expect(parcel)
            self._run()
        return outcome

    def hurry(self) -> None:
        """Try at once what waits for a later attempt. An attempt that is under way is not repeated."""
        with self._wake:
            self.backlog.hurry()
            self._lineage.recall()
            self._run()

    def look_again(self) -> None:
        """List the outbox again: other threads or processes have put something into it."""
        with self._wake:
            self.backlog.pending.doubt()
            self._run()

    def idle(self) -> bool:
        """Return whether nothing is under way, and everything that waits has been tried."""
        with self._wake:
            if self._tasks or self._lineage.due or self._busy:
                return False
            return not (self.backlog.pending.outdated or self.backlog.waiters.lost or self.backlog.due)

    def state(self) -> dict[str, Any]:
        """Return the state, its reason, and how many deliveries wait and were made."""
        return {
            "state": self.lane.state.value,
            "reason": self.lane.reason or self._backoff.reason,
            "waiting": self.backlog.pending.count(),
            "delivered": self._attempts.delivered,
        }

    def note_input(self, use: Use) -> None:
        """Queue a note to the backend that a run uses a version, which the backend may hold."""
        with self._wake:
            self._lineage.add(use)
            self._run()

    def close(self, until: float, *, failed: bool) -> None:
        """End the thread and the lane by ``until`` (monotonic). A delivery under way is put into the outbox."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            thread, idle = self._thread, not self._busy and not self._tasks
        if thread is not None:
            if not (idle and self.lane.state is LaneState.OPENING):
                thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                # A killed process ends its request; then the thread puts the delivery into the outbox.
                self._attempts.kill()
                thread.join(5.0)
        self.backlog.waiters.abandon()
        try:
            self._attempts.close(until, failed=failed)
        except TraceletError as error:
            _LOG.warning("%s did not end its run as it should: %s", self.backend, error)

    def _run(self) -> None:
        """Wake the thread, or start it. The caller holds the condition."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"tracelet-{self.backend}", daemon=True)
            self._thread.start()
        self._wake.notify_all()

    def _work(self) -> None:
        going = True
        while going:
            try:
                going = self._work_once()
            except OSError as error:
                _LOG.warning("%s: %s", self.backend, unwritable(error))
                time.sleep(_PAUSE)

    def _work_once(self) -> bool:
        """Wait for something to do, and do it; return False at the end."""
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not (
                self._closing
                or self._tasks
                or self._lineage.due
                or self._open_first
                or self.backlog.pending.outdated
                or self.backlog.waiters.lost
                or self.backlog.due
            ):
                watching = bool(self.backlog.waiters)
                if not self._wake.wait(self._backoff.pause(watching=watching)) and watching:
                    self.backlog.pending.doubt()
            if self._closing and not self._tasks:
                return False
            task = self._tasks.popleft() if self._tasks else None
            opening, self._open_first = self._open_first and task is None, False
            self._busy = not opening
        if task is not None:
            self._make(task)
            return True
        with contextlib.suppress(TraceletError):
            if opening:
                self._attempts.open(self.lane)
            elif self.backlog.pending.outdated:
                self.backlog.look()
            elif self.backlog.waiters.lost:
                self.backlog.look_up()
            elif self.backlog.due:
                self.backlog.make(lambda: self._closing or bool(self._tasks))
            elif self._lineage.due:
                self._lineage.note_next()
        return True

    def _make(self, task: Task) -> None:
        began = time.monotonic()
        with task.lock:
            if task.parked:
                task.outcome.set_result(Outcome(queued=True))
                return
            task.in_hand = True
        try:
            self._backoff.check(self.backend)
            self._attempts.open(self.lane)
            # Older deliveries of this name go first; where one has to wait, this one waits behind it.
            failed = self.backlog.make_older(task.parcel)
            delivered = self._attempts.deliver(task.sealed, task.parcel, self.lane, again=False)
            if failed is not None:
                self.backlog.set_aside(*failed)
            outcome = self.backlog.redelivery.outcome(task.parcel, delivered)
        except TraceletError as error:
            outcome = Outcome(error=error)
        except OSError as error:
            outcome = Outcome(error=unwritable(error))
        with task.lock:
            task.in_hand = False
            if task.parked:
                self.backlog.redelivery.settle(task.parcel, _of_what_is_kept(outcome, self.backend), began)
            elif outcome.error is not None and not is_final(outcome.error):
                queued = self._queue(task, outcome.error)
                # What this machine alone has, and the outbox has not, reaches no server: that has failed.
                outcome = attrs.evolve(queued, delivered=outcome.delivered) if queued.queued else queued
            task.outcome.set_result(outcome)

    def _queue(self, task: Task, error: TraceletError) -> Outcome:
        try:
            self.backlog.pending.add(self._outbox.add(task.sealed, task.parcel).key)
        except (FileChanged, OSError) as failure:
            known = failure if isinstance(failure, FileChanged) else unwritable(failure)
            return Outcome(error=known)
        return Outcome(error=error, queued=True)

    def _park(self, task: Task) -> Outcome:
        """Put a delivery into the outbox, because its caller waits no longer; go on with it in the background."""
        with task.lock:
            if task.outcome.done():
                return task.outcome.result()
            reason = self.lane.state.value if self.lane.state is LaneState.OPENING else "busy"
            error = BackendUnavailable(
                f"{self.backend} is still {reason}: the delivery waits in the outbox and goes on.", backend=self.backend
            )
            holders = [current(), *self.lane.processes()] if task.in_hand else []
            try:
                self.backlog.pending.add(self._outbox.add(task.sealed, task.parcel, holders).key)
            except (FileChanged, OSError) as failure:
                return Outcome(error=failure if isinstance(failure, FileChanged) else unwritable(failure))
            task.park()
        with self._wake:
            self._run()
        return Outcome(error=error, queued=True)


def _of_what_is_kept(outcome: Outcome, backend: str) -> Outcome:
    """Make a final error one that may pass: it is about the caller's files, and the outbox has copies of them by now."""
    if outcome.error is None or not is_final(outcome.error):
        return outcome
    return attrs.evolve(outcome, error=BackendUnavailable(str(outcome.error), backend=backend), queued=True)


def close_all(couriers: Iterable[Courier], until: float, *, failed: bool) -> None:
    """End several couriers at the same time, by ``until`` (monotonic)."""
    all_at_once(
        {
            courier.backend: lambda courier=courier: courier.close(until, failed=failed)  # type: ignore[misc]
            for courier in couriers
        }
    )
