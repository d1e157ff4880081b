"""How core talks to one backend: a child process that can be killed, or, for what cannot hang, directly.

Requests and answers are lines of JSON on the child's pipes; files never pass through them, for both
sides read the same disk. The child is ``python -m tracelet.worker``.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import json
import logging
import os
import selectors
import subprocess
import sys
import sysconfig
import threading
import time
import typing
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import attrs

from tracelet import exceptions
from tracelet.core.artifacts.plain import converter
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.lanes.progress import Progress, progress_of
from tracelet.core.plugins.backend_spec import BackendContext, BackendSpec
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.versions import SealedArtifact, StoredArtifact
from tracelet.core.system.files import FileChanged, create, make_folder
from tracelet.core.system.processes import OWNER, TOKEN, ProcessId, current, end_family, family, owner_mark, process_id
from tracelet.core.system.redaction import redact_text
from tracelet.exceptions import BackendError, BackendUnavailable, TraceletError
from tracelet.settings import child_environment

__all__ = ["InlineLane", "Lane", "LaneState", "ProcessLane", "open_lane", "operation"]


#: A message may be as long as the list of 100,000 versions, and not without end.
_LONGEST = 1 << 30
#: Seconds that a child gets to end by itself once its last request is answered.
_GRACE = 2.0
#: Seconds in which a request without a limit of its own must get on.
_STALL = 60.0


class LaneState(enum.Enum):
    """What a lane is doing."""

    IDLE = "idle"
    OPENING = "opening"
    READY = "ready"
    BROKEN = "broken"
    CLOSED = "closed"


class Lane(Protocol):
    """A way to one backend. One thread uses it at a time."""

    state: LaneState
    #: Why it is broken, or empty.
    reason: str

    def processes(self) -> list[ProcessId]:
        """The processes that work for it, besides this one."""
        ...

    def open(self, limit: float) -> None:
        """Get the backend ready within so many seconds. Raises :class:`BackendError`."""
        ...

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """Call a method of the :class:`BackendService` within so many seconds; None: until it stalls."""
        ...

    def kill(self) -> None:
        """End its processes for good, from any thread: the request under way fails at once, and so does every later one."""
        ...

    def close(self, limit: float, *, failed: bool) -> None:
        """End the run and the lane within so many seconds, leaving no process behind."""
        ...


@attrs.frozen
class Operation:
    """The types of a request's arguments and of its answer."""

    arguments: dict[str, Any]
    answer: Any


def operation(name: str) -> Operation:
    """Return the types of the request ``name``: those of the :class:`BackendService`'s method."""
    method = getattr(BackendService, name)
    hints = typing.get_type_hints(method)
    answer = hints.pop("return")
    return Operation({key: hints[key] for key in inspect.signature(method).parameters if key != "self"}, answer)


def error_to_wire(error: TraceletError) -> dict[str, Any]:
    """Return an error as plain data."""
    how = {name: getattr(error, name, False) for name in ("retryable", "ends_lane", "retry_after")}
    answers = converter().unstructure(tuple(error.answers), tuple[StoredArtifact, ...])
    return {"type": _known_kind(error).__name__, "message": str(error), "answers": answers, **how}


def _known_kind(error: TraceletError) -> type:
    """The nearest kind that is Tracelet's own: what a plugin makes of it is known on its side alone."""
    return next(
        kind for kind in type(error).__mro__ if kind is FileChanged or getattr(exceptions, kind.__name__, None) is kind
    )


def error_from_wire(data: dict[str, Any], backend: str) -> TraceletError:
    """Return the error that :func:`error_to_wire` described."""
    if data["type"] == FileChanged.__name__:
        return FileChanged(data["message"])
    kind: type[TraceletError] = getattr(exceptions, data["type"])
    how = {name: data[name] for name in ("retryable", "ends_lane", "retry_after")}
    told = kind(data["message"], backend=backend, **how) if issubclass(kind, BackendError) else kind(data["message"])
    told.answers = converter().structure(data["answers"], tuple[StoredArtifact, ...])
    return told


