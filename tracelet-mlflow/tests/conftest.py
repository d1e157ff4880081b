"""Servers, each started once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.mlflow_server import MlflowServer
from servers.s3_server import S3Server


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
