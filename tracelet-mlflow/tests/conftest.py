"""Servers, each started once a session, and a database of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from servers.mlflow_database import new_database
from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server
from tracelet.plugin import BackendContext, RunInfo
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import MlflowBackend, open_backend


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """`mlflow server` on sqlite, with artifacts in a folder of its own, which clients reach through it."""
    with MlflowServer(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="session")
def bucket() -> Iterator[S3Server]:
    """A bucket."""
    with S3Server("artifacts") as started:
        yield started


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory, bucket: S3Server) -> Iterator[MlflowServer]:
    """`mlflow server` whose clients put artifacts into the bucket themselves."""
    folder = tmp_path_factory.mktemp("s3-server")
    with MlflowServer(folder, artifacts=bucket.url("mlflow"), proxied=False, environ=bucket.environ) as started:
        yield started


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A database that no server serves."""
    return new_database(tmp_path)


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def opened(tmp_path: Path, uri: str) -> Callable[..., MlflowBackend]:
    """Opens the backend of an experiment and begins a run; `run_id` is the MLflow run that the user has begun."""

    def open_it(experiment: str = "trials", run_id: str = "", where: str = uri) -> MlflowBackend:
        context = BackendContext(tmp_path, {"process": "this", "since": 0.0, "run_id": run_id})
        backend = open_backend(experiment, MlflowSettings(tracking_uri=where), context)
        backend.start(RunInfo(f"run-of-{experiment}", experiment, 1.0))
        return backend

    return open_it