class InlineLane:
    """A backend in the user's own process: only for one that cannot hang."""

    def __init__(self, spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> None:
        self._spec = spec
        self._make = lambda: BackendService(spec, experiment, settings, context)
        self._service: BackendService | None = None
        self.state = LaneState.IDLE
        self.reason = ""

    def processes(self) -> list[ProcessId]:
        """See :class:`Lane`."""
        return []

    def open(self, limit: float) -> None:
        """See :class:`Lane`."""
        if self._service is None:
            self._service = call_plugin(self._spec.name, self._make)
            self.state = LaneState.READY

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """See :class:`Lane`."""
        self.open(0)
        return call_plugin(self._spec.name, getattr(self._service, what), **arguments)

    def kill(self) -> None:
        """See :class:`Lane`. What cannot hang need not be killed."""

    def close(self, limit: float, *, failed: bool) -> None:
        """See :class:`Lane`."""
        service, self._service = self._service, None
        self.state = LaneState.CLOSED
        if service is not None:
            call_plugin(self._spec.name, service.stop, failed)


class ProcessLane:
    """A backend in a child process. Where it hangs, crashes or babbles, the child is killed and made anew."""

    def __init__(self, spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> None:
        self._spec = spec
        self._hello = {
            "backend": spec.name,
            "experiment": experiment,
            "settings": converter().unstructure(settings),
            "context": converter().unstructure(context),
        }
        self._logs = context.directory / "lanes"
        #: Held while the child is begun or given up: it may be ended from any thread, also one that is not there yet.
        self._guard = threading.Lock()
        #: Held while somebody reads and writes on its pipes: they are not closed before.
        self._talk = threading.Lock()
        self._ends = False
        self._child: subprocess.Popen[bytes] | None = None
        self._token = ""
        self._buffer = b""
        self.state = LaneState.IDLE
        self.reason = ""

    def processes(self) -> list[ProcessId]:
        """See :class:`Lane`."""
        child = self._child
        return [process_id(pid) for pid in family(self._token) or [child.pid]] if child is not None else []

    def open(self, limit: float) -> None:
        """See :class:`Lane`."""
        if self.state is LaneState.READY and self._child is not None and self._child.poll() is None:
            return
        self._kill()
        self.state = LaneState.OPENING
        self._spawn()
        # Where Tracelet and the plugins are is for this process's sys.path to say, not for the child's.
        hello = {"op": "open", "limit": limit, "arguments": self._hello, "path": [entry for entry in sys.path if entry]}
        self._exchange(hello, limit)
        self.state = LaneState.READY
        self.reason = ""

    def request(self, what: str, limit: float | None, **arguments: Any) -> Any:
        """See :class:`Lane`."""
        if self.state is not LaneState.READY or self._child is None or self._child.poll() is not None:
            raise BackendError(f"{self._spec.name}: its lane is not open.", backend=self._spec.name)
        types = operation(what)
        plain = converter().unstructure
        message = {
            "op": what,
            "limit": limit,
            "arguments": {key: plain(value, types.arguments[key]) for key, value in arguments.items()},
        }
        progress = progress_of(self._token, _bytes_of(arguments), _STALL) if limit is None else None
        if progress is not None:
            message["beat"] = progress.beat
        answer = self._exchange(message, limit or _STALL, progress)
        return None if types.answer is type(None) else converter().structure(answer, types.answer)

    def kill(self) -> None:
        """See :class:`Lane`."""
        with self._guard:
            self._ends = True
            token, child = self._token, self._child
        if token:
            end_family(token, None if child is None else child.pid)

    def close(self, limit: float, *, failed: bool) -> None:
        """See :class:`Lane`."""
        until = time.monotonic() + limit
        try:
            if self.state is LaneState.READY and self._child is not None and self._child.poll() is None:
                self.request("stop", limit, failed=failed)
                _pipes_of(self._child)[0].close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(max(0.0, min(_GRACE, until - time.monotonic())))
        finally:
            self._kill()
            self.state = LaneState.CLOSED

    def _spawn(self) -> None:
        if not sys.executable:
            raise BackendError(
                f"{self._spec.name} runs in a process of its own, and this Python does not know its own executable.",
                backend=self._spec.name,
                retryable=False,
            )
        self._token = uuid.uuid4().hex
        self._buffer = b""
        try:
            make_folder(self._logs.parent, shared=False)
            make_folder(self._logs)
            with create(self._log()) as log, self._guard:
                if not self._ends:
                    self._child = self._new_child(log)
        except OSError as error:
            self._break(f"its process cannot be started: {error}")
            raise BackendError(
                f"{self._spec.name}: its process cannot be started: {error}. Set TRACELET_DIR to a folder that can be "
                "written.",
                backend=self._spec.name,
            ) from error
        if self._child is None:
            self._log().unlink(missing_ok=True)

    def _new_child(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            # -P: a file in the user's folder must not stand in for a module of the SDK's.
            [sys.executable, "-P", "-m", "tracelet.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=child_environment({TOKEN: self._token, OWNER: owner_mark(current())}, self._spec.environ, _own_path()),
        )
        for pipe in _pipes_of(child):
            os.set_blocking(pipe.fileno(), False)
        return child

    def _log(self) -> Path:
        return self._logs / f"{self._spec.name}-{self._token}.log"

    def _exchange(self, message: dict[str, Any], limit: float, progress: Progress | None = None) -> Any:
        try:
            line = self._round_trip(json.dumps(message).encode() + b"\n", limit, progress)
            answer = json.loads(line)
            kind = answer["kind"]
            warnings = [(str(name), str(text)) for name, text in answer.get("warnings", ())]
        except BackendError as error:
            self._break(str(error))
            raise
        except (ValueError, TypeError, KeyError) as error:
            reason = (
                f"{self._spec.name} wrote something else than an answer; its process was ended.{self._last_words()}"
            )
            self._break(reason)
            raise BackendUnavailable(reason, backend=self._spec.name) from error
        except BaseException:
            # Interrupted in the middle of an exchange: what the child answers belongs to nobody any more.
            self._break("interrupted")
            raise
        for name, text in warnings:
            logging.getLogger(name).warning("%s", text)
        if kind == "error":
            told = error_from_wire(answer["error"], self._spec.name)
            if message["op"] == "open" or getattr(told, "ends_lane", False):
                self._break(str(told))
            raise told
        return answer["value"]

    def _round_trip(self, data: bytes, limit: float, progress: Progress | None) -> bytes:
        """Send a line and wait for the one that answers it."""
        with self._talk:
            child = self._child
            if child is None:
                raise self._ended()
            return self._talk_to(child, data, limit, progress)

    def _talk_to(self, child: subprocess.Popen[bytes], data: bytes, limit: float, progress: Progress | None) -> bytes:
        stdin, stdout = _pipes_of(child)
        until = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stdin, selectors.EVENT_WRITE)
            while (line := self._next_line(progress)) is None:
                left = until - time.monotonic()
                if left <= 0 and progress is not None and progress.made():
                    until = time.monotonic() + limit
                    continue
                if left <= 0:
                    raise BackendUnavailable(
                        f"{self._spec.name} did not answer within {limit:.3g} s; its process was ended."
                        f"{self._last_words()}",
                        backend=self._spec.name,
                    )
                for key, _ in selector.select(left):
                    if key.fileobj is stdout:
                        self._receive(child, stdout)
                        continue
                    data = _send(stdin, data)
                    if not data:
                        selector.unregister(stdin)
        return line

    def _next_line(self, progress: Progress | None) -> bytes | None:
        """The next line that has arrived whole and is no beat, or None."""
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            if progress is None or not progress.note(line):
                return line
        return None

    def _ended(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self._spec.name}'s process was ended.", backend=self._spec.name)

    def _receive(self, child: subprocess.Popen[bytes], stdout: IO[bytes]) -> None:
        block = os.read(stdout.fileno(), 1 << 16)
        if not block:
            code = _exit_code(child)
            raise BackendUnavailable(
                f"{self._spec.name}'s process ended in the middle of a request ({code}).{self._last_words()}",
                backend=self._spec.name,
            )
        self._buffer += block
        if len(self._buffer) > _LONGEST:
            raise ValueError("an answer without end")

    def _last_words(self) -> str:
        """The end of what the child wrote to stderr, for the error message."""
        try:
            lines = self._log().read_text(errors="replace").strip().splitlines()[-3:]
        except OSError:
            return ""
        return f" It wrote last: {redact_text(' / '.join(lines))[-500:]}" if lines else ""

    def _break(self, reason: str) -> None:
        self._kill()
        self.state = LaneState.BROKEN
        self.reason = reason

    def _kill(self) -> None:
        with self._guard:
            child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        end_family(self._token, child.pid)
        child.wait()
        with self._talk:
            for pipe in _pipes_of(child):
                with contextlib.suppress(OSError):
                    pipe.close()
        self._log().unlink(missing_ok=True)


def _own_path() -> str | None:
    """The folder that this package was imported from, where the child would not look by itself."""
    folder = str(Path(__file__).resolve().parents[2])
    return None if folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")} else folder


def _bytes_of(arguments: Mapping[str, Any]) -> int:
    """How many bytes a request has to bring to the backend, as far as it says."""
    sealed = arguments.get("sealed")
    return sealed.manifest.held_bytes if isinstance(sealed, SealedArtifact) else 0


def _pipes_of(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert child.stdin is not None
    assert child.stdout is not None
    return child.stdin, child.stdout


def _send(stdin: IO[bytes], data: bytes) -> bytes:
    """Write as much as the pipe takes, and return the rest."""
    try:
        return data[os.write(stdin.fileno(), data) :]
    except BrokenPipeError:
        return b""  # it died: its silence on the other pipe tells the rest


def _exit_code(child: subprocess.Popen[bytes]) -> str:
    try:
        return f"exit code {child.wait(1.0)}"
    except subprocess.TimeoutExpired:
        return "it closed its pipe"


def open_lane(spec: BackendSpec, experiment: str, settings: Any, context: BackendContext) -> Lane:
    """Return the lane that suits a backend; nothing is opened yet."""
    kind = InlineLane if spec.in_process else ProcessLane
    return kind(spec, experiment, settings, context)
