"""The status of a task: only new and running tasks can be written to.

This is a rule of ClearML's server (``get_task_for_update`` in its ``apiserver/bll/task/utils.py``), and ``force`` does not
override it. So an ended task of Tracelet's own is opened for the moment of writing, and gets its status back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tracelet_clearml.api import Api
from tracelet_clearml.errors import WrongStatus

__all__ = ["ENDED", "WRITABLE", "Status", "begin", "opened"]

#: Statuses in which a task takes artifacts, models and parameters.
WRITABLE = frozenset({"created", "in_progress"})
#: Statuses in which a task can be opened, and which it can get back.
ENDED = frozenset({"completed", "failed", "stopped"})
#: The reason that an opened task has. If its process dies, the next one reads from it which status the task had.
_MARK = "opened by Tracelet for a moment, and was "


@attrs.frozen
class Status:
    """A task's status, with its reason and message."""

    name: str
    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Status:
        """Read a task. One that a dead process left open counts as ended, as it was before."""
        name, reason = str(task.get("status")), str(task.get("status_reason") or "")
        message = str(task.get("status_message") or "")
        before = reason.removeprefix(_MARK)
        if name == "in_progress" and before != reason and before in ENDED:
            return cls(before, "", message)
        return cls(name, reason, message)


def begin(api: Api, task: str) -> None:
    """Make a new or stopped task running."""
    api.call("tasks", "started", task=task)


@contextlib.contextmanager
def opened(api: Api, task: str, status: Status) -> Iterator[None]:
    """Open an ended task for the block. Afterwards it has its status back, also where the block raises.

    Raises :class:`~tracelet_clearml.errors.WrongStatus` where the task has another status by now.
    """
    told = {"status_reason": f"{_MARK}{status.name}", "status_message": status.message}
    # ClearML opens a failed task only by force. Elsewhere force is wrong: a task that was published meanwhile stays so.
    api.call("tasks", "started", task=task, force=status.name == "failed", **told)
    try:
        yield
    finally:
        told = {"status_reason": status.reason, "status_message": status.message}
        # If somebody else has ended it in that moment, their status counts.
        with contextlib.suppress(WrongStatus):
            api.call("tasks", status.name, task=task, **told)
