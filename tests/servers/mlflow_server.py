"""A real `mlflow server`, and hands that change what it stores behind its back."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, create_engine, text

from servers.mlflow_database import new_database
from servers.processes import ServerProcess, free_port


class MlflowServer:
    """On sqlite in a folder, or on the database `store`. Artifacts go through it, to that folder or to `artifacts`, unless it is not `proxied`."""

    def __init__(
        self,
        folder: Path,
        *,
        artifacts: str = "",
        proxied: bool = True,
        store: str = "",
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        #: Its database, as SQLAlchemy has it.
        self.store = store or new_database(folder)
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
                *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)),
                *("--workers", "1", "--backend-store-uri", self.store, *where, *options),
            ],
            port,
            "/health",
            folder / "server.log",
            {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **(environ or {})},
            host=host,
        )
        self.url = f"http://{host}:{port}"

    def __enter__(self) -> MlflowServer:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()


def replace_manifests(store: str, old: bytes, new: bytes) -> int:
    """Replace bytes in the manifests that Tracelet's index holds in a database; return in how many."""
    changed = 0
    with _database(store) as connection:
        rows = connection.execute(text("SELECT run_uuid, key, value FROM tags WHERE key LIKE 'v%'")).fetchall()
        for run, key, value in rows:
            record = json.loads(value) if key[1:].isdecimal() else {}
            manifest = zlib.decompress(base64.b64decode(record["manifest"])) if "manifest" in record else b""
            if old in manifest:
                record["manifest"] = base64.b64encode(zlib.compress(manifest.replace(old, new))).decode()
                place = text("UPDATE tags SET value = :value WHERE run_uuid = :run AND key = :key")
                connection.execute(place, {"value": json.dumps(record), "run": run, "key": key})
                changed += 1
    return changed


def runs_of(store: str) -> list[tuple[object, ...]]:
    """Every run of a database and how it is, and every experiment."""
    with _database(store) as connection:
        asked = ("SELECT run_uuid, status, end_time FROM runs", "SELECT name, lifecycle_stage FROM experiments")
        return sorted((tuple(row) for one in asked for row in connection.execute(text(one))), key=repr)


@contextlib.contextmanager
def _database(store: str) -> Iterator[Connection]:
    engine = create_engine(store)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def replace_files(folder: Path, old: bytes, new: bytes) -> int:
    """Replace bytes in every file below a folder but databases; return in how many."""
    changed = 0
    for path in folder.rglob("*"):
        if path.is_file() and ".db" not in path.name and old in (content := path.read_bytes()):
            path.write_bytes(content.replace(old, new))
            changed += 1
    return changed
