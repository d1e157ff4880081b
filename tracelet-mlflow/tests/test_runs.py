"""Which MLflow run gets an artifact, and who ends it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.faulty_proxy import FaultyProxy
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

#: What programs do with their own MLflow between one artifact and the next, and what they hear.
MEANWHILE = """
import json, logging, os
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

heard = []
listener = logging.Handler()
listener.emit = lambda record: heard.append(record.getMessage())
logging.getLogger("tracelet").addHandler(listener)
client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])

def log(exp, content, kind=ArtifactType.CUSTOM):
    artifact = exp.create_artifact(f"a-{kind.value}", kind).add_object(content, "x")
    if kind is ArtifactType.MODEL:
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, content]))
    return exp.log_artifact(artifact)

def run_of(results):
    return results["mlflow"].uri.split("/")[1]

def contents(exp):
    return sorted([one.name, one.version, one.load_object("x")] for one in exp.list_artifacts())
"""

DELETED_RUNS = (
    MEANWHILE
    + """
with Experiment("deleted-runs", backend="mlflow", artifacts=True) as exp:
    runs = [run_of(log(exp, 1))]
    for content, kind in ((2, ArtifactType.CUSTOM), (3, ArtifactType.MODEL)):
        client.delete_run(runs[-1])
        runs.append(run_of(log(exp, content, kind)))
    client.delete_run(runs[-1])
    exp.use_artifact("a-custom", "v0")
    runs.append(run_of(log(exp, 4)))
print(json.dumps([runs, contents(exp), heard]))
"""
)

DELETED_EXPERIMENT = (
    MEANWHILE
    + """
with Experiment(NAME, backend="mlflow", artifacts=True) as exp:
    assert log(exp, 1).ok
    gone = client.get_experiment_by_name(NAME).experiment_id
    client.delete_experiment(gone)
    results = log(exp, 2)
    client.restore_experiment(gone)
    left = exp.flush(600)
    assert log(exp, 3).ok
print(json.dumps([str(results.queued["mlflow"]), gone, left, contents(exp)]))
"""
)

LATE = (
    MEANWHILE
    + """
with Experiment("late-run", backend="mlflow", artifacts=True) as exp:
    log(exp, 1)
    # The first one pays for more than the deadline of the other is for.
    assert exp.flush(600) == 0
    (first,) = client.search_runs([client.get_experiment_by_name("late-run").experiment_id])
    step()
    queued = log(exp, 2, ArtifactType.MODEL).queued
print(json.dumps([first.info.run_id, list(queued)]))
"""
)

STEP = """
import time
from pathlib import Path
def step():
    Path("at").touch()
    while not Path("past").exists():
        time.sleep(0.02)
"""

DELIVERED = (
    MEANWHILE
    + """
with Experiment("late-run", backend="mlflow", artifacts=True) as exp:
    left = exp.flush(600)
