"""The user's own MLflow is left alone, and honoured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

STATE = """
import json, os, sys
import mlflow

def state():
    active = mlflow.active_run()
    return [mlflow.get_tracking_uri(), mlflow.get_registry_uri(), active and active.info.run_id,
            {key: value for key, value in os.environ.items() if key.startswith(("MLFLOW", "AWS", "GIT"))}]
"""

ACTIVE = (
    STATE
    + """
from tracelet import ArtifactType, Experiment

mlflow.set_tracking_uri(URI)
mlflow.set_experiment("theirs")
with mlflow.start_run() as run:
    before = state()
    with Experiment("attached", backend="mlflow", artifacts=True) as exp:
        artifact = exp.create_artifact("report", ArtifactType.REPORT)
        artifact.add_file("program.py")
        result = exp.log_artifact(artifact)["mlflow"]
    mlflow.log_metric("after", 1.0)
    after = state()
print(json.dumps({"run": run.info.run_id, "uri": result.uri, "unchanged": before == after, "files": sorted(os.listdir("."))}))
"""
)

THREADS = """
import json, threading
from tracelet import ArtifactType, Experiment

def work(name, results):
    with Experiment(name, backend="mlflow", artifacts=True) as exp:
        for number in range(5):
            artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
            artifact.add_object([name, number], "x")
            results.append(exp.log_artifact(artifact)["mlflow"].uri)

found = {"one": [], "two": []}
threads = [threading.Thread(target=work, args=item) for item in found.items()]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""

DEFAULT = """
import json, os, sys
from tracelet import ArtifactType, Experiment

with Experiment("mine", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM, "what it is")
    artifact.add_object({"a": 1}, "x")
    artifact.metadata["score"] = 0.5
    artifact.metadata["long"] = "x" * 9000
    print(exp.log_artifact(artifact)["mlflow"].uri, file=sys.stderr)
print(json.dumps({"files": sorted(os.listdir(".")), "loaded": "mlflow" in sys.modules}))
"""


def the_run(client: MlflowClient, uri: str) -> Any:
    return client.get_run(uri.split("/")[1])


MANY = """
import json
from tracelet import ArtifactType, Experiment

with Experiment("many", backend="mlflow", artifacts=True) as exp:
    for number in range(130):
        artifact = exp.create_artifact(f"part-{number % 120}", ArtifactType.CUSTOM).add_object(number, "x")
        uri = exp.log_artifact(artifact)["mlflow"].uri
print(json.dumps(uri))
"""


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


def test_an_active_run_gets_the_artifacts_and_is_not_ended(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """A tracking URI that was set in code is honoured; the user's own `with` block ends the run."""
    told = programs.run(ACTIVE.replace("URI)", f"{server.url!r})"), tmp_path / "program", {})
    assert told["unchanged"]
    folder = told["uri"].removeprefix(f"runs:/{told['run']}/")
    assert re.fullmatch("report/v0-[0-9a-f]{12}", folder)
    run = client.get_run(told["run"])
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"after": 1.0})
    assert run.data.tags["tracelet.run_id"]
    assert [info.path for info in client.list_artifacts(told["run"], folder)] == [
        f"{folder}/program.py",
        f"{folder}/tracelet.json",
    ]
    assert told["files"] == [".tracelet", "program.py"]
    assert client.get_experiment_by_name("attached") is None


def test_two_experiments_in_two_threads_keep_apart(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    """Each has a run of its own, in its own MLflow experiment, and both are finished."""
    told = programs.run(THREADS, tmp_path / "program", {"MLFLOW_TRACKING_URI": server.url})
    for name, uris in told.items():
        (run_id,) = {uri.split("/")[1] for uri in uris}
        run = client.get_run(run_id)
        assert run.info.experiment_id == client.get_experiment_by_name(name).experiment_id
        assert run.info.status == "FINISHED"
        assert [uri.rpartition("/")[2] for uri in uris] == [f"v{number}" for number in range(5)]


def test_with_nothing_set_it_is_where_mlflow_itself_would_be(tmp_path: Path) -> None:
    """`mlflow.db` and `mlruns` in the current folder, and nothing besides; the program loads no MLflow."""
    told = programs.run(DEFAULT, tmp_path / "program", {})
    assert told == {"files": [".tracelet", "mlflow.db", "mlruns", "program.py"], "loaded": False}
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'program' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment.artifact_location == (
        tmp_path / "program" / "mlruns" / experiment.experiment_id
    ).as_uri().replace("file://", "")
    (run,) = client.search_runs([experiment.experiment_id])
    assert '"description": "what it is"' in run.data.tags["tracelet.artifact.data"]
    assert max(len(value) for value in run.data.tags.values()) < 8000
    assert "data/v0/tracelet.json" in {info.path for info in client.list_artifacts(run.info.run_id, "data/v0")}


def test_the_run_shows_the_newest_version_of_every_name(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """More names than MLflow takes tags in one request."""
    uri = programs.run(MANY, tmp_path / "program", {"MLFLOW_TRACKING_URI": server.url})
    tags = the_run(client, uri).data.tags
    shown = {name: json.loads(text)["version"] for name, text in tags.items() if name.startswith("tracelet.artifact.")}
    assert shown == {f"tracelet.artifact.part-{number}": "v1" if number < 10 else "v0" for number in range(120)}


def test_the_settings_variable_comes_first(server: MlflowServer, client: MlflowClient, tmp_path: Path) -> None:
    """TRACELET_MLFLOW_TRACKING_URI is about Tracelet alone, so an active run elsewhere is not attached to."""
    code = ACTIVE.replace("URI)", f"{'sqlite:///' + str(tmp_path / 'theirs.db')!r})").replace(
        '"attached"', '"elsewhere"'
    )
    told = programs.run(code, tmp_path / "program", {"TRACELET_MLFLOW_TRACKING_URI": server.url})
    assert told["unchanged"]
    run = the_run(client, told["uri"])
    assert run.info.run_id != told["run"]
    assert run.info.experiment_id == client.get_experiment_by_name("elsewhere").experiment_id
