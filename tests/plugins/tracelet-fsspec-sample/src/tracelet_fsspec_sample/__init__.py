"""Two Tracelet backends over fsspec: ``fsfiles``, a filesystem by its URL, and ``fsmemory``."""

import shutil
import uuid
from collections.abc import Iterable
from typing import BinaryIO

import attrs

from tracelet.plugin import BackendContext, BackendSpec, BlobBackend, Capability, NoSettings, hookimpl, redact


@attrs.frozen
class Settings:
    """``TRACELET_FSFILES_URL``: where the blobs go."""

    url: str = "file:///var/lib/tracelet"


class FsspecBackend(BlobBackend):
    """A bag of blobs in any filesystem that fsspec knows."""

    def __init__(self, url: str, experiment: str) -> None:
        import fsspec

        super().__init__(redact(url), experiment)
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def create_exclusive(self, key: str, data: bytes) -> bool:
        try:
            # pipe_file(mode="create") looks first and writes then, and two callers may both do.
            with self._fs.open(self._made(key), "xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        return True

    def write(self, key: str, data: BinaryIO) -> None:
        partial = self._made(f"partial/{uuid.uuid4().hex}")
        try:
            with self._fs.open(partial, "wb") as stream:
                shutil.copyfileobj(data, stream)
            self._fs.mv(partial, self._made(key))
        except BaseException:
            self.remove(partial.removeprefix(f"{self._root}/"))
            raise

    def read(self, key: str) -> BinaryIO:
        stream: BinaryIO = self._fs.open(f"{self._root}/{key}", "rb")
        return stream

    def keys(self, prefix: str) -> Iterable[str]:
        folder = f"{self._root}/{prefix}"
        return [path.removeprefix(f"{self._root}/") for path in self._fs.find(folder, on_error=_raise_unless_gone)]

    def remove(self, key: str) -> None:
        if self._fs.exists(f"{self._root}/{key}"):
            self._fs.rm_file(f"{self._root}/{key}")

    def _made(self, key: str) -> str:
        path = f"{self._root}/{key}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        return path


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@hookimpl
def tracelet_backends() -> Iterable[BackendSpec]:
    """Provide ``fsfiles`` and ``fsmemory``."""
    able = frozenset({Capability.ALIASES, Capability.DELETE, Capability.USERS})

    def files(experiment: str, settings: Settings, context: BackendContext) -> FsspecBackend:
        return FsspecBackend(settings.url, experiment)

    def memory(experiment: str, settings: NoSettings, context: BackendContext) -> FsspecBackend:
        return FsspecBackend("memory://tracelet", experiment)

    return [
        BackendSpec(
            name="fsfiles", open=files, settings=Settings, capabilities=able, summary="A filesystem, by its URL."
        ),
        # Its blobs are in the process that opened it: in a lane nobody else would ever see them.
        BackendSpec(name="fsmemory", open=memory, in_process=True, capabilities=able, summary="This process's memory."),
    ]
