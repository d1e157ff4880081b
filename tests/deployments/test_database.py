"""What a database minds that SQLite does not, and one that is away for a while behind a server that stands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from deployments.places import Deployment
from servers import programs
from servers.postgres import Postgres

LONG = """
import json
from pathlib import Path
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

Path("weights.bin").write_bytes(b"weights")
name, metadata = "n" * 128, {"k" * 250: 1.5, "tiny": 5e-324, "huge": 1.7e308, "text": "é" * 500, "unicode": "\\U0001f600"}
metadata |= {f"many-{number}": number for number in range(1200)}
with Experiment("e" * 128, backend="mlflow", artifacts=True) as exp:
    line = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    artifact = exp.create_artifact(name, ArtifactType.MODEL, "d" * 20_000).add_file("weights.bin")
    artifact.add_model(line).add_model(line, name="m" * 128)
    artifact.metadata.update(metadata)
    results = exp.log_artifact(artifact, version="l" * 128, aliases=["a" * 128])
    exp.use_artifact(name)
found = exp.get_artifact(name, "a" * 128)
print(json.dumps([
    list(results), str(results.queued or results.failed), found.description == "d" * 20_000, found.metadata == metadata,
    found.version == "l" * 128, float(found.load_model("m" * 128).predict([[2.0]])[0]),
]))
"""


def test_what_is_as_long_as_may_be_is_stored(on_postgres: Deployment, tmp_path: Path) -> None:
    """Names, labels, descriptions and metadata: where a column of MLflow's has no room, the rest is in the manifest."""
    told = programs.run(LONG, tmp_path, on_postgres.environ)
    assert told == [["mlflow"], "{}", True, True, True, pytest.approx(4.0)]
    client = MlflowClient(tracking_uri=on_postgres.server.url)
    registered = {model.name for model in client.search_registered_models("name LIKE 'nnn%'")}
    assert registered == {"n" * 128, ("n" * 128 + "." + "m" * 128)[:256]}
    run = client.get_run(client.get_model_version("n" * 128, "1").run_id)
    # But for the key that is too long with the artifact's name before it.
    assert len(run.data.metrics) == len(("tiny", "huge")) + 1200


IN_STEPS = """
import json, time
from pathlib import Path
from tracelet import ArtifactType, Experiment

def step(name):
    Path(f"at-{name}").touch()
    while not Path(f"past-{name}").exists():
        time.sleep(0.02)

def log(exp, content):
    results = exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(content, "x"))
    return [list(results), type(results.queued.get("mlflow")).__name__]

with Experiment("restarted", backend="mlflow", artifacts=True) as exp:
    told = [log(exp, "before")]
    step("down")
    told.append(log(exp, "while"))
    step("up")
    told.append(exp.flush(600))
    told.append(log(exp, "after"))
print(json.dumps([told, [[one.version, one.load_object("x")] for one in exp.list_artifacts()]]))
"""


def test_a_database_that_is_restarted_in_the_middle_of_a_run_costs_time_alone(
    on_postgres: Deployment, database: Postgres, tmp_path: Path
) -> None:
    """The server has connections to it that are dead then; what was logged meanwhile is stored, once and in its order."""
    process = programs.begin(IN_STEPS, tmp_path, {**on_postgres.environ, "TRACELET_DEADLINE": "8"})
    for name, deed in (("down", database.kill), ("up", database.start)):
        while not (tmp_path / f"at-{name}").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        deed()
        (tmp_path / f"past-{name}").touch()
    told, listed = programs.finish(process)
    assert told == [[["mlflow"], "NoneType"], [[], "BackendUnavailable"], 0, [["mlflow"], "NoneType"]]
    assert listed == [["v2", "after"], ["v1", "while"], ["v0", "before"]]
    client = MlflowClient(tracking_uri=on_postgres.server.url)
    (run,) = client.search_runs([client.get_experiment_by_name("restarted").experiment_id])
    assert run.info.status == "FINISHED"
