"""A real `aim server`, and hands that change what a repo holds behind its back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.processes import ServerProcess, free_port


class AimServer:
    """On a repo in a folder; `python -m servers.aim_server FOLDER` serves one until it is interrupted.

    `aim server` starts a second process that holds the port, and that its own end leaves behind: so it is a
    process group, and ended as one.
    """

    def __init__(self, folder: Path, command: str = "server", host: str = "127.0.0.1") -> None:
        """`command` may be `up`, which shows runs and takes none."""
        self.folder = folder
        port = free_port()
        self.process = ServerProcess(
            [
                *(str(Path(sys.executable).with_name("aim")), command, "--repo", str(folder)),
                *("--host", host, "--port", str(port), "--yes"),
            ],
            port,
            "/status/" if command == "server" else "/api/projects/",
            folder / f"aim-{command}.log",
            {},
            host=host,
        )
        self.address = f"aim://{host}:{port}"
        self.url = f"http://{host}:{port}"

    def __enter__(self) -> AimServer:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()


def catalogues(folder: Path) -> dict[str, Any]:
    """Return everything that Tracelet's catalogues in a repo hold, by experiment."""
    found: dict[str, Any] = json.loads(_by_hand(folder, "show"))
    return found


def replace_in_catalogues(folder: Path, old: bytes, new: bytes) -> int:
    """Replace bytes in the manifests that the catalogues hold; return in how many."""
    return int(_by_hand(folder, "replace", old.hex(), new.hex()))


def _by_hand(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "servers.aim_hands", str(folder), *arguments]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    with AimServer(Path(sys.argv[1]).absolute()) as server:
        print(server.address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
