"""What ClearML's users logged without Tracelet: artifacts of tasks, models and datasets, listed and fetched for an import.

What Tracelet stored is left out. It is known by the digest that each of its entries and models tells, and by the mark of
each of its datasets.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from clearml.backend_api import Session

from tracelet.exceptions import ArtifactNotFound, IntegrityError
from tracelet.plugin import ArtifactReference, ArtifactType, ForeignArtifact, ForeignFile, redact, target_path
from tracelet_clearml.addresses import Addresses, last_part
from tracelet_clearml.api import PAGE, Api
from tracelet_clearml.blobs import scratch_folder
from tracelet_clearml.display import shown_text
from tracelet_clearml.foreign_datasets import STATE, DatasetState, fetch_dataset, is_data, is_dataset, is_finished
from tracelet_clearml.foreign_files import HeldFile, is_held, size_of
from tracelet_clearml.foreign_places import documents, look
from tracelet_clearml.foreign_runs import Maker, seconds_of
from tracelet_clearml.foreign_types import type_of

__all__ = ["Discovery", "fetch"]

_LOG = logging.getLogger("tracelet.import")
T = TypeVar("T")
#: What an entry or a model of Tracelet's own tells.
_OWN = re.compile(r"sha256:[0-9a-f]{64}")
#: The mark of a dataset of Tracelet's own.
_OWN_DATASET = "tracelet_put"
#: The hidden projects that ClearML shows as parts of a project.
_HIDDEN = re.compile(r"/\.(datasets|pipelines)/.*")
#: So much of a sha256 tells what a key named from what it named before.
_SHORT = 16
#: Where metadata says what only ClearML has a word for.
_CLEARML = "clearml"
#: Characters of a preview that are kept.
_LONGEST_PREVIEW = 1000
#: What the SDK says as the end of a model's address while its file is on its way, and after that has failed.
_NO_FILE = frozenset({"uploading_file", "failed_uploading"})
#: What the server puts before the id of a task that was deleted (``deleted_prefix`` in its ``apiserver/bll/task/utils.py``).
_DELETED = "__DELETED__"
_ARCHIVE, _PACKAGE, _ZIP = "archive", "package", ".zip"
#: What reading something raises that is not as ClearML's SDK writes it.
_ODD = (ArtifactNotFound, IntegrityError, AttributeError, LookupError, TypeError, ValueError)


class Discovery:
    """Lists what was logged without Tracelet at one place."""

    def __init__(self, api: Api, directory: Path) -> None:
        """``directory`` is where temporary files may be."""
        self._api = api
        self._directory = directory
        self._addresses = Addresses.of(api.place)
        self._file_server = str(Session.get_files_server_host() or "")
        #: What was asked already, by id: tasks, names of projects, URLs of models.
        self._makers: dict[str, Maker] = {}
        self._projects: dict[str, str] = {}
        self._models: dict[str, str] = {}

    def discover(self, place: str) -> list[ForeignArtifact]:
        """Return every version, the oldest first. What cannot be read is told, and is no reason to leave out the rest.

        Raises:
            ArtifactNotFound: There is no such place.

        """
        found = look(self._api, place)
        models = list(found.models)
        self._note_models(models)
        self._learn_models(str(one.get("parent") or "") for one in models)
        with scratch_folder(self._directory) as scratch:
            made = [
                one
                for tasks in _batches(found.tasks)
                for task in self._learned(tasks)
                for one in (self._of_dataset(task, scratch) if is_dataset(task) else self._of_task(task))
            ]
        unknown = {str(one["task"]) for one in models if one.get("task")} - set(self._makers)
        for tasks in _batches(documents(self._api, "tasks", unknown)):
            self._learned(tasks)
        self._learn_projects(str(one.get("project") or "") for one in models)
        made += [one for model in models for one in _told(f"the model {model.get('name')!r}", model, self._of_model)]
        # The server gave them by its own clock, which counts where the moments of two are the same.
        return sorted(made, key=lambda one: one.created_at)

    # -- what there is to know about those that made something

    def _learned(self, tasks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Ask, for some tasks at once, what else has to be known of them."""
        makers = {str(task["id"]): Maker.of(task) for task in tasks}
        self._makers |= makers
        self._learn_projects(maker.project for maker in makers.values())
        self._learn_models(key for maker in makers.values() for key in maker.models)
        return tasks

    def _learn_models(self, keys: Iterable[str]) -> None:
        self._note_models(documents(self._api, "models", {key for key in keys if key} - set(self._models)))

    def _note_models(self, models: Iterable[Mapping[str, Any]]) -> None:
        self._models |= {str(one["id"]): str(one.get("uri") or "") for one in models}

    def _learn_projects(self, keys: Iterable[str]) -> None:
        unknown = {key for key in keys if key} - set(self._projects)
        for one in documents(self._api, "projects", unknown):
            self._projects[str(one["id"])] = str(one.get("name") or "")

    def _experiment(self, project: str) -> str:
        return _HIDDEN.sub("", self._projects.get(project, ""))

    def _used_by(self, maker: Maker | None) -> tuple[str, ...]:
        """Return the addresses of what a task used."""
        if maker is None:
            return ()
        models = [self._addresses.model(key, self._models[key]) for key in maker.models if key in self._models]
        return (*map(self._addresses.dataset, maker.datasets), *models)

    # -- what there is

    def _of_task(self, task: Mapping[str, Any]) -> Iterator[ForeignArtifact]:
        """Yield the artifacts of a task."""
        maker = self._makers[str(task["id"])]
        for entry in (task.get("execution") or {}).get("artifacts") or ():
            yield from _told(
                f"the artifact {entry.get('key')!r} of the task {task['id']}",
                entry,
                lambda entry: self._of_entry(entry, task, str(entry["key"]), self._used_by(maker)),
            )

    def _of_entry(
        self, entry: Mapping[str, Any], task: Mapping[str, Any], name: str, inputs: tuple[str, ...]
    ) -> ForeignArtifact | None:
        users = dict(entry.get("display_data") or ())
        if _is_own(users.items()):
            return None
        maker, held = self._makers[str(task["id"])], HeldFile.of(entry)
        # The SDK leaves out what is less than a second, and goes by its own clock.
        moment = max(float(entry.get("timestamp") or 0), seconds_of(task["created"]))
        kind, side = str(entry.get("type") or ""), "inputs" if entry.get("mode") == "input" else "artifacts"
        content = (held.sha256 or "")[:_SHORT] or f"{moment:.0f}"
        shown = entry.get("type_data") or {}
        own = {
            "artifact_type": kind,
            "mode": entry.get("mode"),
            "content_type": shown.get("content_type"),
            "preview": shown_text(shown.get("preview"), _LONGEST_PREVIEW),
            "task_tags": list(maker.tags),
        }
        file = last_part(held.uri)
        is_ours = held.sha256 is not None or is_held(held.uri, maker.run.id, self._file_server)
        return ForeignArtifact(
            address=self._addresses.entry(maker.run.id, str(entry["key"]), side, content),
            name=name,
            type=type_of(kind, file),
            kind="artifact of a task",
            experiment=self._experiment(maker.project),
            metadata=_with(users, own),
            created_at=moment,
            run=maker.run,
            inputs=inputs,
            **_content(held, file, is_ours, packed=kind == _ARCHIVE),
        )

    def _of_model(self, model: Mapping[str, Any]) -> ForeignArtifact | None:
        items: Mapping[str, Any] = model.get("metadata") or {}
        users = {str(one["key"]): one.get("value") for one in items.values()}
        if _is_own(users.items()):
            return None
        held, task = HeldFile.of(model), str(model.get("task") or "").removeprefix(_DELETED)
        if last_part(held.uri) in _NO_FILE:
            raise ValueError("the upload of its file was not finished")
        maker = self._makers.get(task)
        address = self._addresses.model(str(model["id"]), held.uri)
        above = str(model.get("parent") or "")
        inputs = [self._addresses.model(above, self._models[above])] if above in self._models else []
        design: Mapping[str, Any] = model.get("design") or {}
        own = {
            "tags": list(model.get("tags") or ()),
            "framework": model.get("framework"),
            "labels": dict(model.get("labels") or {}),
            "design": design.get("design", dict(design)),
            "published": bool(model.get("ready")),
        }
        file = last_part(held.uri)
        is_ours = is_held(held.uri, task, self._file_server)
        return ForeignArtifact(
            address=address,
            name=str(model["name"]),
            type=ArtifactType.MODEL,
            kind="model",
            experiment=self._experiment(str(model.get("project") or "")),
            description=str(model.get("comment") or "") or None,
            metadata=_with(users, own),
            created_at=seconds_of(model["created"]),
            run=None if maker is None else maker.run,
            inputs=tuple(one for one in dict.fromkeys((*inputs, *self._used_by(maker))) if one != address),
            **_content(held, file, is_ours, packed=_PACKAGE in (model.get("system_tags") or ())),
        )

    def _of_dataset(self, task: Mapping[str, Any], scratch: Path) -> Iterator[ForeignArtifact]:
        """Yield a version of a dataset, and what somebody put beside it."""
        if _OWN_DATASET in (task.get("runtime") or {}):
            return
        name = str(task.get("name") or task["id"])
        if not is_finished(task):
            _LOG.warning("the ClearML dataset %r (%s) is left out: it is not finished.", name, task["id"])
            return
        yield from _told(f"the dataset {name!r} ({task['id']})", task, lambda task: self._version(task, scratch))
        for entry in (task.get("execution") or {}).get("artifacts") or ():
            if not is_data(str(entry.get("key"))):
                yield from _told(
                    f"the artifact {entry.get('key')!r} of the dataset {name!r} ({task['id']})",
                    entry,
                    lambda entry: self._of_entry(
                        entry, task, f"{name}.{entry['key']}", (self._addresses.dataset(str(task["id"])),)
                    ),
                )

    def _version(self, task: Mapping[str, Any], scratch: Path) -> ForeignArtifact:
        key, maker = str(task["id"]), self._makers[str(task["id"])]
        entries = {str(one["key"]): one for one in (task.get("execution") or {}).get("artifacts") or ()}
        held = HeldFile.of(entries[STATE])
        runtime: Mapping[str, Any] = task.get("runtime") or {}
        try:
            state = DatasetState.read(held, key, scratch)
        except (ArtifactNotFound, IntegrityError) as error:
            # Whoever imports it is told again: it is found, and cannot be fetched.
            _LOG.warning("which files are in the ClearML dataset %r (%s) is not known: %s", task["name"], key, error)
            state = DatasetState.unread(size_of(runtime.get("ds_total_size")))
        if state.unsafe:
            _LOG.warning(
                "the ClearML dataset %r (%s) is without %s: no artifact can hold such paths.",
                *(task["name"], key, ", ".join(map(repr, state.unsafe))),
            )
        version = str(runtime.get("version") or "")
        own = {"tags": list(maker.tags), "version": version, "left_out": list(state.unsafe)}
        return ForeignArtifact(
            address=self._addresses.dataset(key),
            name=str(task["name"]),
            type=ArtifactType.DATASET,
            kind="dataset",
            version=version,
            experiment=self._experiment(maker.project),
            description=str(task.get("comment") or "") or None,
            metadata=_with({}, own),
            aliases=(version,) if version else (),
            created_at=seconds_of(task["created"]),
            run=maker.run,
            files=state.listed,
            files_known=state.is_known,
            references=state.links,
            inputs=tuple(map(self._addresses.dataset, state.parents)),
            locator={"dataset": key, "state": held.to_plain()},
        )


