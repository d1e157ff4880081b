"""What is in an artifact's metadata is a column of MLflow's tables, where it can be one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric, _validate_param

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet_mlflow.columns import measures, parameters

LOG = """
import json, mlflow
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

def log(exp, name, kind, metadata, model=False):
    artifact = exp.create_artifact(name, kind).add_object(metadata, "x")
    artifact.metadata.update(metadata)
    if model:
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, metadata["loss"]]))
    return exp.log_artifact(artifact)["mlflow"].uri

found = []
for rows in (30, 200, 4):
    with Experiment("columns", backend="mlflow", artifacts=True) as exp:
        log(exp, "data", ArtifactType.DATASET, {"rows": rows - 1, "source": "first"})
        log(exp, "data", ArtifactType.DATASET, {"rows": rows, "source": "second", "share": {"train": 0.8, "test": 0.2}})
        found.append(log(exp, "line", ArtifactType.MODEL, {
            "loss": 1 / rows, "optimizer": {"name": "adam", "nesterov": True}, "layers": [1, 2], "nothing": None,
            "loss/validation": 2 / rows, "a b?c": 1, "..": 5, "text": "x" * 501, "endless": float("inf")}, model=True))
mlflow.set_experiment("columns-of-theirs")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 7.0, step=0)
    with Experiment("columns-attached", backend="mlflow", artifacts=True) as exp:
        log(exp, "other", ArtifactType.MODEL, {"loss": 0.5}, model=True)
print(json.dumps([found, run.info.run_id]))
"""


@pytest.fixture(scope="module")
def told(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return programs.run(LOG, tmp_path_factory.mktemp("columns"), {"MLFLOW_TRACKING_URI": server.url})


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


def test_runs_are_sorted_by_the_numbers_of_their_artifacts(told: Any, client: MlflowClient) -> None:
    """As MLflow's table of runs does it, by the newest version of each name; every version is a step."""
    experiment = client.get_experiment_by_name("columns").experiment_id
    runs = client.search_runs([experiment], order_by=["metrics.`data/rows` DESC"])
    assert [run.data.metrics["data/rows"] for run in runs] == [200, 30, 4]
    assert all(run.data.metrics["data/share.train"] == 0.8 for run in runs)
    history = client.get_metric_history(runs[0].info.run_id, "data/rows")
    assert [(metric.step, metric.value) for metric in history] == [(2, 199.0), (3, 200.0)]


def test_models_are_sorted_and_searched_by_what_is_known_of_them(told: Any, client: MlflowClient) -> None:
    """By the names that the metadata has: numbers are metrics, texts and truth values parameters."""
    experiment = client.get_experiment_by_name("columns").experiment_id
    order = [{"field_name": "metrics.loss", "ascending": True}]
    models = client.search_logged_models([experiment], "params.`optimizer.name` = 'adam'", order_by=order)
    assert [{one.key: one.value for one in model.metrics}["loss"] for model in models] == [1 / 200, 1 / 30, 1 / 4]
    assert {model.source_run_id for model in models} == {uri.split("/")[1] for uri in told[0]}
    assert models[0].params == {"optimizer.name": "adam", "optimizer.nesterov": "True"}
    assert {one.key for one in models[0].metrics} == {"loss", "loss/validation", "a b_c"}


def test_a_metric_of_the_users_own_run_is_left_alone(told: Any, client: MlflowClient) -> None:
    """Where an artifact has a number of the same name: theirs is another series."""
    _, theirs = told
    assert [(metric.step, metric.value) for metric in client.get_metric_history(theirs, "loss")] == [(0, 7.0)]
    run = client.get_run(theirs)
    assert run.data.metrics == {"loss": 7.0, "other/loss": 0.5}
    assert run.data.params == {}


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=600),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=130), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=260), NESTED, max_size=4))
def test_no_column_is_one_that_mlflow_does_not_take(metadata: dict[str, Any]) -> None:
    """Whatever is in the metadata: one that it refused would take all others with it."""
    for name, number in measures(metadata, f"{'n' * 128}/").items():
        _validate_metric(name, number, 0, 0)
    for name, text in parameters(metadata).items():
        assert _validate_param(name, text).value == text
