"""The child process of a lane, ``python -m tracelet.worker``: how it begins, takes and gives lines, and ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import sysconfig
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tracelet import exceptions
from tracelet.core.lanes.progress import Progress
from tracelet.core.system.files import create, make_folder
from tracelet.core.system.processes import OWNER, TOKEN, ProcessId, current, end_family, family, owner_mark, process_id
from tracelet.core.system.redaction import redact_text
from tracelet.exceptions import BackendUnavailable
from tracelet.settings import child_environment

__all__ = ["WorkerProcess"]

#: A message may be as long as the list of 100,000 versions, and not without end.
_LONGEST = 1 << 30


class WorkerProcess:
    """One child at a time, which is stopped and started again as need be, until it is ended for good."""

    def __init__(self, name: str, environ: Mapping[str, str], given: Mapping[str, str], logs: Path) -> None:
        """``environ`` are variables for the child where they are not set; ``given`` are those that it has in any case."""
        self._name = name
        self._environ = environ
        self._given = given
        self._logs = logs
        #: Held while the child is begun or given up: any thread may end it, also before it has begun.
        self._guard = threading.Lock()
        #: Held while somebody reads and writes on its pipes: they are not closed before.
        self._talk = threading.Lock()
        self._ends = False
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        #: The mark of the child and all that it starts; empty before the first.
        self.token = ""

    def is_running(self) -> bool:
        """Tell whether there is a child, and it has not ended."""
        child = self._child
        return child is not None and child.poll() is None

    def processes(self) -> list[ProcessId]:
        """Return the child and what it has started."""
        child = self._child
        return [process_id(pid) for pid in family(self.token) or [child.pid]] if child is not None else []

    def start(self) -> None:
        """Start a child, unless it is ended for good. Raises ``OSError`` where that cannot be."""
        self.token = uuid.uuid4().hex
        self._buffer = b""
        make_folder(self._logs.parent, shared=False)
        make_folder(self._logs)
        with create(self._log()) as log, self._guard:
            if not self._ends:
                self._child = self._new_child(log)
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
            env=child_environment(
                {**self._given, TOKEN: self.token, OWNER: owner_mark(current())}, self._environ, _own_path()
            ),
        )
        for pipe in _pipes_of(child):
            os.set_blocking(pipe.fileno(), False)
        return child

    def _log(self) -> Path:
        return self._logs / f"{self._name}-{self.token}.log"

    def exchange(self, data: bytes, limit: float, progress: Progress | None) -> bytes:
        """Send a line, and return the line that answers it.

        Raises :class:`BackendUnavailable` where none comes within ``limit`` seconds and ``progress`` sees none.
        """
        with self._talk:
            child = self._child
            if child is None:
                raise BackendUnavailable(f"{self._name}'s process was ended.", backend=self._name)
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
                        f"{self._name} did not answer within {limit:.3g} s; its process was ended.{self.last_words()}",
                        backend=self._name,
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
        """Return the next line that has arrived whole and is no beat, or None."""
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            if progress is None or not progress.note(line):
                return line
        return None

    def _receive(self, child: subprocess.Popen[bytes], stdout: IO[bytes]) -> None:
        block = os.read(stdout.fileno(), 1 << 16)
        if not block:
            code = _exit_code(child)
            raise BackendUnavailable(
                f"{self._name}'s process ended in the middle of a request ({code}).{self.last_words()}",
                backend=self._name,
            )
        self._buffer += block
        if len(self._buffer) > _LONGEST:
            raise ValueError("an answer without end")

    def last_words(self) -> str:
        """Return the end of what the child wrote to stderr, for an error message."""
        try:
            lines = self._log().read_text(errors="replace").strip().splitlines()[-3:]
        except OSError:
            return ""
        return f" It wrote last: {redact_text(' / '.join(lines))[-500:]}" if lines else ""

    def finish(self, seconds: float) -> None:
        """Let the child end by itself, as it does once its pipe is closed, and wait for that at most ``seconds``."""
        child = self._child
        assert child is not None
        _pipes_of(child)[0].close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)

    def stop(self) -> None:
        """End the child and what it has started; another one may be started after it."""
        child = self._child
        if child is None:
            return
        child.kill()
        end_family(self.token, child.pid)
        child.wait()
        with self._talk:
            for pipe in _pipes_of(child):
                with contextlib.suppress(OSError):
                    pipe.close()
        self._log().unlink(missing_ok=True)
        # Last: who is interrupted before, by a second Ctrl-C, leaves a child to stop.
        with self._guard:
            if self._child is child:
                self._child = None

    def end(self) -> None:
        """End the child for good, from any thread: none is started after it."""
        with self._guard:
            self._ends = True
            token, child = self.token, self._child
        if token:
            end_family(token, None if child is None else child.pid)


def _own_path() -> str | None:
    """Return the folder that Tracelet was imported from, where the child would not look by itself."""
    folder = str(Path(exceptions.__file__).resolve().parents[1])
    return None if folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")} else folder


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
