"""Where a version's files go: what all kinds of places share, and the artifacts of a task."""

from __future__ import annotations

import logging
import mimetypes
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from tracelet.exceptions import BackendUnavailable, TraceletError
from tracelet.plugin import ArtifactFile, ArtifactType, Manifest, SealedArtifact, hash_blob, redact
from tracelet_clearml.api import Api
from tracelet_clearml.blobs import Blob, check_source, pack, remove, upload, workspace
from tracelet_clearml.errors import Away
from tracelet_clearml.index import Claim
from tracelet_clearml.names import file_name
from tracelet_clearml.runs import Home, Runs

__all__ = ["MEDIA", "Place", "Shelf", "TaskShelf", "Title", "Traces", "Uploads", "facts", "shown"]

_LOG = logging.getLogger("tracelet.clearml")

MEDIA = frozenset({ArtifactType.IMAGE, ArtifactType.AUDIO, ArtifactType.VIDEO, ArtifactType.VISUALIZATION})
#: Files of at least so many bytes are stored by themselves; and so are all, where they are few.
_LARGE = 1_000_000
_FEW = 8
#: So many media files of one artifact are stored by themselves, to be looked at.
_SHOWN = 50
_LONGEST_VALUE = 500
#: So many of the caller's metadata are shown, of so many characters together: a task's entries are one document, which
#: ClearML's database takes up to 16 MB.
_MOST_VALUES = 50
_LONGEST_VALUES = 8000
_LONGEST_PREVIEW = 2000
#: So many stored files of one artifact have entries of their own.
_MOST_ENTRIES = 100
#: So many references of one artifact have entries of their own, if their addresses are no longer than that.
_MOST_LINKS = 100
_LONGEST_LINK = 2000


@attrs.frozen
class Place:
    """Where one version is in ClearML."""

    #: ``artifacts``, ``model`` or ``dataset``.
    kind: str
    task: str
    project: str
    blobs: tuple[Blob, ...]
    #: The model's id, or the dataset's.
    entity: str = ""
    #: How many ancestors a dataset has.
    depth: int = 0
    #: Names of the entries in the task.
    keys: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return attrs.asdict(self)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Place:
        """Read what :meth:`to_plain` gave."""
        blobs = tuple(Blob(**{**one, "paths": tuple(one["paths"])}) for one in data["blobs"])
        return cls(**{**data, "blobs": blobs, "keys": tuple(data["keys"])})


@attrs.frozen
class Title:
    """What a version is called in ClearML."""

    #: ``<name>.v<number>``.
    key: str
    #: The caller's label, or ``v<number>``.
    version: str
    claim: Claim


class Traces:
    """What a put has left on the servers so far: taken back where nothing will come of it."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        """Remember how something that is about to be made is taken back."""
        self._steps.append(step)

    def take_back(self) -> None:
        """Take everything back, the last one first; what cannot be is told in the log."""
        while self._steps:
            try:
                self._steps.pop()()
            except (Away, OSError, TraceletError) as error:
                _LOG.warning("something that was not stored as a whole stays in ClearML: %s", error)


class Shelf(Protocol):
    """A kind of place."""

    def store(self, sealed: SealedArtifact, title: Title, home: Home, traces: Traces) -> Place:
        """Store the files, and let ClearML's own users find them."""
        ...


@attrs.frozen
class Uploads:
    """Uploads of files of one run's task: to URLs as the SDK makes them, with the put-id in them."""

    destination: str
    project: str
    #: Where temporary files may be.
    directory: Path

    def folder(self, home: Home, manifest: Manifest, key: str) -> str:
        """Return the URL of the folder of one put."""
        project = "/".join(map(file_name, self.project.split("/")))
        own = f"{file_name(home.name)}.{home.task_id}"
        return f"{self.destination.rstrip('/')}/{project}/{own}/artifacts/{key}.{manifest.put_id}"

    def one(self, file: ArtifactFile, source: Path, uri: str, traces: Traces) -> Blob:
        """Store one file as it is."""
        check_source(file, source)
        assert file.sha256 is not None
        blob = Blob(uri, file.size_bytes, file.sha256, (file.artifact_path,))
        traces.add(lambda: remove(blob))
        return attrs.evolve(blob, uri=upload(source, uri))

    def packed(self, files: Iterable[ArtifactFile], sources: Mapping[str, Path], uri: str, traces: Traces) -> Blob:
        """Store several files as one zip."""
        files = list(files)
        with workspace(self.directory) as desk:
            target = desk / "pack.zip"
            pack(target, files, sources)
            paths = tuple(file.artifact_path for file in files)
            blob = Blob(uri, target.stat().st_size, hash_blob(target), paths, zipped=True)
            traces.add(lambda: remove(blob))
            return attrs.evolve(blob, uri=upload(target, uri))


def facts(manifest: Manifest, title: Title) -> dict[str, str]:
    """Return what ClearML's users are shown of an artifact, as text, which is all that it keeps: the first of its metadata."""
    own = _identity(manifest, title)
    own |= {"description": shown(manifest.description)} if manifest.description else {}
    told: dict[str, str] = {}
    left = _LONGEST_VALUES
    for name, value in manifest.metadata.items():
        # ClearML takes no empty key, and no notice of what is blank around one: it must not become one of ours.
        key, text = shown(name).strip(), shown(str(value), _LONGEST_VALUE)
        left -= len(key) + len(text)
        if left < 0 or len(told) == _MOST_VALUES:
            break
        if key:
            told[key] = text
    return told | own


