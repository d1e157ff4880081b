"""The embedded default backend: a catalogue and its blobs, in the tracelet directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tracelet.plugin import (
    BackendContext,
    BackendSpec,
    Capability,
    FolderBackend,
    NoSettings,
    Stamp,
    copy_blob,
    hookimpl,
    make_durable,
)

__all__ = ["LocalBackend", "tracelet_backends"]


class LocalBackend(FolderBackend):
    """Blobs in the tracelet directory: what is Tracelet's own is linked, and costs nothing."""

    def __init__(self, root: Path, experiment: str) -> None:
        super().__init__(root.as_uri(), root, experiment)

    def _bring(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        target = self._made(key)
        if stamp is None:
            with contextlib.suppress(OSError):
                make_durable(source)
                os.utime(source)  # its link must look young, too
                os.link(source, target)
                return
        copy_blob(source, target, sha256, stamp)


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
            capabilities=frozenset({Capability.ALIASES, Capability.DELETE, Capability.COLLECT}),
            summary="A directory, on this machine; nothing to install or start.",
        )
    ]
