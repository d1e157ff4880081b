"""What fails is told in time, costs the training nothing, and is delivered once when it can be."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.faulty_proxy import FaultyProxy
from servers.mlflow_database import new_database
from servers.mlflow_server import MlflowServer

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

TROUBLES = {
    "refused": "BackendUnavailable",
    "500": "BackendUnavailable",
    "503": "BackendUnavailable",
    "401": "BackendAuthError",
    "403": "BackendAuthError",
    "hang": "BackendUnavailable",
}

STEP_BY_STEP = """
import json, os, time
from pathlib import Path
from tracelet import ArtifactType, Experiment

def step(name):
    Path(f"at-{name}").touch()
    while not Path(f"past-{name}").exists():
        time.sleep(0.02)

report = {}
exp = Experiment("troubled", backend="mlflow", artifacts=True)
exp.start()
artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
artifact.add_object("fine", "x")
exp.log_artifact(artifact)
# The first one pays for more than the deadline of the others is for.
assert exp.flush(600) == 0
for trouble in TROUBLES:
    step(trouble)
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(trouble, "x")
    began = time.monotonic()
    results = exp.log_artifact(artifact)
    took = time.monotonic() - began
    error = results.queued.get("mlflow")
    step(trouble + "-over")
    report[trouble] = [type(error).__name__, str(error), took, exp.flush(600)]
exp.stop()
print(json.dumps(report))
"""

MODEL = """
import json
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

with Experiment("late", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("late-line", ArtifactType.MODEL)
    artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), input_example=[[0.5]])
    results = exp.log_artifact(artifact, version="v1.0.0", aliases=["best"])
print(json.dumps([list(results), type(results.queued.get("mlflow")).__name__, exp.run_id]))
"""

#: Counts the processes that it starts.
READ_AND_LOG = """
import json, sys, time
from pathlib import Path
from tracelet import ArtifactType, BackendUnavailable, Experiment

started = []
sys.addaudithook(lambda event, arguments: started.append(event) if event == "subprocess.Popen" else None)

def step(name):
    Path(f"at-{name}").touch()
    while not Path(f"past-{name}").exists():
        time.sleep(0.02)

def log(content):
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    exp.log_artifact(artifact.add_object(content, "x"))
    assert exp.flush(600) == 0

def get():
    return exp.get_artifact("data").load_object("x")

told = ""
with Experiment(NAME, backend="mlflow", artifacts=True) as exp:
    log(1)
    assert get() == 1
    if TROUBLE:
        step("hang")
        try:
            get()
        except BackendUnavailable as error:
            told = str(error)
        step("hang-over")
    if AGAIN:
        log(2)
        assert get() == 2
print(json.dumps([told, len(started)]))
"""

START = """
import json
from tracelet import Experiment
exp = Experiment(NAME, backend="mlflow", artifacts=True)
with exp:
    left = exp.flush(600)
print(json.dumps(left))
"""

LARGE = """
import json, os, time
from tracelet import ArtifactType, Experiment, ExperimentConfig
with open("large.bin", "wb") as stream:
    stream.write(os.urandom(1 << 20) * 100)
