"""A lane to a backend in the user's own process: only for a backend that cannot hang."""

from __future__ import annotations

from typing import Any

from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.lanes.state import LaneState
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.system.processes import ProcessId

__all__ = ["InlineLane"]


class InlineLane:
    """A backend in the user's own process: only for one that cannot hang."""

    def __init__(self, spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> None:
        self._spec = spec
        self._make = lambda: BackendService(spec, experiment, settings, context)
        self._service: BackendService | None = None
        self.state = LaneState.IDLE
        self.reason = ""

    def processes(self) -> list[ProcessId]:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        return []

    def open(self, limit: float) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        if self._service is None:
            self._service = call_plugin(self._spec.name, self._make)
            self.state = LaneState.READY

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        self.open(0)
        return call_plugin(self._spec.name, getattr(self._service, what), **arguments)

    def kill(self) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`. What cannot hang need not be killed."""

    def close(self, limit: float, *, failed: bool) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        service, self._service = self._service, None
        self.state = LaneState.CLOSED
        if service is not None:
            call_plugin(self._spec.name, service.stop, failed)
