"""What a lane runs: ``python -m tracelet.worker`` opens one backend and serves one request at a time.

It reads requests from stdin and answers on what was stdout when it started; whatever the SDK prints goes to
stderr. It goes on after SIGINT, SIGTERM and the like, which are for the user's program. When that program is gone, it finishes the
request in hand, within the request's own limit, and ends with everything it started. What is warned of meanwhile on
the loggers under ``tracelet`` goes with the answer, and is warned of in the user's program.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from tracelet.core.artifacts.plain import converter
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.lanes.progress import beat_line
from tracelet.core.lanes.wire import error_to_wire, operation
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.calling import call_plugin
from tracelet.core.plugins.registry import registry
from tracelet.core.system.messages import words_of
from tracelet.core.system.processes import TOKEN, end_family
from tracelet.exceptions import BackendError, TraceletError
from tracelet.settings import own_variable

__all__ = ["main"]

#: Seconds for ending by itself once the user's program is gone.
_LAST = 5.0
#: The most warnings that an answer brings, and the most characters of each.
_MOST_WARNINGS, _LONGEST_WARNING = 20, 2_000
#: Signals whose meaning for a job its program alone knows.
_OF_THE_PROGRAM = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class _Requests:
    """Requests as they come, on a thread of their own, so that the program's end is noticed at once."""

    def __init__(self) -> None:
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        #: When the request in hand must be done, by the monotonic clock; None while there is none.
        self.until: float | None = None
        self._parent = os.getppid()

    def read(self) -> None:
        """Pass lines on until the other side is gone; then end this side, too."""
        buffer = b""
        while os.getppid() == self._parent:
            # A fork of the user's program keeps the pipe open after it: its end alone is no proof of life.
            ready, _, _ = select.select([0], [], [], 1.0)
            block = os.read(0, 1 << 16) if ready else None
            if block == b"":
                break
            *lines, buffer = (buffer + (block or b"")).split(b"\n")
            for line in lines:
                self.lines.put(line)
        self.lines.put(None)
        self._outlive()

    def _outlive(self) -> None:
        end = time.monotonic() + _LAST
        while time.monotonic() < max(end, self.until or 0.0):
            time.sleep(0.1)
        end_family(
            own_variable(TOKEN), os.getpid(), spare=os.getpid()
        )  # pragma: no cover - what follows ends the measuring
        os._exit(1)  # pragma: no cover


class _Warnings(logging.StreamHandler[Any]):
    """Writes warnings to stderr, as they were without it, and keeps them for the answer at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.setLevel(logging.WARNING)
        self._kept: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a warning, and keep it."""
        super().emit(record)
        if len(self._kept) < _MOST_WARNINGS:
            self._kept.append((record.name, record.getMessage()[:_LONGEST_WARNING]))

    def taken(self) -> list[tuple[str, str]]:
        """Return the warnings since the last answer."""
        kept, self._kept = self._kept, []
        return kept


def _open(message: dict[str, Any]) -> BackendService:
    sys.path.extend(entry for entry in message["path"] if entry not in sys.path)
    hello = message["arguments"]
    spec = registry().backends.get(hello["backend"])
    settings = converter().structure(hello["settings"], spec.settings)
    context = converter().structure(hello["context"], BackendContext)
    return call_plugin(spec.name, BackendService, spec, hello["experiment"], settings, context)


def _serve(service: BackendService, message: dict[str, Any]) -> str:
    """Return the answer as JSON."""
    types = operation(message["op"])
    arguments = {key: converter().structure(value, types.arguments[key]) for key, value in message["arguments"].items()}
    answer = call_plugin(service.name, getattr(service, message["op"]), **arguments)
    try:
        return json.dumps(converter().unstructure(answer, types.answer))
    except (TypeError, ValueError) as error:
        raise BackendError(
            f"the plugin of the backend {service.name!r} is broken: what it answers is no plain JSON data ({error}). "
            "Repair it, or choose another backend.",
            backend=service.name,
            retryable=False,
        ) from error


@contextlib.contextmanager
def _beating(answers: IO[bytes], every: float | None) -> Iterator[None]:
    """Say again and again, ``every`` seconds apart, how long this process has been at work. It ends before the answer."""
    if every is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        # Where the other side is gone, the answer meets that, too.
        with contextlib.suppress(OSError):
            ended = False
            while not ended:
                answers.write(beat_line())
                answers.flush()
                ended = done.wait(every)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _leave_signals_to_the_program() -> None:
    """Go on after signals that launchers send to each process of a job, such as Slurm when it preempts one.

    The program may have its last words to store, and when it ends, this process does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _OF_THE_PROGRAM:
        # What is ignored would be ignored in all that an SDK starts, too, and could then not be ended.
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)
    # Held meanwhile, for Python drops in the child what comes before it is set up.
    hold, release = (
        functools.partial(signal.pthread_sigmask, how, _OF_THE_PROGRAM)
        for how in (signal.SIG_BLOCK, signal.SIG_UNBLOCK)
    )
    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=lambda: _take_signals(release))


def _take_signals(release: Callable[[], object]) -> None:
    for number in _OF_THE_PROGRAM:
        signal.signal(number, signal.SIG_DFL)
    release()


def main() -> None:
    """Serve until the user's program closes the pipe, or is gone."""
    _leave_signals_to_the_program()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings = _Warnings()
    logging.getLogger("tracelet").addHandler(warnings)
    requests = _Requests()
    threading.Thread(target=requests.read, daemon=True).start()
    service: BackendService | None = None
    while (line := requests.lines.get()) is not None:
        message = json.loads(line)
        requests.until = time.monotonic() + (message["limit"] or 3600.0)
        try:
            value = "null"
            if service is None:
                service = _open(message)
            else:
                with _beating(answers, message.get("beat")):
                    value = _serve(service, message)
            told = f'"kind": "value", "value": {value}'
        except TraceletError as error:
            told = f'"kind": "error", "error": {json.dumps(error_to_wire(error))}'
        except Exception as error:  # noqa: BLE001 - the boundary: the other side is told, whatever it was
            wrapped = BackendError(words_of(error))
            told = f'"kind": "error", "error": {json.dumps(error_to_wire(wrapped))}'
        requests.until = None
        answer = f'{{{told}, "warnings": {json.dumps(warnings.taken())}}}'
        if message["op"] == "stop":
            service = None
        try:
            answers.write(answer.encode() + b"\n")
            answers.flush()
        except BrokenPipeError:
            break
    if service is not None:
        # The program is gone and did not say how its run ended.
        with contextlib.suppress(TraceletError):
            call_plugin(service.name, service.stop, failed=True)


if __name__ == "__main__":
    main()
