"""A server as a process group of its own, started for tests and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class ServerProcess:
    """One server; `kill` and `start` again on the same port."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        ready: str,
        log: Path,
        environ: Mapping[str, str],
        status: int = 200,
        host: str = "127.0.0.1",
    ) -> None:
        """`ready` is the path of a page that answers with this status when the server serves."""
        self.port = port
        self._command = command
        self._ready = f"http://{host}:{port}{ready}"
        self._log = log
        self._status = status
        self._environ = {**os.environ, **environ}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 120.0) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, env=self._environ
            )
        until = time.monotonic() + patience
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"no answer from {self._ready}: {self._log.read_text()[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGSTOP to the whole group: it accepts connections and says nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready, timeout=5) as answer:
                return answer.status == self._status
        except urllib.error.HTTPError as error:
            return error.code == self._status
        except (OSError, urllib.error.URLError):
            return False
