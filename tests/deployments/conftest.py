"""MLflow as it is found where many use it: on PostgreSQL, with passwords, and behind a front of the company's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.places import Deployment, needs
from servers import postgres
from servers.front import Front
from servers.mlflow_server import MlflowServer

USER, PASSWORD = "admin", "correct-horse-battery"


@pytest.fixture(scope="session")
def database() -> Iterator[postgres.Postgres]:
    needs(commands=postgres.NEEDED, how="On Debian: apt-get install postgresql")
    needs(modules=("psycopg2",), how="The session `deployments` of nox installs it")
    with postgres.postgres() as started:
        yield started


@pytest.fixture(scope="session")
def on_postgres(database: postgres.Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with MlflowServer(tmp_path_factory.mktemp("on-postgres"), store=database.address) as server:
        yield Deployment(server, {"MLFLOW_TRACKING_URI": server.url})


@pytest.fixture(scope="session")
def with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    needs(modules=("flask_wtf",), how="The session `deployments` of nox installs it")
    folder = tmp_path_factory.mktemp("with-passwords")
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # Or each request takes a tenth of a second to hash the password.
        "auth_cache_ttl_seconds = 60\n"
    )
    environ = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests alone"}
    with MlflowServer(folder, options=("--app-name", "basic-auth"), environ=environ) as server:
        login = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        yield Deployment(server, {"MLFLOW_TRACKING_URI": server.url, **login})


@pytest.fixture(scope="session")
def behind_a_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    needs(commands=("openssl",), how="On Debian: apt-get install openssl")
    folder: Path = tmp_path_factory.mktemp("behind-a-front")
    with MlflowServer(folder) as server, Front(folder / "front", server.process.port, "team/mlflow") as front:
        trust = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(front.certificate)}
        yield Deployment(server, {"MLFLOW_TRACKING_URI": front.url, **trust})