def fetch(api: Api, found: ForeignArtifact, directory: Path, dest: Path) -> None:
    """Write the files of a version into a folder, and compare them with what ClearML knows of them.

    Raises:
        ArtifactNotFound: Bytes are gone.
        IntegrityError: Bytes are others than those that were logged.

    """
    with scratch_folder(directory) as scratch:
        if "dataset" in found.locator:
            state = DatasetState.read(HeldFile(**found.locator["state"]), found.locator["dataset"], scratch)
            fetch_dataset(api, state, scratch, dest)
        elif found.files:
            held = HeldFile(**found.locator["file"])
            if found.files_known:
                held.fetch(target_path(dest, found.files[0].path))
            else:
                held.fetch_inside(scratch / "archive.zip", dest)


def _content(held: HeldFile, file: str, is_ours: bool, *, packed: bool) -> dict[str, Any]:
    """Return the fields that say what a version holds: a file, a zip of files, or a link to what ClearML does not hold."""
    if not is_ours:
        return {"references": (ArtifactReference(redact(held.uri), held.size_bytes),), "locator": {}}
    return {
        "files": (ForeignFile(file, held.size_bytes),),
        "files_known": not (packed and file.lower().endswith(_ZIP)),
        "locator": {"file": held.to_plain()},
    }


def _told(
    what: str, document: Mapping[str, Any], make: Callable[[Any], ForeignArtifact | None]
) -> list[ForeignArtifact]:
    """Return what is made of a document: one version, or none. Where it cannot be read, that is told."""
    try:
        made = make(document)
    except _ODD as error:
        _LOG.warning("%s is left out: %s.", what, str(error).rstrip("."))
        return []
    return [] if made is None else [made]


def _with(users: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the user's metadata, with what ClearML has besides under a key that they did not use."""
    key = _CLEARML
    while key in users:
        key += "_"
    return {**users, key: {name: value for name, value in own.items() if value not in (None, "", [], {})}}


def _is_own(told: Iterable[Any]) -> bool:
    """Say whether Tracelet stored what tells this, in pairs of a key and a value."""
    return any(key == "digest" and isinstance(value, str) and _OWN.fullmatch(value) for key, value in told)


def _batches(found: Iterable[T]) -> Iterator[list[T]]:
    """Yield a page of documents at a time."""
    each = iter(found)
    while batch := list(itertools.islice(each, PAGE)):
        yield batch
