"""A PostgreSQL of its own, from what Debian installs, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from servers.processes import free_port

NEEDED = ("initdb", "postgres", "pg_isready")
_DEBIAN = Path("/usr/lib/postgresql")


def command(name: str) -> str | None:
    """Where a command of PostgreSQL's is; Debian keeps them out of the way, each release's in a folder of its own."""
    folders = sorted(_DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))


class Postgres:
    """A server in an empty folder; `kill` and `start` again on the same port."""

    def __init__(self, folder: Path, user: str | None) -> None:
        """`user` is whom it runs as, where it may not run as who is here."""
        self._folder = folder
        self._user = user
        self._log = folder / "log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        #: As SQLAlchemy has it.
        self.address = f"postgresql+psycopg2://tracelet@127.0.0.1:{self._port}/postgres"
        made = [str(command("initdb")), "-D", str(folder / "data"), "-U", "tracelet", "--auth=trust", "--no-sync"]
        with self._log.open("wb") as stream:
            subprocess.run(made, user=user, cwd=folder, stdout=stream, stderr=stream, check=True)

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._folder,
            "fsync": "off",
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                [str(command("postgres")), "-D", str(self._folder / "data"), *given],
                user=self._user,
                cwd=self._folder,
                stdout=stream,
                stderr=stream,
            )
        until = time.monotonic() + 120
        ready = [str(command("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ready).returncode:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)  # pg_isready is all there is to ask

    def kill(self) -> None:
        """At once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Start one on 127.0.0.1 for the length of a block."""
    user = "postgres" if os.getuid() == 0 else None  # it does not run for root
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server = Postgres(folder, user)
        try:
            server.start()
            yield server
        finally:
            server.kill()
