"""Child processes that do the kit's work: pytest's own process opens no backend.

A backend's contract is that it has a process of its own, with an environment of its own; and what is
written in one process must be read in another.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

from tracelet.core.plugins.calling import call_plugin
from tracelet.core.system.processes import TOKEN, end_family
from tracelet.exceptions import TraceletError
from tracelet.settings import child_environment

__all__ = ["Driver", "DriverDied"]

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that one call may take; a backend that is slower than that does not pass.
LIMIT = 180.0
_ENDING = 20.0


class DriverDied(Exception):
    """The child ended, or gave no answer in time."""


class Driver:
    """A child process that calls functions, one at a time, in a folder and an environment of its own."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        defaults: Mapping[str, str] | None = None,
        *,
        mortal: bool = False,
    ) -> None:
        """``defaults`` are for variables that are not set; a ``mortal`` one is ended with all that it started."""
        folder.mkdir(parents=True, exist_ok=True)
        self._unread = False
        self._token = uuid.uuid4().hex if mortal else ""
        self._log = folder / f"stderr-{uuid.uuid4().hex[:8]}.log"
        mark = {TOKEN: self._token} if mortal else {}
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "tracelet.testing.driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                env=child_environment({**environ, **mark}, defaults or {}, path),
            )

    def begin(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> None:
        """Begin to call a function that the child can import; :meth:`result` waits for it."""
        if self._unread:
            # A test that failed over the answer of another process left this one's behind.
            with contextlib.suppress(TraceletError):
                self.result()
        try:
            pickle.dump((function, arguments, named), self._pipe(self._child.stdin))
            self._pipe(self._child.stdin).flush()
            self._unread = True
        except BrokenPipeError:
            raise DriverDied(f"the process ended before {function.__name__}.{self._last_words()}") from None

    def result(self, limit: float = LIMIT) -> Any:
        """Return what the function returned, or raise what it raised, within so many seconds."""
        self._unread = False
        stream = self._pipe(self._child.stdout)
        ready, _, _ = select.select([stream], [], [], limit)
        if not ready:
            self.kill()
            raise DriverDied(f"no answer within {limit:.0f} s.{self._last_words()}")
        try:
            fine, value = pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            raise DriverDied(f"the process ended in the middle.{self._last_words()}") from None
        if not fine:
            raise value
        return value

    def call(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function in the child and return what it returns."""
        self.begin(function, *arguments, **named)
        return cast(T, self.result())

    def died(self, limit: float = LIMIT) -> bool:
        """Wait for the end of the call, or of the process; say whether it was the process's."""
        try:
            self.result(limit)
        except DriverDied:
            return True
        return False

    def kill(self) -> None:
        """End the process at once, and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        if self._token:
            end_family(self._token, self._child.pid)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                self._pipe(pipe).close()

    def close(self) -> None:
        """Let the process end by itself, for a while."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._pipe(self._child.stdin).close()
            self._child.wait(_ENDING)
        self.kill()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-30:]
        return "\n".join([" It wrote last:", *lines]) if lines else ""

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, call_plugin("", function, *arguments, **named)
    except TraceletError as error:
        error.add_note("".join(traceback.format_exception(error)))
        error.__cause__ = error.__context__ = None
        return False, error


def main() -> None:
    """Serve until the other side closes the pipe."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a backend prints, or reads, must not get between the answers.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while True:
        try:
            function, arguments, named = pickle.load(calls)
        except EOFError:
            break
        pickle.dump(_answer(function, arguments, named), answers)
        answers.flush()


if __name__ == "__main__":
    main()
