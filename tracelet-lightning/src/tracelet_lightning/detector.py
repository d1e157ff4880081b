"""The detector: it starts and ends a session, and puts the hooks on while there is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tracelet.plugin import Emit
from tracelet_lightning import checkpoints, fits, patches, sessions
from tracelet_lightning.settings import LightningSettings

__all__ = ["LightningDetector"]

#: Seconds that checkpoints which are being written by a thread of Lightning's may take to be complete at the stop.
_PATIENCE = 10.0


class LightningDetector:
    """Sees what Trainers of ``lightning`` and ``pytorch_lightning`` save, train and predict."""

    def __init__(
        self, settings: LightningSettings, workspace: Path, outcome: Callable[[bool], None] = lambda completed: None
    ) -> None:
        """``workspace`` is a folder for files of its own; ``outcome`` is told whether each ``fit`` came to its end."""
        self._outcome = outcome
        self._settings = settings
        self._workspace = workspace
        self._session: sessions.CaptureSession | None = None

    def start(self, emit: Emit) -> None:
        """Begin to report to ``emit``, from Trainers that exist and those to come."""
        if self._session is None:
            self._session = sessions.CaptureSession(self._settings, self._workspace, os.getpid(), emit, self._outcome)
            sessions.add(self._session)
            patches.refresh()

    def stop(self) -> None:
        """Report what is complete and was not reported, and take the hooks off, if no other detector is left."""
        session, self._session = self._session, None
        if session is None:
            return
        checkpoints.settle(_PATIENCE)
        fits.collect(session)
        sessions.remove(session)
        patches.refresh()
