"""Which MLflow run gets an artifact, and who ends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer

RACE = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tracelet.plugin import BackendContext, RunInfo
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import open_backend

backends = []
for number in range(6):
    Path(str(number)).mkdir()
    # As in six processes: each is another one's lane.
    sdk = {"process": str(number), "since": 0.0}
    context = BackendContext(Path(str(number)).absolute(), sdk)
    backends.append(open_backend("race", MlflowSettings(tracking_uri=URI), context))
run = RunInfo("r" * 32, "race", time.time())
with ThreadPoolExecutor(6) as pool:
    list(pool.map(lambda backend: backend.start(run), backends))
    ids = [backend._opened.runs.home(run).run_id for backend in backends]
    for backend in backends[1:]:
        backend.stop(failed=True)
    backends[0].stop(failed=True)
print(json.dumps(ids))
"""

FAILS = """
import json
from tracelet import ArtifactType, Experiment
try:
    with Experiment("fails", backend="mlflow", artifacts=True) as exp:
        artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
        artifact.add_object(1, "x")
        exp.log_artifact(artifact).raise_for_errors()
        raise KeyError("training failed")
except KeyError:
    print(json.dumps(exp.run_id))
"""

NOTHING = """
import json
from tracelet import Experiment
with Experiment("nothing", backend="mlflow", artifacts=True):
    pass
print(json.dumps(0))
"""

CREDENTIALS = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG)
from tracelet import ArtifactType, Experiment
with Experiment("secret", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(1, "x")
    results = exp.log_artifact(artifact)
print(repr(results), exp._artifact_manager.get_stats(), file=sys.stderr)
print(json.dumps(str(results.queued.get("mlflow"))))
"""


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


def test_all_processes_agree_on_one_run(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    """Whoever delivers for the same run at the same moment; only who made it ends it."""
    ids = programs.run(RACE.replace("=URI", f"={server.url!r}"), tmp_path, {})
    assert len(set(ids)) == 1
    (run,) = client.search_runs([client.get_experiment_by_name("race").experiment_id])
    assert (run.info.run_id, run.info.status) == (ids[0], "FAILED")
    assert run.data.tags["tracelet.run_id"] == "r" * 32


def test_a_run_that_fails_is_failed(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    """In MLflow, too."""
    programs.run(FAILS, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    (run,) = client.search_runs([client.get_experiment_by_name("fails").experiment_id])
    assert run.info.status == "FAILED"


def test_a_run_without_artifacts_makes_nothing(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    """No experiment, no run, no index."""
    programs.run(NOTHING, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert client.get_experiment_by_name("nothing") is None
    assert client.get_experiment_by_name("nothing.tracelet") is None


def test_credentials_in_the_address_are_nowhere_to_be_read(tmp_path: Path) -> None:
    """Not in errors, logs, statistics or the outbox."""
    environ = {"MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:9", "TRACELET_STOP_TIMEOUT": "3"}
    process = programs.begin(CREDENTIALS, tmp_path / "program", environ)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "does not answer" in out
    assert "hunter2" not in out + err
    for path in (tmp_path / "program" / ".tracelet").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()
