"""What can be set, and what the user's own ClearML leaves in the environment of the processes that it starts."""

from __future__ import annotations

import os

import attrs

__all__ = ["ClearmlSettings", "leave_users_task"]

#: By these ClearML's own code takes a child process for a part of the user's task, and would go on in it.
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
    #: Show images, audio, video and plots as debug samples, too.
    samples: bool = True
    #: Seconds that one answer of the API server or the file server may take.
    request_timeout: float = 20.0


def leave_users_task() -> None:
    """See to it that ClearML, when it is imported, does not take this process for the user's own."""
    for name in _OF_THE_USERS_PROCESS:
        os.environ.pop(name, None)
