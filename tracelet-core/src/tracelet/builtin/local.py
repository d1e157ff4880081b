"""The embedded default backend: a catalogue and its blobs, in the tracelet directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tracelet.plugin import (
    BackendContext,
    BackendSpec,
    BlobBackend,
    Capability,
    Manifest,
    NoSettings,
    Stamp,
    copy_blob,
    discard,
    hookimpl,
    make_durable,
)

__all__ = ["LocalBackend", "tracelet_backends"]


#: Notes that only save a search: they need not outlive a power cut.
_FOUND_AGAIN = frozenset({"claims", "digests", "labelled", "latest", "puts"})


class LocalBackend(BlobBackend):
    """Blobs as files of a directory; several processes may use it at once."""

    def __init__(self, root: Path, experiment: str) -> None:
        super().__init__(root.as_uri(), experiment)
        self._root = root

    def create_exclusive(self, key: str, data: bytes) -> bool:
        """See :class:`~tracelet.plugin.BlobBackend`: a hard link appears whole, or not at all."""
        target = self._root / key
        with self._partial(target) as partial:
            partial.write_bytes(data)
            try:
                os.link(partial, target)
            except FileExistsError:
                return False
        return True

    def write(self, key: str, data: BinaryIO) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        target = self._root / key
        with self._partial(target) as partial:
            with partial.open("xb") as stream:
                shutil.copyfileobj(data, stream)
                if key.split("/")[1] not in _FOUND_AGAIN:
                    stream.flush()
                    os.fsync(stream.fileno())
            partial.replace(target)

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

    def read(self, key: str) -> BinaryIO:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        return (self._root / key).open("rb")

    def keys(self, prefix: str) -> Iterator[str]:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        for folder, _, files in os.walk(self._root / prefix, onerror=_raise_unless_gone):
            inside = Path(folder).relative_to(self._root).as_posix()
            yield from (f"{inside}/{name}" for name in files if not name.startswith("."))

    def remove(self, key: str) -> None:
        """See :class:`~tracelet.plugin.BlobBackend`."""
        (self._root / key).unlink(missing_ok=True)

    def collect(self, older_than: float) -> Iterator[int]:
        """See :class:`~tracelet.plugin.Collects`: blobs that no manifest names, and interrupted writes."""
        needed = {
            file.sha256
            for path in self._root.glob("*/versions/*/v*.json")
            for file in Manifest.from_json(path.read_bytes()).payload
        }
        for folder, _, files in os.walk(self._root):
            for path in (Path(folder, name) for name in files):
                garbage = path.name.endswith(".tmp") or (self._is_blob(path) and path.name not in needed)
                freed = discard(path, older_than) if garbage else None
                if freed is not None:
                    yield freed

    def _is_blob(self, path: Path) -> bool:
        return path.is_relative_to(self._root / "blobs")

    @contextlib.contextmanager
    def _partial(self, target: Path) -> Iterator[Path]:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def _raise_unless_gone(error: OSError) -> None:
    """What cannot be listed is not empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


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
