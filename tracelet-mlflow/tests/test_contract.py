"""The contract of a backend: on a database and a folder of this machine, through a server, and with a bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from servers.mlflow_server import MlflowServer, replace_files, replace_manifests, runs_of
from servers.s3_server import S3Server
from tracelet.testing import BackendContract

URI = "TRACELET_MLFLOW_TRACKING_URI"


class OnMlflow(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "mlflow"

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("mlflow", "alembic", "sqlalchemy", "pandas", "requests")


class TestOnSqlite(OnMlflow):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return {URI: f"sqlite:///{tmp_path_factory.mktemp('place') / 'mlflow.db'}"}

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Mapping[str, str]:
        (tmp_path / "a file").write_bytes(b"")
        return {URI: f"sqlite:///{tmp_path / 'a file' / 'mlflow.db'}"}

    @pytest.fixture
    def tamper(self, environ: Mapping[str, str]) -> Callable[[bytes, bytes], int]:
        database = Path(environ[URI].removeprefix("sqlite:///"))
        return lambda old, new: replace_manifests(environ[URI], old, new) + replace_files(database.parent, old, new)

    @pytest.fixture
    def footprint(self, environ: Mapping[str, str]) -> Callable[[], object]:
        """The database itself grows when tags for people are written, which is behind the put."""
        folder = Path(environ[URI].removeprefix("sqlite:///")).parent
        return lambda: (
            runs_of(environ[URI]),
            sorted(path for path in folder.rglob("*") if not path.name.startswith("mlflow.db")),
        )


class TestOnAServer(OnMlflow):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, server: MlflowServer) -> dict[str, str]:
        return {URI: server.url}

    @pytest.fixture
    def tamper(self, server: MlflowServer) -> Callable[[bytes, bytes], int]:
        return lambda old, new: replace_manifests(server.store, old, new) + replace_files(server.artifacts, old, new)

    @pytest.fixture
    def footprint(self, server: MlflowServer) -> Callable[[], object]:
        return lambda: runs_of(server.store)


class TestOnAServerWithABucket(OnMlflow):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, s3_server: MlflowServer, bucket: S3Server) -> dict[str, str]:
        return {URI: s3_server.url, **bucket.environ}

    @pytest.fixture
    def unreachable(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        return {**environ, URI: "http://127.0.0.1:9"}

    @pytest.fixture
    def tamper(self, s3_server: MlflowServer, bucket: S3Server) -> Callable[[bytes, bytes], int]:
        return lambda old, new: replace_manifests(s3_server.store, old, new) + bucket.replace(old, new)

    @pytest.fixture
    def footprint(self, s3_server: MlflowServer) -> Callable[[], object]:
        return lambda: runs_of(s3_server.store)
