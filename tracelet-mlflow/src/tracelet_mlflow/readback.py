"""Uploads through MLflow's server, each compared with what the server has then.

The server returns no checksum, and over plain HTTP nothing else notices a byte that changes on the way. So a file that is
not too large is read back and compared. Of a larger one the size is compared.
"""

from __future__ import annotations

import filecmp
import logging
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tracelet.exceptions import BackendUnavailable
from tracelet_mlflow.errors import is_missing
from tracelet_mlflow.files import Repository, workspace

__all__ = ["ReadBack", "Readable", "is_served"]

_LOG = logging.getLogger("tracelet.mlflow")
#: Attempts to store a file that arrives changed.
_ATTEMPTS = 2


class Readable(Repository, Protocol):
    """The methods of MLflow's artifact repositories that are used to compare what was stored."""

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        """Fetch one file. Every repository of MLflow's has it; the public method first asks whether the file is a folder."""
        ...


def is_served(uri: str) -> bool:
    """Tell whether an address is that of an MLflow server."""
    return urlsplit(uri).scheme in {"http", "https"}


class ReadBack:
    """A repository behind a server that compares each file after its upload."""

    def __init__(self, repository: Readable, limit: int, directory: Path) -> None:
        """Files of up to ``limit`` bytes are read back. ``directory`` is for temporary files."""
        self.artifact_uri = repository.artifact_uri
        self.download_artifacts = repository.download_artifacts
        self.list_artifacts = repository.list_artifacts
        self.delete_artifacts = repository.delete_artifacts
        self._repository = repository
        self._limit = limit
        self._directory = directory

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

    def _is_there(self, file: Path, folder: str | None, name: str) -> bool:
        size = file.stat().st_size
        if size > self._limit:
            return any(info.path == name and info.file_size == size for info in self._repository.list_artifacts(folder))
        with workspace(self._directory) as scratch:
            try:
                self._repository._download_file(name, str(scratch / "back"))
            except Exception as error:
                if is_missing(error):
                    return False
                raise
            return filecmp.cmp(file, scratch / "back", shallow=False)