def shown(text: str | None, longest: int = _LONGEST_PREVIEW) -> str:
    """Return text as ClearML's database takes it: bounded, and without NUL, which an earlier release let pass."""
    return (text or "")[:longest].replace("\0", "")


def _identity(manifest: Manifest, title: Title) -> dict[str, str]:
    return {"version": title.version, "type": manifest.type.value, "digest": f"sha256:{manifest.digest}"}


class TaskShelf:
    """Artifacts of the run's task: each file by itself where they are few or large, the rest in a zip."""

    def __init__(self, api: Api, uploads: Uploads, runs: Runs) -> None:
        self._api = api
        self._uploads = uploads
        self._runs = runs

    def store(self, sealed: SealedArtifact, title: Title, home: Home, traces: Traces) -> Place:
        """See :class:`Shelf`."""
        manifest = sealed.manifest
        folder = self._uploads.folder(home, manifest, title.key)
        loose = _loose(manifest)
        packed = [file for file in manifest.payload if file not in loose]
        blobs = [
            self._uploads.one(
                file,
                sealed.sources[file.artifact_path],
                f"{folder}/{number}/{file_name(Path(file.artifact_path).name)}",
                traces,
            )
            for number, file in enumerate(loose)
        ]
        if packed:
            blobs.append(self._uploads.packed(packed, sealed.sources, f"{folder}/{title.key}.zip", traces))
        entries = self._entries(manifest, title, blobs)
        keys = tuple(str(entry["key"]) for entry in entries)
        home = self._record(home, entries, lambda task: traces.add(lambda: self.drop(task, keys)))
        return Place("artifacts", home.task_id, home.project_id, tuple(blobs), keys=keys)

    def _entries(self, manifest: Manifest, title: Title, blobs: list[Blob]) -> list[dict[str, Any]]:
        """Return the entries of the task: one for each stored file, and one for each reference."""
        told = [[key, value] for key, value in facts(manifest, title).items()]
        short = [[key, value] for key, value in _identity(manifest, title).items()]
        links = [(number, redact(one.uri), one) for number, one in enumerate(manifest.references)]
        links = [link for link in links if len(link[1]) <= _LONGEST_LINK][:_MOST_LINKS]
        alone = len(blobs) + len(manifest.references) == 1
        entries: list[dict[str, Any]] = []
        for blob in blobs[:_MOST_ENTRIES]:
            inside = "" if alone or blob.zipped else f"/{blob.paths[0]}"
            entry = _entry(f"{title.key}{inside}", blob.uri, blob.size_bytes, blob.sha256, told)
            kind = "application/zip" if blob.zipped else mimetypes.guess_type(blob.paths[0])[0]
            entry["type_data"] = {"preview": "\n".join(blob.paths)[:_LONGEST_PREVIEW], "content_type": kind or ""}
            # An archive is what the SDK unpacks when it gets it.
            entries.append(entry | {"type": "archive" if blob.zipped else "custom"})
        for number, uri, reference in links:
            inside = "" if alone else f"/reference-{number}"
            entry = _entry(f"{title.key}{inside}", uri, reference.size_bytes, reference.sha256, told)
            preview = shown(reference.description)
            entries.append(entry | {"type": "custom", "type_data": {"preview": preview}})
        for entry in entries[_FEW:]:
            entry["display_data"] = short
        return entries

    def drop(self, task: str, keys: tuple[str, ...]) -> bool:
        """Take entries out of a task, and say whether it lets itself be changed."""
        artifacts = [{"key": key, "mode": "output"} for key in keys]
        return self._runs.change(
            task, lambda key: self._api.gone("tasks", "delete_artifacts", task=key, artifacts=artifacts)
        )

    def _record(self, home: Home, entries: list[dict[str, Any]], begins: Callable[[str], object]) -> Home:
        """Put entries into a run's task, and return the task that has them; ``begins`` is told of each that gets them."""
        if not entries:
            return home
        more: dict[str, Any] = {"artifacts": entries, "force": True}

        def add(task: str) -> None:
            begins(task)
            self._api.call("tasks", "add_or_update_artifacts", task=task, **more)

        home = self._runs.write(home, add)
        asked = {"only_fields": ["id", "execution.artifacts"]}
        found = self._api.call("tasks", "get_all", id=[home.task_id], **asked)["tasks"]
        artifacts = found[0].get("execution", {}).get("artifacts") or [] if found else []
        self._runs.note_size(home, artifacts)
        there = {(one["key"], one.get("uri"), one.get("hash") or None) for one in artifacts}
        if not {(entry["key"], entry["uri"], entry.get("hash")) for entry in entries} <= there:
            raise BackendUnavailable(
                f"ClearML says that it has the artifacts of task {home.task_id}, and does not show them."
            )
        return home


def _entry(key: str, uri: str, size: int | None, sha256: str | None, told: list[list[str]]) -> dict[str, Any]:
    entry = {"key": key, "mode": "output", "uri": uri, "display_data": told, "timestamp": int(time.time())}
    known = {"content_size": size, "hash": sha256}
    return entry | {name: value for name, value in known.items() if value is not None}


def _loose(manifest: Manifest) -> list[ArtifactFile]:
    """The files that are stored by themselves."""
    payload = manifest.payload
    if len(payload) <= _FEW:
        return list(payload)
    shown = {file.artifact_path for file in payload[:_SHOWN]} if manifest.type in MEDIA else set()
    return [file for file in payload if file.size_bytes >= _LARGE or file.artifact_path in shown]
