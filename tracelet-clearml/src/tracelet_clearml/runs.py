"""The ClearML task of one of Tracelet's runs: found, attached to, or made. Whoever made it ends it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from clearml import Task

from tracelet.exceptions import BackendError, BackendUnavailable
from tracelet.plugin import RunInfo, StoredArtifact
from tracelet_clearml.api import Api
from tracelet_clearml.errors import WrongStatus
from tracelet_clearml.names import entity_name
from tracelet_clearml.projects import Projects
from tracelet_clearml.record_names import RunNote
from tracelet_clearml.records import SCHEMA, Place, has_mark, mark, marks
from tracelet_clearml.statuses import ENDED, WRITABLE, Status, begin, opened

__all__ = ["RunTask", "Runs"]

_LOG = logging.getLogger("tracelet.clearml")
_FIELDS = ["id", "name", "project", "status", "status_reason", "status_message", "type", "tags"]
#: The beginning of a tag that an earlier release gave to the tasks of its runs.
_OLD_RUN = "tracelet.run:"
#: Characters of a run's id in the name of its task.
_SHOWN_ID = 8
#: So many tasks of one run are looked at. A run has several if some can no longer be written to.
_TASKS = 20
#: If a task, or its artifacts alone, has so many characters, the run goes on in another task. ClearML's database takes no
#: document over 16 MB, and each put adds up to one MB.
_FULL = 6_000_000
#: Seconds between two pings. The server stops a task that it has not heard of for two hours.
_PING = 600.0
#: The section in which ``Dataset.get(alias=…)`` notes a dataset, and the one for inputs that are neither datasets nor models.
_DATASETS, _OTHERS = "Datasets", "Inputs"


@attrs.frozen
class RunTask:
    """A ClearML task for artifacts, as the server last showed it."""

    task_id: str
    name: str
    project_id: str
    #: Whether Tracelet made it, and may open it again.
    made: bool
    #: Whether this process made it, and will end it.
    ours: bool
    status: Status
    run: RunInfo | None = None

    @classmethod
    def of(cls, task: Mapping[str, Any], *, made: bool, ours: bool = False, run: RunInfo | None = None) -> RunTask:
        """Read a task."""
        name = entity_name(str(task.get("name") or task["id"]))
        return cls(str(task["id"]), name, str(task.get("project") or ""), made, ours, Status.of(task), run)

    @property
    def takes(self) -> bool:
        """Whether it can be written to, perhaps after it is opened."""
        if self.made and not self.project_id:  # its project was deleted: nobody would find it
            return False
        return self.status.name in WRITABLE or (self.made and self.status.name in ENDED)


class Runs:
    """The tasks in which this process stores the runs of one experiment."""

    def __init__(self, api: Api, projects: Projects, experiment: str, sdk: Mapping[str, Any]) -> None:
        """``sdk`` is what the plugin's context found in the user's process."""
        self._api = api
        self._projects = projects
        self._experiment = experiment
        self._sdk = sdk
        self._run_tasks: dict[str, tuple[RunInfo, RunTask]] = {}
        self._pinged: dict[str, float] = {}
        #: By task, its size when it was last looked at.
        self._sizes: dict[str, int] = {}

    def task_of(self, run: RunInfo) -> RunTask:
        """Return a run's task as it is now. Make one if the run has none that can be written to."""
        known = self._run_tasks.get(run.id)
        run_task = (self._again(known[1]) if known is not None else None) or self._found(run)
        if run_task.ours and run_task.status.name in {"created", "stopped"}:
            # The server stopped it because it had not heard of it for hours. This run goes on.
            begin(self._api, run_task.task_id)
            run_task = attrs.evolve(run_task, status=Status("in_progress"))
        if known is not None and known[1].ours and self._is_full(known[1]):
            with contextlib.suppress(WrongStatus):
                self._api.call("tasks", "completed", task=known[1].task_id)
        self._run_tasks[run.id] = run, run_task
        return run_task

    def note_size(self, run_task: RunTask, content: object) -> None:
        """Remember the size of a task. ``content`` is all of it, or the part that grows."""
        self._sizes[run_task.task_id] = max(len(json.dumps(content)), self._sizes.get(run_task.task_id, 0))

    def write(self, run_task: RunTask, act: Callable[[str], object]) -> RunTask:
        """Write to a run's task, and return the task that was written to.

        If the given task has ended or was published meanwhile, that is another one.
        """
        try:
            self._act(run_task, act)
        except WrongStatus:
            if run_task.run is None:
                raise
            run_task = self.task_of(run_task.run)
            self._act(run_task, act)
        return run_task

    def change(self, task_id: str, act: Callable[[str], object]) -> bool:
        """Write to any task, and say whether it allows that. A task that is gone needs no writing: True."""
        for again in (True, False):
            task = self._task(task_id)
            if task is None:
                return True
            run_task = RunTask.of(task, made=self._is_made(task))
            if not run_task.takes:
                return False
            try:
                self._act(run_task, act)
            except WrongStatus:
                if again:
                    continue
                raise
            return True
        return False

    def note_input(self, run: RunInfo, stored: StoredArtifact, place: Place) -> None:
        """Note that a run uses a version, where ClearML's users look: as an input model, or in the task's parameters."""
        run_task, name = self.task_of(run), f"{stored.manifest.name} {stored.version}"
        if place.kind == "model":
            model = {"name": name, "model": place.entity, "type": "input"}
            self.write(run_task, lambda task: self._api.call("tasks", "add_or_update_model", task=task, **model))
            return
        section, value = (_DATASETS, place.entity) if place.kind == "dataset" else (_OTHERS, stored.uri)
        noted = {"section": section, "name": name, "value": value, "type": "str"}
        noted["description"] = f"sha256:{stored.manifest.digest}"
        more: dict[str, Any] = {"hyperparams": [noted], "force": True}
        self.write(run_task, lambda task: self._api.call("tasks", "edit_hyper_params", task=task, **more))

    def end(self, *, failed: bool) -> None:
        """End the tasks that this process made.

        Args:
            failed: Whether the last run failed. Earlier runs only had something to deliver.

        Raises:
            BackendError: ClearML does not show a task as ended.

        """
        run_tasks = [run_task for _, run_task in sorted(self._run_tasks.values(), key=lambda pair: pair[0].started_at)]
        self._run_tasks.clear()
        for number, run_task in enumerate(run_tasks, 1):
            if run_task.ours:
                status = "failed" if failed and number == len(run_tasks) else "completed"
                # Not by force: a task that somebody else has ended or published stays as it is.
                with contextlib.suppress(WrongStatus):
                    self._api.call("tasks", status, task=run_task.task_id)
                    self._expect(run_task.task_id, {status, "published"})

    # -- finding

    def _found(self, run: RunInfo) -> RunTask:
        users = self._users(run)
        if users is not None and self._takes(RunTask.of(users, made=False)):
            return RunTask.of(users, made=False, run=run)
        earlier = self._earlier(run)
        for task in earlier:
            run_task = RunTask.of(task, made=True, run=run)
            if self._takes(run_task):
                # If an earlier lane of this program was killed, this one has to end its task.
                ours = run_task.status.name not in {"completed", "failed"} and self._is_this_programs(run)
                return attrs.evolve(run_task, ours=ours)
        return self._make(run, users or (earlier[-1] if earlier else None))

    def _takes(self, run_task: RunTask) -> bool:
        """Say whether a task can be written to, and has room."""
        if run_task.takes and run_task.task_id not in self._sizes:
            self.note_size(run_task, self._api.call("tasks", "get_all", id=[run_task.task_id])["tasks"])
        return run_task.takes and not self._is_full(run_task)

    def _is_full(self, run_task: RunTask) -> bool:
        return self._sizes.get(run_task.task_id, 0) >= _FULL

    def _users(self, run: RunInfo) -> Mapping[str, Any] | None:
        """Return the user's own task, if the run began in the user's present process."""
        key = self._sdk.get("task_id")
        # It may be offline, or on another server. Then the run gets a task of its own.
        return self._task(str(key)) if key and self._began_there(run) else None

    def _began_there(self, run: RunInfo) -> bool:
        """Say whether a run began in the process that the SDK's state is from, and not in an earlier one."""
        return run.started_at >= float(self._sdk.get("since", 0.0))

    def _is_this_programs(self, run: RunInfo) -> bool:
        return self._began_there(run) and self._sdk.get("pid") in {os.getpid(), os.getppid()}

    def _earlier(self, run: RunInfo) -> list[Mapping[str, Any]]:
        """Return the tasks that other processes, or an earlier lane, made for the same run."""
        notes = self._notes(RunNote.pattern_of_run(run.id))
        for note in notes:
            note.check()
        keys = [note.task for note in notes]
        asked: dict[str, Any] = {"only_fields": _FIELDS, "order_by": ["created"], "page": 0, "page_size": _TASKS}
        found = self._api.call("tasks", "get_all", id=keys, **asked)["tasks"] if keys else []
        places = self._projects.visibles()
        if places:
            tags = ["__$all", f"{_OLD_RUN}{run.id}"]
            found += self._api.call("tasks", "get_all", project=places, tags=tags, **asked)["tasks"]
        return list(found)

    def _notes(self, pattern: str) -> list[RunNote]:
        """Return the notes whose names match a pattern."""
        places = self._projects.indexes()
        if not places:
            return []
        asked = {"only_fields": ["id", "name"], "order_by": ["created"], "page": 0, "page_size": _TASKS}
        found = self._api.call("tasks", "get_all", project=places, name=pattern, **asked)["tasks"]
        return [RunNote.of(str(one["name"])) for one in found]

    def _is_made(self, task: Mapping[str, Any]) -> bool:
        """Say whether Tracelet made a task, for any run."""
        if any(str(tag).startswith(_OLD_RUN) for tag in task.get("tags") or ()):
            return True
        notes = self._notes(RunNote.pattern_of_task(str(task["id"])))
        # This release does not open a task whose note it cannot read.
        return bool(notes) and all(note.schema == SCHEMA for note in notes)

    def _make(self, run: RunInfo, before: Mapping[str, Any] | None) -> RunTask:
        """Make a task. ``before`` is the run's earlier task, which can no longer be written to."""
        key = self._begun(run) or self._created(run)
        note = f"Tracelet's run {run.id} of {self._experiment!r}."
        more = {}
        if before is not None:
            # The parent leads people from the earlier task to this one.
            more = {"parent": before["id"]}
            why = "full" if self._is_full(RunTask.of(before, made=False)) else before.get("status")
            note += f" What came after the task {before['id']} ({before.get('name')}) was {why}."
        self._api.call("tasks", "edit", task=key, tags=["tracelet"], comment=note, force=True, **more)
        place, told = self._projects.index(), "Where Tracelet finds the task of a run. Leave it as it is."
        named = {"name": RunNote(run.id, key).task_name, "type": "custom", "system_tags": ["hidden"], "comment": told}
        self._api.call("tasks", "create", project=place, **named)
        begin(self._api, key)
        return RunTask.of(self._expect(key, {"in_progress"}), made=True, ours=True, run=run)

    def _begun(self, run: RunInfo) -> str | None:
        """Return a task of the run whose maker was killed before it noted the task, or None."""
        asked = {**marks("run", run.id), "status": ["created"]}
        places = self._projects.visibles()
        for task in self._api.pages("tasks", project=places, **asked) if places else ():
            if has_mark(task, "run", run.id):
                return str(task["id"])
        return None

    def _created(self, run: RunInfo) -> str:
        self._projects.visible()
        with self._api.marking(runtime=mark("run", run.id)):
            made: Any = Task.create(
                project_name=self._projects.name,
                task_name=f"{self._experiment} {run.id[:_SHOWN_ID]}",
                task_type="training",
                detect_repository=False,
            )
        return str(made.id)

    # -- looking

    def _again(self, run_task: RunTask) -> RunTask | None:
        """Return a task as it is now, or None if it is gone or can no longer be written to. Ping the server for our own."""
        task = self._task(run_task.task_id)
        if task is None:
            return None
        if run_task.ours and time.monotonic() - self._pinged.get(run_task.task_id, -_PING) >= _PING:
            self._pinged[run_task.task_id] = time.monotonic()
            self._api.call("tasks", "ping", task=run_task.task_id)
        again = RunTask.of(task, made=run_task.made, ours=run_task.ours, run=run_task.run)
        return again if self._takes(again) else None

    def _act(self, run_task: RunTask, act: Callable[[str], object]) -> None:
        if run_task.status.name in WRITABLE:
            act(run_task.task_id)
            return
        with opened(self._api, run_task.task_id, run_task.status):
            act(run_task.task_id)

    def _task(self, key: str) -> Mapping[str, Any] | None:
        found = self._api.call("tasks", "get_all", id=[key], only_fields=_FIELDS)["tasks"]
        return dict(found[0]) if found else None

    def _expect(self, key: str, statuses: set[str]) -> Mapping[str, Any]:
        """Return a task whose status must be one of these."""
        task = self._task(key)
        if task is None:
            raise BackendError(f"somebody has deleted the ClearML task {key} of this run.")
        if task.get("status") not in statuses:
            raise BackendUnavailable(
                f"the ClearML task {key} should be {' or '.join(sorted(statuses))}, and is {task.get('status')}."
            )
        return task
