"""Where the bytes are that plain Aim logged: a folder, or a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlparse

import attrs

from tracelet.exceptions import ArtifactNotFound, BackendError
from tracelet.plugin import redact, target_path

__all__ = ["ForeignBytes", "Kept"]

#: How many files that are gone a message names.
_NAMED = 5


@attrs.frozen
class Kept:
    """A file, as Aim notes it on a run."""

    #: Its path in the artifact.
    path: str
    #: The URI of the place of all files of the run.
    base: str
    #: Its name there.
    name: str

    @property
    def uri(self) -> str:
        """Return its address for people, without credentials."""
        return redact(f"{self.base}/{self.name}")

    @property
    def is_held(self) -> bool:
        """Whether Aim itself brings it. Other places it only knows by their addresses."""
        return urlparse(self.base).scheme in {"file", "s3"}


class ForeignBytes:
    """The bytes of one repo's artifacts. A folder is read as Aim reads it: it cuts a URI off at ``?`` and ``#``."""

    def __init__(self, shown: str, scratch: Path, shares_files: Callable[[str], bool]) -> None:
        """``shown`` is the repo; ``shares_files`` says of a run whether this machine sees the folders that it logged to."""
        self._shown = shown
        self._scratch = scratch
        self._shares_files = shares_files

    def sizes(self, run_hash: str, files: Collection[Kept]) -> list[int | None]:
        """Return the size of each file that is in a folder of this machine. Aim knows none, and nothing is asked for the others."""
        is_here = self._shares_files(run_hash)
        return [_size(file) if is_here and file.base.startswith("file:") else None for file in files]

    def fetch(self, name: str, run_hash: str, files: Collection[Kept], dest: Path) -> None:
        """Write files under ``dest``.

        Aim notes an artifact although its upload failed. Raises :class:`~tracelet.ArtifactNotFound`, which names what is gone.
        """
        folders: dict[str, Path] = {}
        buckets: dict[str, dict[str, str]] = {}
        for file in files:
            where = urlparse(file.base)
            if where.scheme == "s3":
                key = Path(where.path.removeprefix("/"), file.name).as_posix()
                buckets.setdefault(f"s3://{where.netloc}", {})[file.path] = key
            else:
                folders[file.path] = Path(where.path, file.name)
        if folders and not self._shares_files(run_hash):
            raise BackendError(
                f"{self._shown} says that the bytes of {name!r} are in {next(iter(folders.values()))}, on the machine that "
                "logged them. If this machine mounts that folder, and you trust the server, set TRACELET_AIM_SHARED_FILES=true.",
                retryable=False,
            )
        gone = [path for path, source in folders.items() if not source.is_file()]
        for uri, objects in buckets.items():
            from tracelet_aim.bucket import BucketStorage

            gone += BucketStorage(uri, self._scratch).fetch(objects, dest)
        if gone:
            raise self._lost(name, gone, [file.uri for file in files if file.path in gone])
        for path, source in folders.items():
            shutil.copyfile(source, target_path(dest, path))

    def _lost(self, name: str, gone: list[str], uris: list[str]) -> ArtifactNotFound:
        shown = ", ".join(uris[:_NAMED]) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
        return ArtifactNotFound(
            f"bytes of {name!r} are not at {shown}: they were deleted, or never uploaded, for Aim notes an artifact before that, "
            "or this machine does not mount that folder. What is left of it, Aim's own `run.artifacts[name].download()` brings."
        )


def _size(file: Kept) -> int | None:
    try:
        return Path(urlparse(file.base).path, file.name).stat().st_size
    except OSError:
        return None
