"""What one process logs another one reads, and two log at once, whatever MLflow stands on and behind."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.places import Deployment
from servers import programs
from servers.mlflow_server import replace_files, replace_manifests, runs_of
from tracelet.testing import BackendContract

ALL = ["on_postgres", "with_passwords", "behind_a_front"]

LOG = """
import json, os
from pathlib import Path
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

Path("data").mkdir(exist_ok=True)
Path("data/notes äö#1.txt").write_text("notes")
Path("data/weights.bin").write_bytes(bytes(range(256)) * 20_000)
with Experiment("round", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("line", ArtifactType.MODEL, "it's a \\"line\\"")
    artifact.add_dir("data").add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
    artifact.metadata.update({"loss": 0.25, "optimizer": "adam", "quoted": "it's"})
    results = exp.log_artifact(artifact, version="v1.2.0", aliases=["best"])
    results.raise_for_errors()
    exp.use_artifact("line")
print(json.dumps(results["mlflow"].digest))
"""

READ = """
import hashlib, json, mlflow
from pathlib import Path
from tracelet import Experiment

exp = Experiment("round", backend="mlflow", artifacts=True)
found = exp.get_artifact("line", "best")
folder = found.download("got")
client = mlflow.MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("round").experiment_id], order_by=["metrics.`line/loss` DESC"])
run = client.get_run(run.info.run_id)
print(json.dumps([
    found.digest, found.version, found.description, found.metadata["quoted"],
    (folder / "notes äö#1.txt").read_text(), hashlib.sha256((folder / "weights.bin").read_bytes()).hexdigest(),
    float(found.load_model().predict([[2.0]])[0]),
    float(mlflow.sklearn.load_model("models:/line@best").predict([[2.0]])[0]),
    run.data.metrics["line/loss"], len(run.inputs.model_inputs), run.info.status,
]))
"""

WRITER = """
import json, sys, time
from pathlib import Path
from tracelet import ArtifactType, Experiment
with Experiment("both", backend="mlflow", artifacts=True) as exp:
    Path("ready").touch()
    while not Path("../go").exists():
        time.sleep(0.02)
    found = []
    for number in range(5):
        artifact = exp.create_artifact("data", ArtifactType.DATASET).add_object([WHO, number], "x")
        results = exp.log_artifact(artifact)
        found.append([results["mlflow"].version if results.ok else str(results.failed or results.queued), [WHO, number]])
    left = exp.flush(600)
print(json.dumps([found, left]))
"""

READ_BOTH = """
import json
from tracelet import Experiment
exp = Experiment("both", backend="mlflow", artifacts=True)
print(json.dumps([[one.version, one.load_object("x")] for one in exp.list_artifacts()]))
"""


@pytest.fixture(params=ALL)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    found: Deployment = request.getfixturevalue(request.param)
    return found


def test_another_process_has_back_what_was_logged(deployment: Deployment, tmp_path: Path) -> None:
    """Files, model, label and alias, by Tracelet and by MLflow itself; and MLflow's own pages have numbers and inputs."""
    digest = programs.run(LOG, tmp_path / "writer", deployment.environ)
    told = programs.run(READ, tmp_path / "reader", deployment.environ)
    weights = hashlib.sha256(bytes(range(256)) * 20_000).hexdigest()
    assert told[:6] == [digest, "v1.2.0", 'it\'s a "line"', "it's", "notes", weights]
    assert told[6:8] == [pytest.approx(4.0), pytest.approx(4.0)]
    assert told[8:] == [0.25, 1, "FINISHED"]


def test_two_that_write_at_once_get_versions_of_their_own(deployment: Deployment, tmp_path: Path) -> None:
    """Into a name that neither of them has seen before."""
    writers = [
        programs.begin(WRITER.replace("WHO", repr(who)), tmp_path / who, deployment.environ) for who in ("one", "two")
    ]
    for who, process in zip(("one", "two"), writers, strict=True):
        while not (tmp_path / who / "ready").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
    (tmp_path / "go").touch()
    reports = [programs.finish(process) for process in writers]
    assert [left for _, left in reports] == [0, 0]
    logged = [tuple(map(str, each)) for found, _ in reports for each in found]
    assert sorted(version for version, _ in logged) == [f"v{number}" for number in range(10)]
    there = programs.run(READ_BOTH, tmp_path / "reader", deployment.environ)
    assert sorted(tuple(map(str, each)) for each in there) == sorted(logged)


