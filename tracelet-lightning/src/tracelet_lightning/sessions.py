"""The capture sessions of this process, and of the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from tracelet.plugin import Detection, Emit, saving, share, unshare
from tracelet_lightning import handoff
from tracelet_lightning.failures import log_failure
from tracelet_lightning.settings import LightningSettings

__all__ = ["CaptureSession", "active", "add", "adopt", "remove"]

_LOCK = threading.Lock()
_COLLECTING = threading.Lock()


@attrs.frozen(eq=False)
class CaptureSession:
    """One detector from its start to its stop, as the code that runs in a Trainer sees it."""

    settings: LightningSettings
    #: A folder for files of the detector's own.
    workspace: Path
    #: The id of the process in which the detector runs. A session is also active in the children of that process.
    pid: int
    #: Takes a detection; None in a child process.
    emit: Emit | None = attrs.field(repr=False)
    #: Called after each ``fit``, with whether it completed; None in a child process.
    outcome: Callable[[bool], None] | None = attrs.field(repr=False, default=None)

    @property
    def in_child(self) -> bool:
        """Whether this process is a child of the one in which the detector runs."""
        return self.pid != os.getpid()

    @property
    def handoff(self) -> Path:
        """The folder in which children leave their detections."""
        return self.workspace / "lightning-handoff"

    def report(self, detection: Detection) -> None:
        """Emit a detection; in a child process, leave it for the parent. Raises nothing."""
        with log_failure(str(detection.path or detection.name)):
            if self.in_child:
                handoff.leave(self.handoff, detection)
            elif self.emit is not None:
                # A model is stored by a torch.save, which the detector of torch.save is not to report.
                with saving(self.workspace):
                    self.emit(detection)

    def collect(self, model: Any = None) -> None:
        """Report the detections that children left; ``model`` is the model that they trained. Raises nothing."""
        with log_failure("what a child process saw"), _COLLECTING:
            for detection in handoff.collect(self.handoff, model):
                self.report(detection)

    def for_child(self) -> CaptureSession:
        """Return the session as a child process has it."""
        return attrs.evolve(self, emit=None, outcome=None)


_ACTIVE: list[CaptureSession] = []


def active() -> tuple[CaptureSession, ...]:
    """Return the active sessions, oldest first."""
    return tuple(_ACTIVE)


def add(session: CaptureSession) -> None:
    """Begin to report to a session."""
    with _LOCK:
        _ACTIVE.append(session)
    share(session.handoff, session.pid)


def remove(session: CaptureSession) -> None:
    """Report to a session no more."""
    with _LOCK:
        _ACTIVE.remove(session)
    unshare(session.handoff)


def adopt(sessions: Iterable[CaptureSession]) -> None:
    """Continue the sessions of the process that spawned this one; those of any other process are left out."""
    parent = multiprocessing.parent_process()
    with _LOCK:
        known = {session.workspace for session in _ACTIVE}
        adopted = [
            session.for_child()
            for session in sessions
            if parent is not None and session.pid == parent.pid and session.workspace not in known
        ]
        _ACTIVE.extend(adopted)
    for session in adopted:
        share(session.handoff, session.pid)
