"""The embedded default backend: a catalogue and its blobs, in the tracelet directory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from tracelet.plugin import (
    BackendContext,
    BackendSpec,
    Capability,
    FolderBackend,
    NoSettings,
    RunInfo,
    StoredArtifact,
    hookimpl,
    physical_name,
)

__all__ = ["LocalBackend", "tracelet_backends"]


class LocalBackend(FolderBackend):
    """Blobs in the tracelet directory.

    Beside the other keys, ``<experiment>/uses/<name>/v3/<run>`` says that a run uses a version, and since when; what came of it
    has the version's digest among its manifest's inputs.
    """

    links_own = True

    def __init__(self, root: Path, experiment: str) -> None:
        super().__init__(root.as_uri(), root, experiment)
        self._run = ""

    def start(self, run: RunInfo) -> None:
        """See :class:`~tracelet.plugin.Backend`."""
        self._run = run.id

    def record_input(self, stored: StoredArtifact) -> None:
        """See :class:`~tracelet.plugin.RecordsInputs`: the first time of each run stays."""
        use = json.dumps({"schema": 1, "run_id": self._run, "used_at": time.time()})
        key = f"uses/{stored.manifest.name}/v{stored.number}/{physical_name(self._run)}"
        self.create_exclusive(f"{self._prefix}/{key}", use.encode())


def _open(experiment: str, settings: NoSettings, context: BackendContext) -> LocalBackend:
    return LocalBackend(context.directory / "local", experiment)


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``local``."""
    return [
        BackendSpec(
            name="local",
            open=_open,
            in_process=True,
            capabilities=frozenset(Capability) - {Capability.DISCOVERS},
            summary="A directory, on this machine; nothing to install or start.",
        )
    ]
