"""What becomes of MLflow's tags and of its Model Registry when stored versions are managed, also those of earlier releases."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import ArtifactNotFound, IntegrityError
from tracelet.plugin import ArtifactFile, ArtifactType, BackendContext, Labels, Manifest, RunInfo, SealedArtifact
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import MlflowBackend, open_backend

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

DIGEST = "f" * 64
#: Names of tags that an earlier release has not written begin so.
NOTED = "input/"
Seal = Callable[..., SealedArtifact]


@pytest.fixture
def opened(uri: str, tmp_path: Path) -> Callable[..., MlflowBackend]:
    def open_it(experiment: str = "trials") -> MlflowBackend:
        context = BackendContext(tmp_path, {"process": "this", "since": 0.0})
        backend = open_backend(experiment, MlflowSettings(tracking_uri=uri), context)
        backend.start(RunInfo(f"run-of-{experiment}", experiment, 1.0))
        return backend

    return open_it


@pytest.fixture
def client(opened: Callable[..., MlflowBackend], uri: str) -> MlflowClient:
    opened().stop(failed=False)
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    def sealed(content: str, name: str = "data", inputs: tuple[str, ...] = ()) -> SealedArtifact:
        source = tmp_path / f"{name}-{content}"
        source.write_text(content)
        file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
        put_id = f"{name}-{content}"
        manifest = Manifest(name, ArtifactType.DATASET, put_id, 1.0, files=(file,), inputs=tuple(sorted(inputs)))
        return SealedArtifact(manifest, {"file": source})

    return sealed


def index_id(client: MlflowClient, experiment: str = "trials") -> str:
    return str(client.get_experiment_by_name(f"{experiment}.tracelet").experiment_id)


def run_of(client: MlflowClient, name: str) -> Any:
    (run,) = client.search_runs([index_id(client)], f"tags.`tracelet.name` = '{name}'")
    return run


def as_an_earlier_release(client: MlflowClient) -> None:
    client._tracking_client.store.delete_experiment_tag(index_id(client), "tracelet.inputs")
    for run in client.search_runs([index_id(client)]):
        for tag in run.data.tags:
            if tag.startswith(NOTED):
                client.delete_tag(run.info.run_id, tag)


def users(backend: MlflowBackend, digest: str = DIGEST) -> list[tuple[str, int]]:
    return sorted((one.manifest.name, one.number) for one in backend.used_by(digest) if digest in one.manifest.inputs)


def test_what_versions_of_an_earlier_release_were_used_for_is_found_and_noted_once(
    opened: Callable[..., MlflowBackend], client: MlflowClient, seal: Seal
) -> None:
    backend = opened()
    for content, name, inputs in (("one", "data", (DIGEST,)), ("two", "data", ()), ("three", "other", (DIGEST,))):
        backend.put(seal(content, name, inputs), Labels())
    as_an_earlier_release(client)
    assert users(opened()) == [("data", 0), ("other", 0)]
    tags = run_of(client, "data").data.tags
    assert [tag for tag in sorted(tags) if tag.startswith(NOTED)] == [f"input/{DIGEST}", f"input/{DIGEST}/v0"]
    assert client.get_experiment(index_id(client)).tags["tracelet.inputs"] == "true"
    opened().put(seal("four", "data", (DIGEST,)), Labels())
    indexed = sorted((one.manifest.name, one.number) for one in opened().used_by(DIGEST))
    assert indexed == [("data", 0), ("data", 2), ("other", 0)]


def test_a_damaged_version_hides_no_user_and_is_told_until_it_is_mended(
    opened: Callable[..., MlflowBackend], client: MlflowClient, seal: Seal
) -> None:
    """As long as nobody knows what it is made from, nobody says that all inputs are noted."""
    backend = opened()
    for content in ("one", "two"):
        backend.put(seal(content, inputs=(DIGEST,)), Labels())
    as_an_earlier_release(client)
    run = run_of(client, "data")
    client.set_tag(run.info.run_id, "v0", "{")
    found: list[int] = []
    with pytest.raises(IntegrityError, match="'data' v0"):
        found.extend(one.number for one in opened().used_by(DIGEST))
    assert found == [1]
    assert "tracelet.inputs" not in client.get_experiment(index_id(client)).tags
    client.set_tag(run.info.run_id, "v0", run.data.tags["v0"])
    assert users(opened()) == [("data", 0), ("data", 1)]


def test_a_version_of_many_inputs_is_never_there_without_them(
    opened: Callable[..., MlflowBackend], client: MlflowClient, seal: Seal
) -> None:
    """More than MLflow sets at once: then they are set first. Its manifest is too long for the index."""
    digests = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in range(200))
    stored = opened().put(seal("one", inputs=digests), Labels("1.0", ("best",)))
    backend = opened()
    assert backend.find("data", "best") == stored
    assert [users(backend, digest) for digest in digests] == [[("data", 0)]] * len(digests)


def test_experiments_that_somebody_deleted_are_not_listed(
    opened: Callable[..., MlflowBackend], client: MlflowClient, seal: Seal
) -> None:
    """Nor those that are not Tracelet's. MLflow's page deletes the experiment that it shows, and not the index."""
    for name in ("one", "two", "three"):
        opened(name).put(seal("one"), Labels())
    client.create_experiment("a stranger's")
    client.create_experiment("a stranger's.tracelet")
    client.delete_experiment(client.get_experiment_by_name("two").experiment_id)
    client.delete_experiment(index_id(client, "three"))
    assert sorted(opened().experiments()) == ["one", "trials"]


def test_an_index_that_is_half_made_is_no_experiment(
    opened: Callable[..., MlflowBackend], client: MlflowClient
) -> None:
    """It has the name of the experiment, and more."""
    client.rename_experiment(index_id(client), "trials.tracelet.0123456789ab")
    assert list(opened("asking").experiments()) == ["asking"]


def test_more_experiments_than_are_on_a_page_are_all_listed(
    opened: Callable[..., MlflowBackend], client: MlflowClient, tmp_path: Path
) -> None:
    index_id(client)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        for number in range(1200):
            values = (str(number + 100), f"many {number}.tracelet", "active")
            database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (?, ?, ?)", values)
            database.execute(
                "INSERT INTO experiment_tags (experiment_id, key, value) VALUES (?, 'tracelet.root', 'x')", values[:1]
            )
    assert len(list(opened().experiments())) == 1201


def test_a_database_that_is_not_there_holds_nothing_and_is_not_made(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    backend = open_backend("trials", MlflowSettings(tracking_uri=uri), BackendContext(tmp_path, {}))
    assert list(backend.experiments()) == []
    assert list(backend.used_by(DIGEST)) == []
    assert list(tmp_path.iterdir()) == []


def test_an_alias_of_a_deleted_version_cannot_be_taken_away(opened: Callable[..., MlflowBackend], seal: Seal) -> None:
    backend = opened()
    stored = backend.put(seal("one"), Labels(None, ("best",)))
    backend.delete(stored)
    with pytest.raises(ArtifactNotFound, match="was deleted"):
        backend.remove_aliases(stored, ("best",))


REGISTERED = """
import json, os
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

def log(exp, content, **names):
    artifact = exp.create_artifact("renamed", ArtifactType.MODEL)
    artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, content]))
    exp.log_artifact(artifact, **names).raise_for_errors()
    return exp.get_artifact("renamed")

def there():
    return dict(client.get_registered_model("renamed").aliases)

client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
with Experiment("renamed", backend="mlflow", artifacts=True) as exp:
    first = log(exp, 1.0, version="1.0", aliases=["best", "1-0", "old"])
    second = log(exp, 2.0, aliases=["old"])
    told = [there()]
    first.remove_alias("best", "1-0", "old", "never").raise_for_errors()
    told.append(there())
    client.set_registered_model_alias("renamed", "best", "1")
    first.remove_alias("best").raise_for_errors()
    told.append(there())
print(json.dumps(told))
"""


def test_aliases_go_from_the_model_registry_too(server: MlflowServer, tmp_path: Path) -> None:
    """But none that a label or another version needs; and one that an interrupted call has left there goes with the next."""
    before, after, again = programs.run(REGISTERED, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert before == {"1-0": "1", "best": "1", "old": "2"}
    assert after == again == {"1-0": "1", "old": "2"}
