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


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Start one on 127.0.0.1; give its address, as SQLAlchemy has it."""
    user = "postgres" if os.getuid() == 0 else None  # it does not run for root
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with _server(folder, user) as address:
            yield address


@contextlib.contextmanager
def _server(folder: Path, user: str | None) -> Iterator[str]:
    port = free_port()
    log = folder / "log"
    data = str(folder / "data")
    with log.open("wb") as stream:
        subprocess.run(
            [str(command("initdb")), "-D", data, "-U", "tracelet", "--auth=trust", "--no-sync"],
            user=user,
            cwd=folder,
            stdout=stream,
            stderr=stream,
            check=True,
        )
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        server = subprocess.Popen(
            [
                str(command("postgres")),
                "-D",
                data,
                *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
            ],
            user=user,
            cwd=folder,
            stdout=stream,
            stderr=stream,
        )
    try:
        until = time.monotonic() + 120
        ready = [str(command("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready).returncode:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)  # pg_isready is all there is to ask
        yield f"postgresql+psycopg2://tracelet@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once, whoever is connected
        server.wait()
