"""The detector ``lightning``: it starts and stops a capture session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tracelet.plugin import Emit
from tracelet_lightning import async_checkpoints, patches, sessions
from tracelet_lightning.settings import LightningSettings

__all__ = ["LightningDetector"]

#: Seconds that the stop waits for checkpoints which a thread of Lightning's is writing.
_STOP_WAIT = 10.0


class LightningDetector:
    """Captures what Trainers of ``lightning`` and ``pytorch_lightning`` save, train and predict."""

    def __init__(
        self, settings: LightningSettings, workspace: Path, outcome: Callable[[bool], None] = lambda completed: None
    ) -> None:
        """``workspace`` is a folder for files of its own; ``outcome`` is called after each ``fit``, with whether it completed."""
        self._outcome = outcome
        self._settings = settings
        self._workspace = workspace
        self._session: sessions.CaptureSession | None = None

    def start(self, emit: Emit) -> None:
        """Begin to emit what Trainers do, those that exist and those that are made later."""
        if self._session is None:
            self._session = sessions.CaptureSession(self._settings, self._workspace, os.getpid(), emit, self._outcome)
            sessions.add(self._session)
            patches.refresh()

    def stop(self) -> None:
        """Emit what is complete and was not emitted yet. The last detector that stops takes the wrappers off."""
        session, self._session = self._session, None
        if session is None:
            return
        async_checkpoints.wait_for_all(_STOP_WAIT)
        session.collect()
        sessions.remove(session)
        patches.refresh()
