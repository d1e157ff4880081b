"""A real `mlflow server`, and hands that change what it stores behind its back."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from servers.processes import ServerProcess, free_port


class MlflowServer:
    """On sqlite in a folder. Artifacts go through it, to that folder or to `artifacts`, unless it is not `proxied`."""

    def __init__(
        self, folder: Path, *, artifacts: str = "", proxied: bool = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        place = artifacts or str(self.artifacts)
        where = (
            ["--artifacts-destination", place]
            if proxied
            else ["--no-serve-artifacts", "--default-artifact-root", place]
        )
        port = free_port()
        self.process = ServerProcess(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
                *("--workers", "1", "--backend-store-uri", f"sqlite:///{self.database}", *where),
            ],
            port,
            "/health",
            folder / "server.log",
            {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **(environ or {})},
        )
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> MlflowServer:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()


def replace_manifests(database: Path, old: bytes, new: bytes) -> int:
    """Replace bytes in the manifests that Tracelet's index holds; return in how many."""
    changed = 0
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT run_uuid, key, value FROM tags WHERE key GLOB 'v[0-9]*'").fetchall()
        for run, key, value in rows:
            record = json.loads(value)
            text = zlib.decompress(base64.b64decode(record["manifest"])) if "manifest" in record else b""
            if old in text:
                record["manifest"] = base64.b64encode(zlib.compress(text.replace(old, new))).decode()
                place = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?"
                connection.execute(place, (json.dumps(record), run, key))
                changed += 1
    return changed


def replace_files(folder: Path, old: bytes, new: bytes) -> int:
    """Replace bytes in every file below a folder but databases; return in how many."""
    changed = 0
    for path in folder.rglob("*"):
        if path.is_file() and ".db" not in path.name and old in (content := path.read_bytes()):
            path.write_bytes(content.replace(old, new))
            changed += 1
    return changed
