"""Processes that work on one stand-in: some in which the backend is opened, and a user of ClearML's own SDK."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from servers.clearml_server import ClearmlServer
from tracelet.plugin import SealedArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.samples import Samples


def processes_with(value: str) -> list[str]:
    """The commands of the processes that have this in their environment: those that a program has left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if value.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text())
    return found


class Hands:
    """Each role is a process with a home, a cache and a tracelet directory of its own."""

    def __init__(self, server: ClearmlServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.samples = Samples(folder / "samples")
        self._drivers: dict[str, Driver] = {}

    def __enter__(self) -> Hands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for driver in self._drivers.values():
            driver.close()

    def driver(self, role: str, more: Mapping[str, str] | None = None) -> Driver:
        """The process of a role."""
        if role not in self._drivers:
            home = self.folder / role
            environ = {**self.server.environ(home / "home"), **(more or {})}
            self._drivers[role] = Driver(home / "work", environ, {"CLEARML_LOG_LEVEL": "ERROR"})
        return self._drivers[role]

    def open(
        self, experiment: str, role: str = "backend", more: Mapping[str, str] | None = None, run: str | None = None
    ) -> BackendProcess:
        """Open the backend for an experiment, and for a run that another role may have begun."""
        directory = self.folder / role / "tracelet"
        return BackendProcess(self.driver(role, more), run or uuid.uuid4().hex, "clearml", experiment, directory)

    def said(self, role: str) -> str:
        """What the process of a role wrote to its standard error."""
        return "".join(path.read_text() for path in (self.folder / role / "work").glob("stderr-*.log"))

    @contextlib.contextmanager
    def stranger(self, environ: Mapping[str, str]) -> Iterator[str]:
        """A role, for as long as the block lasts, whose process has just these variables."""
        role = f"stranger-{uuid.uuid4().hex[:8]}"
        self._drivers[role] = Driver(self.folder / role / "work", environ, {"CLEARML_LOG_LEVEL": "ERROR"})
        try:
            yield role
        finally:
            self._drivers.pop(role).close()

    @property
    def user(self) -> Driver:
        """Somebody who has ClearML's SDK alone."""
        return self.driver("user")

    def new_folder(self) -> Path:
        """A path that is not there yet."""
        return self.folder / "new" / uuid.uuid4().hex

    def content(self, opened: BackendProcess, sealed: SealedArtifact, ref: str = "latest") -> dict[str, bytes]:
        """What another process gives back of an artifact."""
        found = opened.find(sealed.manifest.name, ref)
        assert found is not None
        return opened.content(found, self.new_folder())

    def forget(self, role: str) -> None:
        """Nothing is left of a role's process: the next process of that role is in a new one."""
        self._drivers.pop(role)
