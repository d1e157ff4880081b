"""Artifacts of the run's task: everything that is neither a model nor a dataset."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import ArtifactFile, Manifest, SealedArtifact, redact
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import Rollback, Uploads
from tracelet_clearml.display import LONGEST_PREVIEW, MEDIA, VersionName, identity, shown_metadata, shown_text
from tracelet_clearml.names import file_name
from tracelet_clearml.records import Blob, Place
from tracelet_clearml.runs import Runs, RunTask

__all__ = ["TaskArtifacts"]

#: A file of at least so many bytes is stored by itself. So are all files of an artifact that has few.
_LARGE = 1_000_000
_FEW = 8
#: So many media files of one artifact are stored by themselves, so that people can look at them.
_SHOWN = 50
#: So many stored files of one artifact have entries of their own.
_MOST_ENTRIES = 100
#: So many references of one artifact have entries of their own, if their addresses are no longer than that.
_MOST_LINKS = 100
_LONGEST_LINK = 2000


class TaskArtifacts:
    """Artifacts of the run's task. Few or large files are stored by themselves, the others in a zip."""

    def __init__(self, api: Api, uploads: Uploads, runs: Runs) -> None:
        self._api = api
        self._uploads = uploads
        self._runs = runs

    def store(self, sealed: SealedArtifact, version_name: VersionName, run_task: RunTask, rollback: Rollback) -> Place:
        """Store the files, and enter them in the run's task. Raises where ClearML does not show the entries afterwards."""
        manifest = sealed.manifest
        folder = self._uploads.folder(run_task, manifest, version_name.key)
        loose = _loose(manifest)
        packed = [file for file in manifest.payload if file not in loose]
        blobs = [
            self._uploads.one(
                file,
                sealed.sources[file.artifact_path],
                f"{folder}/{number}/{file_name(Path(file.artifact_path).name)}",
                rollback,
            )
            for number, file in enumerate(loose)
        ]
        if packed:
            blobs.append(self._uploads.packed(packed, sealed.sources, f"{folder}/{version_name.key}.zip", rollback))
        entries = self._entries(manifest, version_name, blobs)
        keys = tuple(str(entry["key"]) for entry in entries)
        run_task = self._record(run_task, entries, lambda task: rollback.add(lambda: self.drop(task, keys)))
        return Place("artifacts", run_task.task_id, run_task.project_id, tuple(blobs), keys=keys)

    def _entries(self, manifest: Manifest, version_name: VersionName, blobs: list[Blob]) -> list[dict[str, Any]]:
        """Return the entries for the task: one for each stored file, and one for each reference."""
        told = [[key, value] for key, value in shown_metadata(manifest, version_name).items()]
        short = [[key, value] for key, value in identity(manifest, version_name).items()]
        links = [(number, redact(one.uri), one) for number, one in enumerate(manifest.references)]
        links = [link for link in links if len(link[1]) <= _LONGEST_LINK][:_MOST_LINKS]
        alone = len(blobs) + len(manifest.references) == 1
        entries: list[dict[str, Any]] = []
        for blob in blobs[:_MOST_ENTRIES]:
            inside = "" if alone or blob.zipped else f"/{blob.paths[0]}"
            entry = _entry(f"{version_name.key}{inside}", blob.uri, blob.size_bytes, blob.sha256, told)
            kind = "application/zip" if blob.zipped else mimetypes.guess_type(blob.paths[0])[0]
            entry["type_data"] = {"preview": "\n".join(blob.paths)[:LONGEST_PREVIEW], "content_type": kind or ""}
            # The SDK unpacks an archive when it downloads it.
            entries.append(entry | {"type": "archive" if blob.zipped else "custom"})
        for number, uri, reference in links:
            inside = "" if alone else f"/reference-{number}"
            entry = _entry(f"{version_name.key}{inside}", uri, reference.size_bytes, reference.sha256, told)
            preview = shown_text(reference.description)
            entries.append(entry | {"type": "custom", "type_data": {"preview": preview}})
        for entry in entries[_FEW:]:
            entry["display_data"] = short
        return entries

    def drop(self, task: str, keys: tuple[str, ...]) -> bool:
        """Take entries out of a task, and say whether the task allows that."""
        artifacts = [{"key": key, "mode": "output"} for key in keys]
        return self._runs.change(
            task, lambda key: self._api.call_unless_gone("tasks", "delete_artifacts", task=key, artifacts=artifacts)
        )

    def _record(self, run_task: RunTask, entries: list[dict[str, Any]], begins: Callable[[str], object]) -> RunTask:
        """Put entries into a run's task, and return the task that has them. ``begins`` is called with each task before."""
        if not entries:
            return run_task
        more: dict[str, Any] = {"artifacts": entries, "force": True}

        def add(task: str) -> None:
            begins(task)
            self._api.call("tasks", "add_or_update_artifacts", task=task, **more)

        run_task = self._runs.write(run_task, add)
        asked = {"only_fields": ["id", "execution.artifacts"]}
        found = self._api.call("tasks", "get_all", id=[run_task.task_id], **asked)["tasks"]
        artifacts = found[0].get("execution", {}).get("artifacts") or [] if found else []
        self._runs.note_size(run_task, artifacts)
        there = {(one["key"], one.get("uri"), one.get("hash") or None) for one in artifacts}
        if not {(entry["key"], entry["uri"], entry.get("hash")) for entry in entries} <= there:
            raise BackendUnavailable(
                f"ClearML says that it has the artifacts of task {run_task.task_id}, and does not show them."
            )
        return run_task


def _entry(key: str, uri: str, size: int | None, sha256: str | None, told: list[list[str]]) -> dict[str, Any]:
    entry = {"key": key, "mode": "output", "uri": uri, "display_data": told, "timestamp": int(time.time())}
    known = {"content_size": size, "hash": sha256}
    return entry | {name: value for name, value in known.items() if value is not None}


def _loose(manifest: Manifest) -> list[ArtifactFile]:
    """Return the files that are stored by themselves."""
    payload = manifest.payload
    if len(payload) <= _FEW:
        return list(payload)
    shown = {file.artifact_path for file in payload[:_SHOWN]} if manifest.type in MEDIA else set()
    return [file for file in payload if file.size_bytes >= _LARGE or file.artifact_path in shown]
