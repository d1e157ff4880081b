"""One lane for writing and, while nothing is written, for reading: who reads needs no process, and no import of the SDK, of their own."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tracelet.core.lanes.backend_service import Delivered
from tracelet.core.lanes.lane import Lane
from tracelet.core.lanes.state import LaneState
from tracelet.core.plugins.versions import RunInfo
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import TraceletError

__all__ = ["SharedLane"]


class SharedLane:
    """The lane that one thread writes on. Another one may read on it, by :meth:`lent`, while that is idle.

    A read that hangs or is interrupted ends the lane's process, and with it whatever run the process has open. So the lane is
    lent only while there is none, or where the backend resumes runs. Such runs are begun again when the lane is closed, so
    that they end.
    """

    def __init__(self, make: Callable[[], Lane], *, resumes_runs: bool) -> None:
        """``resumes_runs`` is what the backend's spec says."""
        self._make = make
        self._lane = make()
        self._resumes_runs = resumes_runs
        self._process = current()
        #: Guards what follows; the condition tells of each change. An interrupt while a condition itself is entered may leave it
        #: locked for ever, and no interrupt does that to a lock.
        self._guard = threading.RLock()
        self._turn = threading.Condition(self._guard)
        #: The thread that has the lane, and whether for reading, or only to open it for writing.
        self._holder: int | None = None
        self._reading = self._opening = False
        #: Whether somebody waits to write, and whether somebody waits to read who came while it was opened.
        self._to_write = self._to_read = False
        self._is_offered = self._is_killed = False
        #: By id: the runs that the lane's process has begun, and those that a process had begun when a read ended it.
        self._begun: dict[str, RunInfo] = {}
        self._lost: dict[str, RunInfo] = {}
        #: What writing was told when the lane was opened last, and the limit for that.
        self._failure: TraceletError | None = None
        self._open_limit = 0.0

    # -- writing: see Lane

    @property
    def state(self) -> LaneState:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        return self._lane.state

    @property
    def reason(self) -> str:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        return self._lane.reason

    def processes(self) -> list[ProcessId]:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        return self._lane.processes()

    def open(self, limit: float) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        with self._writing(opening=True):
            self._open_limit = limit
            self._open(limit)

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """See :class:`~tracelet.core.lanes.lane.Lane`. The limit begins when the lane is free."""
        with self._writing():
            # Since it was opened, a read may have ended its process.
            self._open(self._open_limit)
            answer = None
            try:
                answer = self._lane.request(what, limit, **arguments)
            finally:
                run = arguments.get("run")
                if self._lane.state is LaneState.BROKEN:
                    self._begun.clear()
                # What was stored before needs no run.
                elif run is not None and not (isinstance(answer, Delivered) and not answer.begun):
                    self._begun[run.id] = run
        return answer

    def kill(self) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        self._is_offered, self._is_killed = False, True
        self._lane.kill()

    def close(self, limit: float, *, failed: bool) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`. A read gets half of the time to come to its end."""
        until = time.monotonic() + limit
        self.withdraw(limit / 2)
        self._take(max(0.0, until - time.monotonic()))
        try:
            if self._lost and not self._is_killed:
                self._lane.open(max(0.0, until - time.monotonic()))
                for run in self._lost.values():
                    self._lane.request("begin", max(0.0, until - time.monotonic()), run=run)
        finally:
            self._lane.close(max(0.0, until - time.monotonic()), failed=failed)
            self._give_back()

    # -- reading

    def offer(self) -> None:
        """Let the lane be lent, from now until it is closed."""
        self._is_offered = True

    def withdraw(self, seconds: float) -> None:
        """Lend the lane no more. A read gets so many seconds to come to its end; then it fails, and a new process goes on."""
        self._is_offered = False
        with self._guard:
            if self._turn.wait_for(lambda: not self._reading, seconds):
                return
            ended, self._lane = self._lane, self._make()
            self._note_lost()
            self._give_back()
        ended.kill()
        if self._is_killed:
            self._lane.kill()
        with suppress(TraceletError):
            ended.close(0.0, failed=False)

    @contextmanager
    def lent(self) -> Iterator[Lane | None]:
        """Lend the lane; give None where that cannot be now. It may have to be opened.

        While it is opened for writing, this waits for that. Raises what the opening raises.
        """
        try:
            yield self._lane if self._lend() else None
        finally:
            # An interrupt may come at any time: only who has it knows.
            if self._holder == threading.get_ident():
                if self._lane.state is not LaneState.READY:
                    self._note_lost()
                self._give_back()

    def _lend(self) -> bool:
        # A fork's copy is of no use: its process is the parent's, and its condition may be held for ever.
        if self._process != current() or not self._is_offered:
            return False
        with self._guard:
            waits = self._is_opened()
            if waits:
                self._to_read = True
                try:
                    self._turn.wait_for(lambda: not self._is_opened())
                finally:
                    self._to_read = False
                    self._turn.notify_all()
                if self._failure is not None:
                    raise copy.copy(self._failure)
            busy = self._holder is not None or (self._to_write and not waits)
            if busy or not self._is_offered or (self._begun and not self._resumes_runs):
                return False
            self._holder, self._reading = threading.get_ident(), True
            return True

    def _note_lost(self) -> None:
        """Note that a read has ended the process, and the runs there that have to be ended all the same."""
        self._lost |= self._begun
        self._begun.clear()

    def _is_opened(self) -> bool:
        return self._holder is not None and self._opening

    # -- whose turn it is

    def _open(self, limit: float) -> None:
        self._failure = None
        try:
            self._lane.open(limit)
        except TraceletError as error:
            self._failure = error
            raise

    @contextmanager
    def _writing(self, *, opening: bool = False) -> Iterator[None]:
        self._take(None, opening=opening)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, seconds: float | None, *, opening: bool = False) -> bool:
        """Take the lane for writing, which goes before any read that has not begun; say whether it was free in time."""
        with self._guard:
            self._to_write = True
            try:
                free = self._turn.wait_for(lambda: self._holder is None and not self._to_read, seconds)
            finally:
                self._to_write = False
            if free:
                self._holder = threading.get_ident()
                self._opening = opening and self._lane.state is not LaneState.READY
            return free

    def _give_back(self) -> None:
        with self._guard:
            self._holder, self._reading, self._opening = None, False, False
            self._turn.notify_all()
