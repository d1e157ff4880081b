"""The detectors that run in this process, or in the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from tracelet.plugin import Detection, Emit, saving, share, unshare
from tracelet_lightning import handoff
from tracelet_lightning.guard import guarded
from tracelet_lightning.settings import LightningSettings

__all__ = ["CaptureSession", "active", "add", "adopt", "remove"]


@attrs.frozen(eq=False)
class CaptureSession:
    """A running detector, as the hooks see it."""

    settings: LightningSettings
    #: Where files may be made; of the process that the detector runs in.
    workspace: Path
    #: The process that the detector runs in. Others are its children, which leave in the workspace what they saw.
    pid: int
    emit: Emit | None = attrs.field(repr=False)
    #: Told, where the detector runs, whether each fit came to its end.
    outcome: Callable[[bool], None] | None = attrs.field(repr=False, default=None)

    @property
    def handoff(self) -> Path:
        """Where children leave what they saw."""
        return self.workspace / "lightning-handoff"

    def report(self, detection: Detection) -> None:
        """Emit a detection where the detector runs; in a child, leave it for it. Raises nothing."""
        with guarded(str(detection.path or detection.name)):
            if self.pid != os.getpid():
                handoff.leave(self.handoff, detection)
            elif self.emit is not None:
                # Storing a model is a torch.save in turn, of which nobody else is to tell.
                with saving(self.workspace):
                    self.emit(detection)


_LOCK = threading.Lock()
_ACTIVE: list[CaptureSession] = []


def active() -> tuple[CaptureSession, ...]:
    """Return the sessions, oldest first."""
    return tuple(_ACTIVE)


def add(session: CaptureSession) -> None:
    """Begin to report to this one too."""
    with _LOCK:
        _ACTIVE.append(session)
    share(session.handoff, session.pid)


def remove(session: CaptureSession) -> None:
    """Report to this one no more."""
    with _LOCK:
        _ACTIVE.remove(session)
    unshare(session.handoff)


def adopt(sessions: Iterable[CaptureSession]) -> None:
    """In a process that was spawned for a ``fit``: go on with the sessions of the process that spawned it."""
    parent = multiprocessing.parent_process()
    with _LOCK:
        known = {session.workspace for session in _ACTIVE}
        adopted = [
            attrs.evolve(session, emit=None, outcome=None)
            for session in sessions
            if parent is not None and session.pid == parent.pid and session.workspace not in known
        ]
        _ACTIVE.extend(adopted)
    for session in adopted:
        share(session.handoff, session.pid)
