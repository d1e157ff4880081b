"""A lane to a backend in a child process: requests and answers as lines of JSON, with a limit on each.

Files never pass through the lane, for both sides read the same disk.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from tracelet.core.artifacts.plain import converter
from tracelet.core.lanes.progress import Progress, progress_of
from tracelet.core.lanes.state import LaneState
from tracelet.core.lanes.wire import error_from_wire, operation
from tracelet.core.lanes.worker_process import WorkerProcess
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.versions import SealedArtifact
from tracelet.core.system.processes import ProcessId
from tracelet.exceptions import BackendError, BackendUnavailable

__all__ = ["ProcessLane"]

#: Seconds that a child gets to end by itself once its last request is answered.
_GRACE = 2.0
#: Seconds in which a request without a limit of its own must get on.
_STALL = 60.0


class ProcessLane:
    """A backend in a child process. A child that hangs, crashes or writes nonsense is killed, and the next one begins anew."""

    def __init__(
        self,
        spec: BackendSpec,
        experiment: str,
        settings: Any,
        context: BackendContext,
        environ: Mapping[str, str],
    ) -> None:
        self._name = spec.name
        self._hello = {
            "backend": spec.name,
            "experiment": experiment,
            "settings": converter().unstructure(settings),
            "context": converter().unstructure(context),
        }
        self._worker = WorkerProcess(spec.name, spec.environ, environ, context.directory / "lanes")
        self.state = LaneState.IDLE
        self.reason = ""

    def processes(self) -> list[ProcessId]:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        return self._worker.processes()

    def open(self, limit: float) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        if self._is_open():
            return
        self._worker.stop()
        self.state = LaneState.OPENING
        self._start()
        # Where Tracelet and the plugins are is for this process's sys.path to say, not for the child's.
        hello = {"op": "open", "limit": limit, "arguments": self._hello, "path": [entry for entry in sys.path if entry]}
        self._exchange(hello, limit)
        self.state = LaneState.READY
        self.reason = ""

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        if not self._is_open():
            raise BackendError(f"{self._name}: its lane is not open.", backend=self._name)
        types = operation(what)
        plain = converter().unstructure
        message = {
            "op": what,
            "limit": limit,
            "arguments": {key: plain(value, types.arguments[key]) for key, value in arguments.items()},
        }
        progress = progress_of(self._worker.token, _bytes_of(arguments), _STALL) if limit is None else None
        if progress is not None:
            message["beat"] = progress.beat
        answer = self._exchange(message, limit or _STALL, progress)
        return None if types.answer is type(None) else converter().structure(answer, types.answer)

    def kill(self) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        self._worker.end()

    def close(self, limit: float, *, failed: bool) -> None:
        """See :class:`~tracelet.core.lanes.lane.Lane`."""
        until = time.monotonic() + limit
        try:
            if self._is_open():
                self.request("stop", limit, failed=failed)
                self._worker.finish(max(0.0, min(_GRACE, until - time.monotonic())))
        finally:
            self._worker.stop()
            self.state = LaneState.CLOSED

    def _is_open(self) -> bool:
        return self.state is LaneState.READY and self._worker.is_running()

    def _start(self) -> None:
        if not sys.executable:
            raise BackendError(
                f"{self._name} runs in a process of its own, and this Python does not know its own executable.",
                backend=self._name,
                retryable=False,
            )
        try:
            self._worker.start()
        except OSError as error:
            self._break(f"its process cannot be started: {error}")
            raise BackendError(
                f"{self._name}: its process cannot be started: {error}. Set TRACELET_DIR to a folder that can be written.",
                backend=self._name,
            ) from error

    def _exchange(self, message: dict[str, Any], limit: float, progress: Progress | None = None) -> Any:
        """Send a message, and return what the child answers, or raise the error that it tells of."""
        try:
            line = self._worker.exchange(json.dumps(message).encode() + b"\n", limit, progress)
            answer = json.loads(line)
            kind = answer["kind"]
            warnings = [(str(name), str(text)) for name, text in answer.get("warnings", ())]
        except BackendError as error:
            self._break(str(error))
            raise
        except (ValueError, TypeError, KeyError) as error:
            reason = (
                f"{self._name} wrote something else than an answer; its process was ended.{self._worker.last_words()}"
            )
            self._break(reason)
            raise BackendUnavailable(reason, backend=self._name) from error
        except BaseException:
            # Interrupted in the middle of an exchange: what the child answers belongs to nobody any more.
            self._break("interrupted")
            raise
        for name, text in warnings:
            logging.getLogger(name).warning("%s", text)
        if kind == "error":
            told = error_from_wire(answer["error"], self._name)
            if message["op"] == "open" or getattr(told, "ends_lane", False):
                self._break(str(told))
            raise told
        return answer["value"]

    def _break(self, reason: str) -> None:
        # Also where the stopping is interrupted: nobody may take the answer for that to their own request.
        self.state = LaneState.BROKEN
        self.reason = reason
        self._worker.stop()


def _bytes_of(arguments: Mapping[str, Any]) -> int:
    """Return how many bytes a request has to bring to the backend, as far as it says."""
    sealed = arguments.get("sealed")
    return sealed.manifest.held_bytes if isinstance(sealed, SealedArtifact) else 0
