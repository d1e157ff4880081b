"""The plugin's settings, and the variables that ClearML leaves to the processes that the user's process starts."""

from __future__ import annotations

import os

import attrs

__all__ = ["ClearmlSettings", "leave_users_task"]

#: By these variables ClearML takes a child process for a part of the user's task, and would write into that task.
_OF_THE_USERS_PROCESS = (
    "CLEARML_PROC_MASTER_ID",
    "TRAINS_PROC_MASTER_ID",
    "CLEARML_TASK_ID",
    "TRAINS_TASK_ID",
)


@attrs.frozen(kw_only=True)
class ClearmlSettings:
    """Read from ``TRACELET_CLEARML_*``."""

    #: Where files go, such as ``s3://bucket/folder``. Empty: ClearML's own default, the file server.
    output_uri: str = ""
    #: Also show images, audio, video and plots as debug samples.
    samples: bool = True
    #: Seconds that one request may wait for a server in all, beside the time for its bytes.
    request_timeout: float = 20.0


def leave_users_task() -> None:
    """Remove the variables by which ClearML, once it is imported, would take this process for the user's own."""
    for name in _OF_THE_USERS_PROCESS:
        os.environ.pop(name, None)