LOCKED_OUT = """
import json
from tracelet import ArtifactType, Experiment
with Experiment("locked-out", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM).add_object(1, "x")
    results = exp.log_artifact(artifact)
error = results.queued.get("mlflow")
print(json.dumps([list(results), type(error).__name__, str(error)]))
"""

LET_IN = """
import json
from tracelet import Experiment
with Experiment("locked-out", backend="mlflow", artifacts=True) as exp:
    left = exp.flush(600)
print(json.dumps([left, [one.version for one in exp.list_artifacts()]]))
"""


def locked_out(environ: dict[str, str], folder: Path) -> list[Any]:
    """What a program says that is not let in; it ends in the time that it has, though nothing could be delivered."""
    limits = {"TRACELET_DIR": str(folder / "tracelet"), "TRACELET_STOP_TIMEOUT": "5"}
    began = time.monotonic()
    told: list[Any] = programs.run(LOCKED_OUT, folder / "first", {**environ, **limits})
    assert programs.soon(time.monotonic() - began, 60)
    return told


@pytest.mark.parametrize("password", ["a-wrong-password", None])
def test_a_wrong_password_is_said_in_time_and_nothing_is_lost(
    with_passwords: Deployment, tmp_path: Path, password: str | None
) -> None:
    """Or none at all: the error says what to set, and the right one delivers what waits."""
    right = with_passwords.environ
    wrong = {name: value for name, value in right.items() if not name.endswith(("USERNAME", "PASSWORD"))}
    if password is not None:
        wrong |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    logged, kind, message = locked_out(wrong, tmp_path)
    assert (logged, kind) == ([], "BackendAuthError")
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in message
    assert "a-wrong-password" not in message
    left, versions = programs.run(LET_IN, tmp_path / "second", {**right, "TRACELET_DIR": str(tmp_path / "tracelet")})
    assert left == 0
    assert versions[-1] == "v0"


def test_a_certificate_that_nobody_vouches_for_is_said_in_time(behind_a_front: Deployment, tmp_path: Path) -> None:
    """The error says how to trust it; the connection is not made until then."""
    environ = dict(behind_a_front.environ)
    del environ["MLFLOW_TRACKING_SERVER_CERT_PATH"]
    logged, kind, message = locked_out(environ, tmp_path)
    assert (logged, kind) == ([], "BackendUnavailable")
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in message


class OnDeployment(BackendContract):
    @pytest.fixture
    def backend(self) -> str:
        return "mlflow"

    @pytest.fixture
    def sdk_modules(self) -> tuple[str, ...]:
        return ("mlflow", "alembic", "sqlalchemy", "pandas", "requests")

    @pytest.fixture
    def unreachable(self, environ: dict[str, str]) -> dict[str, str]:
        return {**environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

    @pytest.fixture
    def tamper(self, deployment: Deployment) -> Callable[[bytes, bytes], int]:
        server = deployment.server
        return lambda old, new: replace_manifests(server.store, old, new) + replace_files(server.artifacts, old, new)

    @pytest.fixture
    def footprint(self, deployment: Deployment) -> Callable[[], object]:
        return lambda: runs_of(deployment.server.store)

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, deployment: Deployment) -> dict[str, str]:
        return deployment.environ


class TestOnPostgres(OnDeployment):
    @pytest.fixture(scope="class")
    @classmethod
    def deployment(cls, on_postgres: Deployment) -> Deployment:
        return on_postgres


class TestWithPasswords(OnDeployment):
    @pytest.fixture(scope="class")
    @classmethod
    def deployment(cls, with_passwords: Deployment) -> Deployment:
        return with_passwords


class TestBehindAFront(OnDeployment):
    @pytest.fixture(scope="class")
    @classmethod
    def deployment(cls, behind_a_front: Deployment) -> Deployment:
        return behind_a_front
