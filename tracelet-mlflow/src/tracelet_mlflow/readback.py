"""Uploads through MLflow's server, each compared with what the server has then.

The server returns no checksum, and over plain HTTP nothing else notices a byte that changes on the way. So a file that is
not too large is read back and compared. Of a larger one the size is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import http_request

from tracelet.exceptions import BackendUnavailable
from tracelet_mlflow.errors import is_missing
from tracelet_mlflow.files import Repository

__all__ = ["ReadBack", "Readable", "is_served", "streamed"]

_LOG = logging.getLogger("tracelet.mlflow")
#: Attempts to store a file that arrives changed.
_ATTEMPTS = 2
_CHUNK = 1 << 20


class Readable(Repository, Protocol):
    """The methods of MLflow's artifact repositories that are used to fetch a file by itself."""

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        """Fetch one file. Every repository of MLflow's has it; the public method first asks whether the file is a folder."""
        ...


def is_served(uri: str) -> bool:
    """Tell whether an address is that of an MLflow server."""
    return urlsplit(uri).scheme in {"http", "https"}


def streamed(artifact_uri: str, path: str) -> Iterator[bytes]:
    """Yield what a server has of a file. MLflow's client writes it to a file of this disk instead."""
    # MLflow's own ways with credentials and certificates, which have no types.
    credentials = get_default_host_creds(artifact_uri)  # type: ignore[no-untyped-call]
    with http_request(credentials, f"/{path}", "GET", stream=True) as answer:  # type: ignore[no-untyped-call]
        augmented_raise_for_status(answer)  # type: ignore[no-untyped-call]
        yield from answer.iter_content(_CHUNK)


class ReadBack:
    """A repository behind a server that compares each file after its upload."""

    def __init__(
        self, repository: Readable, limit: int, read: Callable[[str, str], Iterator[bytes]] = streamed
    ) -> None:
        """Files of up to ``limit`` bytes are read back. ``read`` yields what is stored below an address at a path."""
        self.artifact_uri = repository.artifact_uri
        self.list_artifacts = repository.list_artifacts
        self.delete_artifacts = repository.delete_artifacts
        self._repository = repository
        self._limit = limit
        self._read = read

    def log_artifact(self, local_file: str, artifact_path: str | None) -> None:
        """Store a file under its own name in a folder. Raises ``BackendUnavailable`` where it arrives changed."""
        name = "/".join(filter(None, (artifact_path, Path(local_file).name)))
        for _ in range(_ATTEMPTS):
            self._repository.log_artifact(local_file, artifact_path)
            if self._is_there(Path(local_file), artifact_path, name):
                return
            _LOG.warning("%s did not arrive in MLflow as it was sent.", name)
        raise BackendUnavailable(
            f"{name} was sent {_ATTEMPTS} times and did not arrive in MLflow as it is: something on the way, or the server's "
            "disk, changes it. It is sent again later."
        )

    def log_artifacts(self, local_dir: str, artifact_path: str | None) -> None:
        """Store all that is in a folder in a folder, each file as :meth:`log_artifact` does."""
        for path in Path(local_dir).rglob("*"):
            if path.is_file():
                above = path.relative_to(local_dir).parts[:-1]
                self.log_artifact(str(path), "/".join(filter(None, (artifact_path, *above))) or None)

    def download_artifacts(self, artifact_path: str, dst_path: str) -> str:
        """Fetch a file to the same path under a folder. The repository's own method first asks whether it is a folder."""
        target = Path(dst_path, artifact_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._repository._download_file(artifact_path, str(target))
        return str(target)

    def _is_there(self, file: Path, folder: str | None, name: str) -> bool:
        size = file.stat().st_size
        if size > self._limit:
            return any(info.path == name and info.file_size == size for info in self._repository.list_artifacts(folder))
        try:
            with file.open("rb") as sent:
                return _are_equal(sent, self._read(self.artifact_uri, name))
        except Exception as error:
            if is_missing(error):
                return False
            raise


def _are_equal(sent: BinaryIO, blocks: Iterator[bytes]) -> bool:
    """Compare a file with blocks of any length, to the end of both."""
    return all(sent.read(len(block)) == block for block in blocks) and not sent.read(1)
