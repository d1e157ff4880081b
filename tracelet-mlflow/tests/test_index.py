"""What people see of the index in MLflow's own pages, and what several that write to it at once make of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import BackendError
from tracelet.plugin import ArtifactType
from tracelet_mlflow.index import NAME, Entry, Index

#: What MLflow's page of all experiments asks the server for.
THE_PAGE = "tags.`mlflow.experiment.isGateway` IS NULL"

LOG = """
import json
from tracelet import ArtifactType, Experiment
with Experiment("seen", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM).add_object(CONTENT, "x")
    exp.log_artifact(artifact).raise_for_errors()
print(json.dumps([each.load_object("x") for each in exp.list_artifacts()]))
"""


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


@pytest.fixture(scope="module")
def seen(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen")
    programs.run(LOG.replace("CONTENT", "1"), folder / "first", {"MLFLOW_TRACKING_URI": server.url})
    return folder


def an_index(client: MlflowClient, experiment: str) -> Index:
    return Index(client, experiment, is_served=True)


def runs_of(client: MlflowClient) -> list[Any]:
    return list(client.search_runs([client.get_experiment_by_name("seen.tracelet").experiment_id]))


def assert_in_order(client: MlflowClient) -> None:
    listed = {experiment.name for experiment in client.search_experiments(filter_string=THE_PAGE)}
    assert "seen" in listed
    assert not {name for name in listed if name.startswith("seen.")}
    runs = runs_of(client)
    assert {run.info.run_name: run.info.status for run in runs} == {"root": "FINISHED", "data": "FINISHED"}
    assert all(run.info.end_time for run in runs)


def test_mlflows_page_lists_the_experiment_and_not_its_index(seen: Path, client: MlflowClient) -> None:
    """Nothing in the index still runs, and each thing in it says what it is for."""
    assert_in_order(client)
    notes = {run.info.run_name: run.data.tags["mlflow.note.content"] for run in runs_of(client)}
    assert "the versions of the artifact 'data'" in notes["data"].lower()
    about = client.get_experiment_by_name("seen.tracelet").tags["mlflow.note.content"]
    assert notes["root"] == about
    assert "experiment 'seen'" in about


def test_this_release_of_mlflow_has_a_page_that_asks_so() -> None:
    """What the page is made of names the tag that keeps an experiment out of it."""
    pages = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    assert any(b"mlflow.experiment.isGateway" in page.read_bytes() for page in pages.glob("main.*.js"))


def test_the_next_version_brings_an_index_of_an_earlier_release_in_order(
    seen: Path, client: MlflowClient, server: MlflowServer
) -> None:
    """That was listed, and its runs ran for ever. What was stored under it is read as before."""
    index = client.get_experiment_by_name("seen.tracelet").experiment_id
    client._tracking_client.store.delete_experiment_tag(index, "mlflow.experiment.isGateway")
    for run in runs_of(client):
        client.update_run(run.info.run_id, "RUNNING")
    environ = {"MLFLOW_TRACKING_URI": server.url}
    assert programs.run(LOG.replace("CONTENT", "2"), seen / "second", environ) == [2, 1]
    assert_in_order(client)


def test_many_that_name_one_artifact_at_once_agree_where_its_versions_are(client: MlflowClient) -> None:
    """Whoever comes late, too: a run that lost the race is nobody's place for a version."""
    everybody = threading.Barrier(6)

    def name(_: int) -> tuple[Entry, Entry | None]:
        index = an_index(client, "raced")
        everybody.wait()
        entry = index.ensure("data", ArtifactType.DATASET)
        return entry, an_index(client, "raced").entry("data")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(name, range(6)))
    (run_id,) = {entry.run_id for pair in found for entry in pair if entry is not None}
    assert all(later is not None for _, later in found)
    assert [entry.run_id for entry in an_index(client, "raced").entries()] == [run_id]


def test_a_name_that_a_process_left_half_made_is_made_whole_by_the_next_one(client: MlflowClient) -> None:
    """Its run is the root's already, and is not found by its name yet."""
    first = an_index(client, "halved")
    made = first.ensure("data", ArtifactType.DATASET)
    client.delete_tag(made.run_id, "tracelet.name")
    assert list(an_index(client, "halved").entries()) == []
    assert an_index(client, "halved").ensure("data", ArtifactType.DATASET).run_id == made.run_id
    assert [entry.name for entry in an_index(client, "halved").entries(type=ArtifactType.DATASET)] == ["data"]


def remove_for_good(client: MlflowClient, server: MlflowServer, title: str) -> None:
    """What an administrator does with what was deleted."""
    experiment = client.get_experiment_by_name(title).experiment_id
    client.delete_experiment(experiment)
    place = ["--backend-store-uri", server.store, "--tracking-uri", server.url]
    subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", *place, "--experiment-ids", experiment], check=True, capture_output=True
    )


def test_an_index_that_was_removed_for_good_is_not_remembered(client: MlflowClient, server: MlflowServer) -> None:
    """Whoever had looked at it looks for the one there is now, and makes it where there is none."""
    first, second = an_index(client, "removed"), an_index(client, "removed")
    entry = first.ensure("data", ArtifactType.DATASET)
    for index in (first, second):
        assert index.entry("data") is not None
    assert first.claim(entry, "one", next_alone=False) == (0, False)
    remove_for_good(client, server, "removed.tracelet")
    with pytest.raises(MlflowException):
        first.claim(entry, "two", next_alone=False)
    assert second.entry("data") is None
    assert list(second.entries()) == []
    entry = first.ensure("data", ArtifactType.DATASET)
    assert first.claim(entry, "two", next_alone=False) == (0, False)
    assert [one.name for one in second.entries()] == ["data"]


def test_a_run_of_the_index_that_somebody_deleted_is_told(client: MlflowClient) -> None:
    """With what brings it back: nothing can be stored under that name without it."""
    index = an_index(client, "one-run")
    entry = index.ensure("data", ArtifactType.DATASET)
    client.delete_run(entry.run_id)
    with pytest.raises(BackendError, match=f"mlflow runs restore --run-id {entry.run_id}"):
        index.claim(entry, "one", next_alone=False)
    client.restore_run(entry.run_id)
    assert index.claim(entry, "one", next_alone=False) == (0, False)


def test_few_names_are_remembered(uri: str) -> None:
    """A process that logs ever new names does not grow with them and their records."""
    index = Index(MlflowClient(tracking_uri=uri), "many", is_served=False)
    entry = index.ensure("data", ArtifactType.DATASET)
    for number in range(257):
        index.set(attrs.evolve(entry, tags={**entry.tags, NAME: f"name{number}"}), {"seen": "true"})
    assert index.recalled("name0") is None
    assert index.recalled("name1") is not None