exp = Experiment("large", backend="mlflow", artifacts=True, config=ExperimentConfig(on_large="upload", stop_timeout=5))
exp.start()
small = exp.create_artifact("small", ArtifactType.CUSTOM)
small.add_object(1, "x")
exp.log_artifact(small)
assert exp.flush(600) == 0
open("go", "w").close()
artifact = exp.create_artifact("large", ArtifactType.CUSTOM)
artifact.add_file("large.bin")
began = time.monotonic()
results = exp.log_artifact(artifact)
took = time.monotonic() - began
exp.stop()
print(json.dumps([took, type(results.queued["mlflow"]).__name__, results.queued["mlflow"].args[0]]))
"""

COMPARE = """
import hashlib, json
from tracelet import Experiment
exp = Experiment("large", backend="mlflow", artifacts=True)
found = [a.version for a in exp.list_artifacts() if a.name == "large"]
folder = exp.get_artifact("large").download("got")
print(json.dumps([found, hashlib.sha256((folder / "large.bin").read_bytes()).hexdigest()]))
"""


def wait_for(path: Path, process: subprocess.Popen[str], limit: float = 600.0) -> None:
    until = time.monotonic() + limit
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


def versions(client: MlflowClient, experiment: str, name: str) -> list[str]:
    """The versions of a name, as MLflow itself tells it."""
    index = client.get_experiment_by_name(f"{experiment}.tracelet")
    (run,) = client.search_runs([index.experiment_id], f"tags.`tracelet.name` = '{name}'")
    return sorted(tag for tag in run.data.tags if tag[0] == "v")


def runs(client: MlflowClient, experiment: str) -> list[Any]:
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


def test_every_kind_of_trouble_is_told_in_time_and_made_good(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """Refused, failing, locked out or silent in the middle of a run: queued, then delivered, each version once."""
    code = STEP_BY_STEP.replace("in TROUBLES", f"in {list(TROUBLES)}")
    folder = tmp_path / "program"
    with FaultyProxy(server.process.port) as proxy:
        environ = {"MLFLOW_TRACKING_URI": proxy.url, "TRACELET_DEADLINE": "4"}
        process = programs.begin(code, folder, environ)
        for trouble in TROUBLES:
            for mode, step in ((trouble, trouble), ("pass", f"{trouble}-over")):
                wait_for(folder / f"at-{step}", process)
                proxy.set(mode)
                (folder / f"past-{step}").touch()
        report = programs.finish(process)
    assert {trouble: told[0] for trouble, told in report.items()} == TROUBLES
    assert all(programs.soon(took, 10) for _, _, took, _ in report.values()), report
    assert {trouble: told[3] for trouble, told in report.items()} == dict.fromkeys(TROUBLES, 0)
    assert "MLFLOW_TRACKING_USERNAME" in report["401"][1]
    assert len(versions(client, "troubled", "data")) == 1 + len(TROUBLES)
    (run,) = runs(client, "troubled")
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("place", ["disk", "server"])
def test_who_logs_and_gets_and_logs_again_has_one_process(server: MlflowServer, tmp_path: Path, place: str) -> None:
    uri = server.url if place == "server" else new_database(tmp_path)
    code = READ_AND_LOG.replace("NAME", f"'one-{place}'").replace("TROUBLE", "False").replace("AGAIN", "True")
    assert programs.run(code, tmp_path / "program", {"MLFLOW_TRACKING_URI": uri}) == ["", 1]
    client = MlflowClient(tracking_uri=uri)
    assert [run.info.status for run in runs(client, f"one-{place}")] == ["FINISHED"]
    assert versions(client, f"one-{place}", "data") == ["v0", "v1"]


@pytest.mark.parametrize("again", [True, False])
def test_a_read_that_hangs_costs_a_process_and_not_the_run(
    server: MlflowServer, client: MlflowClient, tmp_path: Path, again: bool
) -> None:
    """The next process goes on in the same run of MLflow, and ends it, whether or not something is logged by then."""
    name = f"hung-{again}".lower()
    code = READ_AND_LOG.replace("NAME", repr(name)).replace("TROUBLE", "True").replace("AGAIN", str(again))
    folder = tmp_path / "program"
    with FaultyProxy(server.process.port) as proxy:
        process = programs.begin(code, folder, {"MLFLOW_TRACKING_URI": proxy.url, "TRACELET_DEADLINE": "10"})
        for mode, step in (("hang", "hang"), ("pass", "hang-over")):
            wait_for(folder / f"at-{step}", process)
            proxy.set(mode)
            (folder / f"past-{step}").touch()
        told, count = programs.finish(process)
    assert "did not answer within" in told
    assert count == 2
    assert [run.info.status for run in runs(client, name)] == ["FINISHED"]
    assert versions(client, name, "data") == (["v0", "v1"] if again else ["v0"])


def test_an_outage_at_logging_time_keeps_mlflows_form_of_a_model(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """A later process delivers it: registered, with alias and signature, in a run of its own."""
    with FaultyProxy(server.process.port) as proxy:
        environ = {"MLFLOW_TRACKING_URI": proxy.url, "TRACELET_DIR": str(tmp_path / "tracelet")}
        proxy.set("refused")
        logged, error, _ = programs.run(MODEL, tmp_path / "first", {**environ, "TRACELET_STOP_TIMEOUT": "3"})
        assert (logged, error) == ([], "BackendUnavailable")
        proxy.set("pass")
        assert programs.run(START.replace("NAME", "'late'"), tmp_path / "second", environ) == 0
    version = client.get_model_version_by_alias("late-line", "v1-0-0")
    assert version.version == client.get_model_version_by_alias("late-line", "best").version == "1"
    code = """
    import json, mlflow
    model = mlflow.sklearn.load_model("models:/late-line@best")
    info = mlflow.models.get_model_info("models:/late-line/1")
    print(json.dumps([float(model.predict([[2.0]])[0]), info.signature is not None]))
    """
    prediction, has_signature = programs.run(code, tmp_path / "third", {"MLFLOW_TRACKING_URI": server.url})
    assert prediction == pytest.approx(4.0)
    assert has_signature
    assert {run.info.status for run in runs(client, "late")} == {"FINISHED"}


def test_an_experiment_that_was_deleted_is_told_and_can_be_restored(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """Nothing is lost meanwhile."""
    environ = {
        "MLFLOW_TRACKING_URI": server.url,
        "TRACELET_DIR": str(tmp_path / "tracelet"),
        "TRACELET_STOP_TIMEOUT": "5",
    }
    code = """
    import json
    from tracelet import ArtifactType, Experiment
    with Experiment("deleted", backend="mlflow", artifacts=True) as exp:
        artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
        artifact.add_object(SALT, "x")
        results = exp.log_artifact(artifact)
    print(json.dumps([list(results), str(results.queued.get("mlflow"))]))
    """
    assert programs.run(code.replace("SALT", "1"), tmp_path / "first", environ)[0] == ["mlflow"]
    experiment = client.get_experiment_by_name("deleted").experiment_id
    client.delete_experiment(experiment)
    logged, message = programs.run(code.replace("SALT", "2"), tmp_path / "second", environ)
    assert logged == []
    assert f"mlflow experiments restore -x {experiment}" in message
    client.restore_experiment(experiment)
    assert programs.run(START.replace("NAME", "'deleted'"), tmp_path / "third", environ) == 0
    assert versions(client, "deleted", "data") == ["v0", "v1"]


def test_a_server_killed_in_the_middle_of_100_megabytes_gets_them_once(tmp_path: Path) -> None:
    """`log_artifact` returns in time; a new process, when the server is there again, delivers exactly once."""
    (tmp_path / "server").mkdir()
    with MlflowServer(tmp_path / "server") as server, FaultyProxy(server.process.port) as proxy:
        environ = {
            "MLFLOW_TRACKING_URI": proxy.url,
            "TRACELET_DIR": str(tmp_path / "tracelet"),
            "TRACELET_DEADLINE": "10",
        }
        process = programs.begin(LARGE, tmp_path / "first", environ)
        wait_for(tmp_path / "first" / "go", process)
        proxy.after(40_000_000, server.process.kill)
        took, error, message = programs.finish(process)
        assert error == "BackendUnavailable", message
        assert programs.soon(took, 10 + 105 + 5)
        server.process.start()
        assert programs.run(START.replace("NAME", "'large'"), tmp_path / "second", environ) == 0
        found, sha256 = programs.run(COMPARE, tmp_path / "third", environ)
    import hashlib

    assert found == ["v0"]
    assert sha256 == hashlib.sha256((tmp_path / "first" / "large.bin").read_bytes()).hexdigest()
    assert len(list((tmp_path / "server" / "artifacts").rglob("large.bin"))) == 1
