"""The ClearML task that belongs to one of Tracelet's runs: found, attached to, or made; and ended by who made it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs
from clearml import Task

from tracelet.exceptions import BackendError, BackendUnavailable
from tracelet.plugin import RunInfo
from tracelet_clearml.api import Api
from tracelet_clearml.names import entity_name
from tracelet_clearml.projects import Projects

__all__ = ["Home", "Runs"]

_FIELDS = ["id", "name", "project", "status", "type"]
_ENDED = {"completed", "failed", "published"}
#: What follows an experiment's name in that of a run's task.
_SHOWN_ID = 8


def run_tag(run_id: str) -> str:
    """The tag of the task of one of Tracelet's runs, for people and for ClearML's search."""
    return f"tracelet.run:{run_id}"


@attrs.frozen
class Home:
    """A ClearML task that artifacts are put into."""

    task_id: str
    name: str
    project_id: str
    #: Whether this process made it, and so ends it.
    ours: bool


class Runs:
    """The tasks of the runs of one experiment that this process puts artifacts into."""

    def __init__(self, api: Api, projects: Projects, experiment: str, sdk: Mapping[str, Any]) -> None:
        """``sdk`` is what the plugin's context found in the user's process."""
        self._api = api
        self._projects = projects
        self._experiment = experiment
        self._sdk = sdk
        self._homes: dict[str, tuple[RunInfo, Home]] = {}

    def home(self, run: RunInfo) -> Home:
        """Return the task of one of Tracelet's runs; it is made where there is none yet."""
        if run.id not in self._homes:
            self._homes[run.id] = run, self._users(run) or self._earlier(run) or self._make(run)
        return self._homes[run.id][1]

    def end(self, *, failed: bool) -> None:
        """End the tasks that were made here. ``failed`` is about the last run: others only had something to deliver.

        Raises :class:`~tracelet.BackendError` where ClearML does not show them as ended.
        """
        homes = [home for _, home in sorted(self._homes.values(), key=lambda pair: pair[0].started_at)]
        self._homes.clear()
        for number, home in enumerate(homes, 1):
            if home.ours:
                status = "failed" if failed and number == len(homes) else "completed"
                # Forced: ClearML stops tasks that it has not heard of for hours.
                self._api.call("tasks", status, task=home.task_id, force=True)
                self._expect(home.task_id, {status, "published"})

    def _users(self, run: RunInfo) -> Home | None:
        """The task of the user's process, where it is one of that process's own runs that begins."""
        key = self._sdk.get("task_id")
        if not key or not self._began_there(run):
            return None
        found = self._api.call("tasks", "get_all", id=[key], only_fields=_FIELDS)["tasks"]
        # It may be on another server, or an offline one: then the run gets a task of its own.
        return self._home(found[0], ours=False) if found else None

    def _began_there(self, run: RunInfo) -> bool:
        """Whether a run began in the process whose SDK is known here, and not in an earlier one."""
        return run.started_at >= float(self._sdk.get("since", 0.0))

    def _is_this_programs(self, run: RunInfo) -> bool:
        return self._began_there(run) and self._sdk.get("pid") in {os.getpid(), os.getppid()}

    def _earlier(self, run: RunInfo) -> Home | None:
        """The task that another process, or an earlier lane, made for the same run."""
        tags = ["__$all", run_tag(run.id)]
        asked = {"tags": tags, "only_fields": _FIELDS, "order_by": ["created"], "page": 0, "page_size": 1}
        found = self._api.call("tasks", "get_all", project=[self._projects.visible()], **asked)["tasks"]
        if not found:
            return None
        # An earlier lane of this very program may have been ended in the middle: then its task is this one's to end.
        return self._home(found[0], ours=found[0].get("status") not in _ENDED and self._is_this_programs(run))

    def _make(self, run: RunInfo) -> Home:
        self._projects.visible()
        made: Any = Task.create(
            project_name=self._projects.name,
            task_name=f"{self._experiment} {run.id[:_SHOWN_ID]}",
            task_type="training",
            detect_repository=False,
        )
        key = str(made.id)
        note = f"Tracelet's run {run.id} of {self._experiment!r}."
        self._api.call("tasks", "edit", task=key, tags=["tracelet", run_tag(run.id)], comment=note, force=True)
        self._api.call("tasks", "started", task=key, force=True)
        return self._home(self._expect(key, {"in_progress"}), ours=True)

    def _expect(self, key: str, statuses: set[str]) -> Mapping[str, Any]:
        """Read a task, and believe only what it says itself."""
        found = self._api.call("tasks", "get_all", id=[key], only_fields=_FIELDS)["tasks"]
        if not found:
            raise BackendError(f"the ClearML task {key} of this run was deleted.")
        if found[0].get("status") not in statuses:
            raise BackendUnavailable(
                f"the ClearML task {key} should be {' or '.join(sorted(statuses))}, and is {found[0].get('status')}."
            )
        return dict(found[0])

    @staticmethod
    def _home(task: Mapping[str, Any], *, ours: bool) -> Home:
        project = task.get("project") or ""
        return Home(task["id"], entity_name(str(task.get("name") or task["id"])), str(project), ours)
