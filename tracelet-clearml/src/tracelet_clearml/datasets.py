"""Datasets: ``clearml.Dataset`` with our version, and with the version before it as its parent."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import clearml.datasets.dataset as sdk
from clearml import Dataset
from clearml.backend_interface.task.development.worker import DevWorker

from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.plugin import FileChanged, Manifest, SealedArtifact, target_path
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import Rollback, Uploads, scratch_folder, stage
from tracelet_clearml.connection import thread_errors
from tracelet_clearml.dataset_lines import delete_dataset
from tracelet_clearml.display import VersionName, shown_metadata, shown_text
from tracelet_clearml.errors import ServerUnavailable
from tracelet_clearml.names import entity_name
from tracelet_clearml.records import Blob, Place, has_mark, mark, marks
from tracelet_clearml.runs import RunTask

__all__ = ["Datasets", "Parent"]

_LOG = logging.getLogger("tracelet.clearml")

#: ClearML visits every ancestor when a dataset is made. A version with so many ancestors begins a new line.
_DEEPEST = 5
#: Characters of a description that ClearML gets. The manifest has all of them.
_LONGEST_COMMENT = 10_000
#: What the SDK raises if something that it looks for is gone.
_LOST = (AttributeError, LookupError, TypeError, ValueError)


@attrs.frozen
class Parent:
    """A version that a dataset comes from."""

    manifest: Manifest
    place: Place


class _Pinger(DevWorker):
    """The thread that pings the server while a dataset is made. If that fails, the SDK forgets to stop it."""

    last: ClassVar[_Pinger | None] = None
    key = ""

    def register(self, task: Any, stop_signal_support: bool | None = None) -> bool:
        """Begin to ping for a dataset's task."""
        self.key = str(task.id)
        type(self).last = self
        return bool(super().register(task, stop_signal_support))


vars(sdk)["DevWorker"] = _Pinger