print(json.dumps([left, contents(exp)]))
"""
)


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


def reached(folder: Path, process: Any) -> None:
    while not (folder / "at").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


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


# -- runs and experiments that somebody deleted


def test_a_run_that_is_deleted_while_it_is_on_has_one_that_takes_its_place(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """MLflow would take files into it, and its `gc` would remove them. Each that is deleted is named, and none is ended."""
    runs, contents, heard = programs.run(DELETED_RUNS, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert len(set(runs)) == 4
    assert contents == [["a-custom", "v0", 1], ["a-custom", "v1", 2], ["a-custom", "v2", 4], ["a-model", "v0", 3]]
    (last,) = client.search_runs([client.get_experiment_by_name("deleted-runs").experiment_id])
    assert (last.info.run_id, last.info.status) == (runs[-1], "FINISHED")
    assert last.data.tags["tracelet.instead_of"] == ", ".join(runs[:-1])
    assert runs[0] in last.data.tags["mlflow.note.content"]
    assert [one.dataset.name for one in client.get_run(runs[-1]).inputs.dataset_inputs] == ["a-custom"]
    # On a busy machine, what was to be shown on the deleted run may still come too late, which is said as well.
    assert len([line for line in heard if line.endswith("go to the run " + runs[1] + ".")]) == 1


def test_what_waits_for_a_run_that_was_deleted_is_delivered(
    server: MlflowServer, client: MlflowClient, tmp_path: Path
) -> None:
    """Its models were refused for ever, for MLflow notes nothing in a deleted run."""
    with FaultyProxy(server.process.port) as proxy:
        environ = {"MLFLOW_TRACKING_URI": proxy.url, "TRACELET_DIR": str(tmp_path / "tracelet")}
        limits = {"TRACELET_DEADLINE": "4", "TRACELET_STOP_TIMEOUT": "4"}
        process = programs.begin(STEP + LATE, tmp_path / "first", {**environ, **limits})
        reached(tmp_path / "first", process)
        proxy.set("refused")
        (tmp_path / "first" / "past").touch()
        first, queued = programs.finish(process)
        assert queued == ["mlflow"]
        client.delete_run(first)
        proxy.set("pass")
        left, contents = programs.run(DELIVERED, tmp_path / "second", environ)
    assert (left, contents) == (0, [["a-custom", "v0", 1], ["a-model", "v0", 2]])
    (run,) = client.search_runs([client.get_experiment_by_name("late-run").experiment_id])
    assert (run.info.status, run.data.tags["tracelet.instead_of"]) == ("FINISHED", first)


@pytest.mark.parametrize("what", ["", ".tracelet"])
def test_an_experiment_that_is_deleted_while_a_run_is_on_is_told_and_can_be_restored(
    server: MlflowServer, tmp_path: Path, what: str
) -> None:
    """The user's, or the index: the same program goes on when it is there again, and has all that it logged."""
    name = f"deleted-while-on{what.replace('.', '-')}"
    code = DELETED_EXPERIMENT.replace("by_name(NAME)", f"by_name({name + what!r})").replace("NAME", repr(name))
    message, gone, left, contents = programs.run(code, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert f"mlflow experiments restore -x {gone}" in message
    assert left == 0
    assert contents == [["a-custom", f"v{number}", number + 1] for number in range(3)]


REMOVED = (
    MEANWHILE
    + """
import subprocess, sys
from tracelet.exceptions import ArtifactNotFound

def store(exp):
    artifact = exp.create_artifact("a-dataset", ArtifactType.DATASET).add_object("content", "x")
    for number in range(101):
        artifact.add_object(number, f"many-{number}")
    return exp.log_artifact(artifact)["mlflow"]

told = []
with Experiment("removed", backend="mlflow", artifacts=True) as exp:
    gone = store(exp).uri.split("/")[1]
client.delete_run(gone)
place = ["--backend-store-uri", STORE, "--tracking-uri", os.environ["MLFLOW_TRACKING_URI"]]
subprocess.run([sys.executable, "-m", "mlflow", "gc", *place, "--run-ids", gone], check=True, capture_output=True)
with Experiment("removed", backend="mlflow", artifacts=True) as exp:
    try:
        exp.get_artifact("a-dataset").load_object("x")
    except ArtifactNotFound:
        told.append("gone")
    told += [[store(exp).version, store(exp).created] for _ in range(2)]
print(json.dumps([told, contents(exp), exp.get_artifact("a-dataset").load_object("many-100")]))
"""
)


def test_content_that_was_removed_with_a_deleted_run_is_stored_when_it_is_logged_again(
    server: MlflowServer, tmp_path: Path
) -> None:
    """Its version is still known: nothing was sent, and it was said to be there."""
    code = REMOVED.replace("STORE", repr(server.store))
    told, contents, last = programs.run(code, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert told == ["gone", ["v0", False], ["v0", False]]
    assert (contents, last) == ([["a-dataset", "v0", "content"]], 100)


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
