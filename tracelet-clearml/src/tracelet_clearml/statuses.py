"""A task's status, which decides whether anything can be put into it: ClearML takes it for new and running tasks alone.

That is a rule of ClearML's server (``get_task_for_update`` in its ``apiserver/bll/task/utils.py``), which no ``force``
overrides. So an ended task of Tracelet's own is opened for the moment of writing, and given back its status.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tracelet_clearml.api import Api
from tracelet_clearml.errors import WrongStatus

__all__ = ["ENDED", "WRITABLE", "Status", "begin", "opened"]

#: Of tasks that take artifacts, models and parameters.
WRITABLE = frozenset({"created", "in_progress"})
#: Of tasks that can be opened again, and given their status back.
ENDED = frozenset({"completed", "failed", "stopped"})
#: The reason of a running task that was opened for a moment; whoever finds it so knows what it was before.
_MARK = "opened by Tracelet for a moment, and was "


@attrs.frozen
class Status:
    """What a task is, and why."""

    name: str
    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Status:
        """Read a task: one that was left open by a process that died is what it was before."""
        name, reason = str(task.get("status")), str(task.get("status_reason") or "")
        message = str(task.get("status_message") or "")
        before = reason.removeprefix(_MARK)
        if name == "in_progress" and before != reason and before in ENDED:
            return cls(before, "", message)
        return cls(name, reason, message)


def begin(api: Api, task: str) -> None:
    """Make a task running that is new, or was stopped."""
    api.call("tasks", "started", task=task)


@contextlib.contextmanager
def opened(api: Api, task: str, status: Status) -> Iterator[None]:
    """Open an ended task for as long as the block lasts, and give it back its status, whatever becomes of the block.

    Raises :class:`~tracelet_clearml.errors.WrongStatus` where it is another by now.
    """
    told = {"status_reason": f"{_MARK}{status.name}", "status_message": status.message}
    # By force only where ClearML lets nobody do it else: a task that was published meanwhile must stay so.
    api.call("tasks", "started", task=task, force=status.name == "failed", **told)
    try:
        yield
    finally:
        told = {"status_reason": status.reason, "status_message": status.message}
        # Where somebody else has ended it in that moment, its status is theirs.
        with contextlib.suppress(WrongStatus):
            api.call("tasks", status.name, task=task, **told)