class Datasets:
    """ClearML datasets, one for each version. If a version only adds files to the one before, only those are stored."""

    def __init__(self, api: Api, uploads: Uploads, output_uri: str) -> None:
        self._api = api
        self._uploads = uploads
        self._output_uri = output_uri or None

    def store(
        self,
        sealed: SealedArtifact,
        version_name: VersionName,
        run_task: RunTask,
        rollback: Rollback,
        parents: tuple[Parent, ...] = (),
    ) -> Place:
        """Make the dataset. Raises where ClearML does not show the dataset afterwards."""
        parents = tuple(one for one in parents if one.place.depth < _DEEPEST)
        try:
            place = self._stored(sealed, version_name, run_task, rollback, parents)
        except _LOST as error:
            if not parents or isinstance(error, TraceletError):
                raise
            # The SDK reads all ancestors, and people delete and abort datasets.
            _LOG.warning(
                "%r begins a new line of datasets in ClearML: somebody has deleted or changed one that it comes from (%s).",
                *(sealed.manifest.name, error),
            )
            rollback.run()
            place = self._stored(sealed, version_name, run_task, rollback, ())
        if version_name.again:
            self._sweep(sealed.manifest, place.entity)
        return place

    def _stored(
        self,
        sealed: SealedArtifact,
        version_name: VersionName,
        run_task: RunTask,
        rollback: Rollback,
        parents: tuple[Parent, ...],
    ) -> Place:
        manifest = sealed.manifest
        _Pinger.last = None
        rollback.add(lambda: self._sweep(manifest))
        try:
            with thread_errors(), self._api.marking(runtime=mark("put", manifest.put_id)):
                dataset = Dataset.create(
                    dataset_name=entity_name(manifest.name),
                    dataset_project=self._uploads.project,
                    dataset_tags=["tracelet"],
                    parent_datasets=[one.place.entity for one in parents],
                    dataset_version=version_name.version,
                    output_uri=self._output_uri,
                    description=shown_text(manifest.description, _LONGEST_COMMENT) or None,
                )
                key = str(dataset.id)
                kept = self._fill(dataset, sealed, parents)
                dataset.set_metadata(
                    {**shown_metadata(manifest, version_name), "manifest": manifest.to_dict()}, ui_visible=False
                )
                self._api.call("tasks", "edit", task=key, parent=run_task.task_id, force=True)
                dataset.finalize()
        except (Exception, ServerUnavailable):
            self._give_up()
            raise
        depth = 1 + max((one.place.depth for one in parents), default=-1)
        return self._found(key, manifest, kept, depth, parents)

    def _fill(self, dataset: Any, sealed: SealedArtifact, parents: tuple[Parent, ...]) -> Mapping[str, Blob]:
        """Add every file. Return the blobs of the files that are not stored again."""
        kept = _kept(sealed.manifest, parents)
        if parents and not kept:
            # The SDK loses a new file that has the same bytes as a parent's file that stays.
            dataset.remove_files("*")
        with scratch_folder(self._uploads.directory) as scratch:
            for file in sealed.manifest.payload:
                stage(file, sealed.sources[file.artifact_path], target_path(scratch / "files", file.artifact_path))
            if sealed.manifest.payload:
                dataset.add_files(str(scratch / "files"))
            entries = dataset.file_entries_dict
            for file in sealed.manifest.payload:
                entry = entries.get(file.artifact_path)
                if entry is None or entry.hash != file.sha256:
                    raise FileChanged(f"{str(sealed.sources[file.artifact_path])!r} has changed since it was hashed.")
            dataset.upload(show_progress=False, verbose=False, preview=False, retries=1)
        return kept

    def _found(
        self, key: str, manifest: Manifest, kept: Mapping[str, Blob], depth: int, parents: tuple[Parent, ...]
    ) -> Place:
        """Read back what ClearML has stored, and where each file's bytes are.

        Raises LookupError if a parent was deleted meanwhile: whoever did that may not have seen this dataset.
        """
        fields = ["id", "project", "status", "execution.artifacts"]
        keys = [key, *(one.place.entity for one in parents)]
        tasks = {one["id"]: one for one in self._api.call("tasks", "get_all", id=keys, only_fields=fields)["tasks"]}
        lost = sorted(set(keys[1:]) - set(tasks))
        if lost:
            raise LookupError(f"the dataset {lost[0]} is gone")
        task = tasks.get(key, {})
        if task.get("status") != "completed":
            raise BackendUnavailable(f"ClearML says that it has the dataset {manifest.name!r}, and does not show it.")
        stored = {one["key"]: one for one in task["execution"]["artifacts"]}
        inside: dict[str, list[str]] = {}
        for path, entry in Dataset.get(dataset_id=key).file_entries_dict.items():
            if path not in kept:
                inside.setdefault(str(entry.artifact_name), []).append(path)
        missing = (
            {file.artifact_path for file in manifest.payload} - set(kept) - {p for ps in inside.values() for p in ps}
        )
        if missing or not set(inside) <= set(stored):
            raise BackendUnavailable(
                f"ClearML says that it has the dataset {manifest.name!r}, and does not show all of it."
            )
        own = [
            Blob(one["uri"], int(one.get("content_size") or 1), str(one.get("hash")), tuple(paths), zipped=True)
            for one, paths in ((stored[name], paths) for name, paths in inside.items())
        ]
        older = {
            blob.uri: attrs.evolve(blob, paths=tuple(path for path in blob.paths if kept.get(path) == blob))
            for blob in kept.values()
        }
        return Place("dataset", key, str(task.get("project") or ""), (*own, *older.values()), entity=key, depth=depth)

    def _sweep(self, manifest: Manifest, kept: str = "") -> None:
        """Delete the datasets that attempts of a put have left, except the one that is kept."""
        name = f"^{re.escape(entity_name(manifest.name))}$"
        for one in list(self._api.pages("tasks", name=name, **marks("put", manifest.put_id))):
            if one["id"] != kept and has_mark(one, "put", manifest.put_id):
                delete_dataset(self._api, str(one["id"]))

    def _give_up(self) -> None:
        """Mark an unfinished dataset as failed, and stop its pings: the SDK would report it as running for ever."""
        pinger = _Pinger.last
        if pinger is None:
            return
        pinger.unregister()
        try:
            self._api.call("tasks", "failed", task=pinger.key, force=True, status_reason="not stored as a whole")
        except (ServerUnavailable, BackendUnavailable):
            return  # the caller gets the same error anyway


def _kept(manifest: Manifest, parents: tuple[Parent, ...]) -> dict[str, Blob]:
    """Return the files that need not be stored again: all of the only parent's, if this version only adds files.

    It is none if a new file has the same bytes as one of those.
    """
    if len(parents) != 1:
        return {}
    (parent,) = parents
    before = {file.artifact_path: file.sha256 for file in parent.manifest.payload}
    now = {file.artifact_path: file.sha256 for file in manifest.payload}
    new = {sha256 for path, sha256 in now.items() if path not in before}
    if any(now.get(path) != sha256 for path, sha256 in before.items()) or new & set(before.values()):
        return {}
    return {path: blob for blob in parent.place.blobs for path in blob.paths if path in before}
