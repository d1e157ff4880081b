"""Files that MLflow holds, wherever it keeps them: listed without being fetched, and fetched one by one.

MLflow knows their sizes, and no checksums.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow.entities import FileInfo
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import http_request

from tracelet.exceptions import ArtifactNotFound, UnsafePath
from tracelet.plugin import ForeignFile, redact
from tracelet_mlflow.errors import is_missing
from tracelet_mlflow.left_out import LeftOut
from tracelet_mlflow.readback import Readable, is_served
from tracelet_mlflow.runs import is_local

__all__ = ["ForeignFiles", "locator_of", "named_files", "stored_at"]

#: The part of a server's address below which its files are.
_SERVED = "/mlflow-artifacts/artifacts"


class ForeignFiles:
    """The files below one address.

    MLflow's client refuses names that its users' files have, such as `C#.txt`, or takes them for others. So a folder of this
    machine is read as it is, and a server is asked without its client.
    """

    def __init__(self, repository: Readable) -> None:
        self._repository = repository
        self._is_served = is_served(repository.artifact_uri)

    def entries(self, folder: str) -> list[FileInfo]:
        """Return what is in a folder; an empty text is the top."""
        found = self._asked(folder) if self._is_served else self._repository.list_artifacts(folder or None)
        above = f"{folder}/" if folder else ""
        # What is elsewhere is no entry of this folder, whatever a store says; some give the folder itself, too.
        return [info for info in found if info.path.startswith(above) and info.path.strip("/") != folder]

    def walk(self, folder: str, passed_over: Callable[[str], bool] = lambda folder: False) -> Iterator[FileInfo]:
        """Yield the files in a folder at any depth, without those in folders that are ``passed_over``."""
        waiting = [folder]
        while waiting:
            for info in self.entries(waiting.pop()):
                if not info.is_dir:
                    yield info
                elif not passed_over(info.path):
                    waiting.append(info.path)

    def fetch(self, path: str, target: Path) -> None:
        """Write a file to ``target``; raises :class:`~tracelet.ArtifactNotFound` where it is gone."""
        try:
            if is_local(self._repository.artifact_uri):
                shutil.copyfile(self._on_disk(path), target)
            else:
                # A server takes `%`, `#` and `?` in a name for parts of the address.
                self._repository._download_file(quote(path) if self._is_served else path, str(target))
        except Exception as error:
            if is_missing(error):
                raise ArtifactNotFound(
                    f"{path} is gone from {redact(self._repository.artifact_uri)}: was the run or the model deleted?"
                ) from error
            raise

    def _on_disk(self, path: str) -> Path:
        root = Path(str(local_file_uri_to_path(self._repository.artifact_uri)))  # type: ignore[no-untyped-call]
        place = (root / path).resolve()
        if not place.is_relative_to(root.resolve()):
            raise UnsafePath(f"{path!r}: a link in {root} leads out of it, to {place}. Put the file itself there.")
        return place

    def _asked(self, folder: str) -> list[FileInfo]:
        server, _, top = self._repository.artifact_uri.partition(_SERVED)
        path = "/".join(filter(None, (top.strip("/"), folder)))
        # MLflow's own ways with credentials and certificates, which have no types.
        credentials = get_default_host_creds(server)  # type: ignore[no-untyped-call]
        answer = http_request(credentials, _SERVED, "GET", params={"path": path})  # type: ignore[no-untyped-call]
        augmented_raise_for_status(answer)  # type: ignore[no-untyped-call]
        above = f"{folder}/" if folder else ""
        return [
            # The size is left out where it is 0, and where the store does not say it.
            FileInfo(
                f"{above}{file['path']}",
                file.get("is_dir", False),
                int(file["file_size"]) if "file_size" in file else None,
            )
            for file in answer.json().get("files", [])
        ]


def named_files(infos: Iterable[FileInfo], folder: str, what: str, left_out: LeftOut) -> tuple[ForeignFile, ...]:
    """Return the files that an artifact can hold, by their paths in a folder; of others it is told."""
    found = []
    for info in infos:
        path = info.path.removeprefix(f"{folder}/") if folder else info.path
        try:
            found.append(ForeignFile(path, info.file_size))
        except UnsafePath as error:
            left_out.note(f"a file of {what}", f"no artifact can hold it: {error}")
    return tuple(sorted(found, key=lambda file: file.path))


def locator_of(artifact_uri: str, folder: str = "") -> dict[str, str]:
    """Return the note by which a later fetch finds the files."""
    return {"artifacts": artifact_uri, "folder": folder}


def stored_at(locator: Any) -> tuple[str, str]:
    """Return the address and the folder of :func:`locator_of`."""
    return locator["artifacts"], locator["folder"]
