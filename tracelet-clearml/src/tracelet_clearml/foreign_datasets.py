"""ClearML datasets that were made without Tracelet: their files, which may be in the zips of those that they come from."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from tracelet.exceptions import ArtifactNotFound, IntegrityError, UnsafePath
from tracelet.plugin import ArtifactReference, ForeignFile, check_path, hash_blob, redact, target_path
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import extract
from tracelet_clearml.foreign_files import HeldFile, sha256_of, size_of
from tracelet_clearml.foreign_places import documents

__all__ = ["STATE", "DatasetState", "fetch_dataset", "is_data", "is_dataset", "is_finished"]

#: The system tag of a dataset, and the keys of its task's artifacts: the list of its files, and the zips with them.
_TAG, STATE, _DATA = "dataset", "state", "data"
#: Bytes that are copied at a time.
_CHUNK = 1 << 20
_UNFINISHED = {"created", "queued", "in_progress", "failed"}


def is_dataset(task: Mapping[str, Any]) -> bool:
    """Say whether a task is a dataset."""
    return _TAG in (task.get("system_tags") or ())


def is_finished(task: Mapping[str, Any]) -> bool:
    """Say whether a dataset is one that ClearML lets others come from: see ``Dataset.is_final`` of the SDK."""
    return task.get("status") not in _UNFINISHED


def is_data(key: str) -> bool:
    """Say whether an artifact of a dataset's task is a part of the dataset, and nothing that somebody put beside it."""
    return key in {STATE, _DATA} or key.startswith(f"{_DATA}_")


@attrs.frozen
class DatasetFile:
    """A file of a dataset, and which zip of which dataset it is in."""

    path: str
    size_bytes: int | None
    sha256: str | None
    dataset: str
    archive: str


@attrs.frozen
class DatasetState:
    """What the SDK notes of a dataset: all its files and links, and what it comes from."""

    files: tuple[DatasetFile, ...]
    links: tuple[ArtifactReference, ...]
    #: The ids of the datasets that it comes from.
    parents: tuple[str, ...]
    #: Paths that no artifact can have.
    unsafe: tuple[str, ...]
    #: Whether the state could be read.
    is_known: bool = True

    @classmethod
    def unread(cls, size_bytes: int | None) -> DatasetState:
        """Return what there is to say of a dataset whose state cannot be read."""
        return cls((DatasetFile("unknown", size_bytes, None, "", ""),), (), (), (), is_known=False)

    @classmethod
    def read(cls, held: HeldFile, dataset: str, scratch: Path) -> DatasetState:
        """Fetch the state of a dataset.

        Raises:
            ArtifactNotFound: It is gone.
            IntegrityError: It is not what the SDK wrote.

        """
        target = scratch / f"{dataset}.json"
        held.fetch(target)
        try:
            return cls._of(json.loads(target.read_bytes()), dataset)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"{redact(held.uri)} does not say which files are in a dataset: {error}.") from error
        finally:
            target.unlink()

    @classmethod
    def _of(cls, told: Mapping[str, Any], dataset: str) -> DatasetState:
        files, unsafe = [], []
        for one in told.get("dataset_file_entries") or ():
            path = str(one["relative_path"])
            try:
                check_path(path)
            except UnsafePath:
                unsafe.append(path)
                continue
            above = str(one.get("parent_dataset_id") or dataset)
            archive = str(one.get("artifact_name") or _DATA)
            files.append(DatasetFile(path, size_of(one.get("size")), sha256_of(one.get("hash")), above, archive))
        links = [
            ArtifactReference(
                redact(str(one["link"])),
                size_of(one.get("size")),
                str(one.get("relative_path") or ""),
                sha256_of(one.get("hash")),
            )
            for one in told.get("dataset_link_entries") or ()
        ]
        parents = tuple(map(str, (told.get("dependency_graph") or {}).get(dataset) or ()))
        return cls(tuple(files), tuple(links), parents, tuple(unsafe))

    @property
    def listed(self) -> tuple[ForeignFile, ...]:
        """Its files, as they are told."""
        return tuple(ForeignFile(file.path, file.size_bytes) for file in self.files)


def fetch_dataset(api: Api, state: DatasetState, scratch: Path, dest: Path) -> None:
    """Write the files of a dataset into a folder, zip after zip, and compare each with what the state says.

    Raises:
        ArtifactNotFound: A zip is gone, or a dataset that this one comes from.
        IntegrityError: Bytes are others than those that were added.

    """
    inside: dict[tuple[str, str], list[DatasetFile]] = {}
    for file in state.files:
        inside.setdefault((file.dataset, file.archive), []).append(file)
    stored = _archives(api, {dataset for dataset, _ in inside})
    for number, ((dataset, key), files) in enumerate(inside.items()):
        held = stored.get((dataset, key))
        if held is None:
            raise ArtifactNotFound(
                f"{files[0].path!r} is in {key!r} of the ClearML dataset {dataset}, which is not there any more: was it deleted?"
            )
        archive = scratch / f"{number}.zip"
        held.fetch(archive)
        members = held.members(archive)
        extract(archive, {file.path: file.size_bytes for file in files if file.path in members}, dest)
        for file in files:
            if file.path not in members:
                _extract_moved(archive, file, members, target_path(dest, file.path))
            elif file.sha256 is not None and hash_blob(target_path(dest, file.path)) != file.sha256:
                raise IntegrityError(f"{file.path!r} has other bytes than those that were added to the dataset.")
        archive.unlink()


def _extract_moved(archive: Path, file: DatasetFile, members: Mapping[str, int], target: Path) -> None:
    """Write a file from a zip that has its bytes under another path.

    Where a file was moved, the SDK notes the zip that has the same bytes already, and does not find them there itself.
    """
    with zipfile.ZipFile(archive) as opened:
        for path, size in members.items():
            if file.sha256 is None or size != file.size_bytes:
                continue
            with opened.open(path) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
            if hash_blob(target) == file.sha256:
                return
    target.unlink(missing_ok=True)
    raise IntegrityError(f"{file.path!r} is in no zip of its dataset, where ClearML's SDK says it is.")


def _archives(api: Api, datasets: Collection[str]) -> dict[tuple[str, str], HeldFile]:
    """Return the zips of datasets, by the dataset and the key."""
    return {
        (str(task["id"]), str(entry["key"])): HeldFile.of(entry)
        for task in documents(api, "tasks", datasets)
        for entry in (task.get("execution") or {}).get("artifacts") or ()
        if entry.get("uri")
    }
