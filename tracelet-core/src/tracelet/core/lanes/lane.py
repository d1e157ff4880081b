"""How core talks to one backend: what a lane is, and which kind of lane a backend gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tracelet.core.lanes.state import LaneState
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.system.processes import ProcessId

__all__ = ["Lane", "open_lane"]


class Lane(Protocol):
    """A way to one backend. One thread uses it at a time."""

    @property
    def state(self) -> LaneState:
        """What it is doing."""
        ...

    @property
    def reason(self) -> str:
        """Why it is broken, or empty."""
        ...

    def processes(self) -> list[ProcessId]:
        """Return the processes that work for it, besides this one."""
        ...

    def open(self, limit: float) -> None:
        """Get the backend ready within ``limit`` seconds. Raises :class:`BackendError`."""
        ...

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """Call a method of the :class:`BackendService` within ``limit`` seconds. None: it may take long, but not stall."""
        ...

    def kill(self) -> None:
        """End its processes for good, from any thread: the request under way fails at once, and so does every later one."""
        ...

    def close(self, limit: float, *, failed: bool) -> None:
        """End the run and the lane within ``limit`` seconds, and leave no process behind."""
        ...


def open_lane(
    spec: BackendSpec,
    experiment: str,
    settings: Any,
    context: BackendContext,
    environ: Mapping[str, str] | None = None,
) -> Lane:
    """Return the lane that suits a backend; nothing is opened yet.

    ``environ`` are variables for its process in place of this one's; a backend in this process has none of its own.
    """
    if spec.in_process:
        from tracelet.core.lanes.inline_lane import InlineLane

        return InlineLane(spec, experiment, settings, context)
    from tracelet.core.lanes.process_lane import ProcessLane

    return ProcessLane(spec, experiment, settings, context, environ or {})
