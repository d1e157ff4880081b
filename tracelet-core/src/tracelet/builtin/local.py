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


#: Notes that only save a search: they need not outlive a power cut.
_FOUND_AGAIN = frozenset({"claims", "digests", "labelled", "latest", "puts"})


class LocalBackend(FolderBackend):
    """Blobs in the tracelet directory: what is Tracelet's own is linked, and costs nothing."""

    def __init__(self, root: Path, experiment: str) -> None:
        super().__init__(root.as_uri(), root, experiment)

    def write_file(self, key: str, source: Path, sha256: str, stamp: Stamp | None) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`: what can no longer change is linked, not copied.

        A blob that is there is marked as young, so that :meth:`collect` leaves it alone.
        """
        target = self._root / key
        with contextlib.suppress(FileNotFoundError):
            if target.stat().st_size == source.stat().st_size:
                os.utime(target)
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        if stamp is None:
            with contextlib.suppress(OSError):
                make_durable(source)
                os.utime(source)  # its link must look young, too
                os.link(source, target)
                return
        copy_blob(source, target, sha256, stamp)

    def _outlives_a_power_cut(self, key: str) -> bool:
        return key.split("/")[1] not in _FOUND_AGAIN


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
