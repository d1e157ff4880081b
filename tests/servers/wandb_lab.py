"""A W&B server, and processes that use it."""

from __future__ import annotations

import uuid
from pathlib import Path

import attrs

from servers.wandb_server import WandbServer
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver


@attrs.frozen
class Lab:
    """A server, and processes that use it: one for writing, one for reading, one for the SDK's own user."""

    server: WandbServer
    writer: Driver
    reader: Driver
    user: Driver
    folder: Path

    def open(self, experiment: str, driver: Driver | None = None) -> BackendProcess:
        """A backend in a process, which is the one for writing if no other is given."""
        return BackendProcess(
            driver or self.writer, uuid.uuid4().hex, "wandb", experiment, self.folder / uuid.uuid4().hex
        )

    def asked(self) -> list[str]:
        """The requests so far."""
        return list(self.server.look()["log"])
