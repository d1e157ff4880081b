"""What interrupted puts and deletions leave in MLflow's artifact stores is cleared away, and nothing that anybody needs."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, SealedArtifact
from tracelet_mlflow.backend import MlflowBackend

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

Seal = Callable[..., SealedArtifact]
Open = Callable[..., MlflowBackend]
HOUR = 3600.0


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    def sealed(content: str, name: str = "data", kind: ArtifactType = ArtifactType.DATASET) -> SealedArtifact:
        source = tmp_path / f"{name}-{content}"
        source.write_text(content)
        file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
        manifest = Manifest(name, kind, f"{name}-{content}", 1.0, files=(file,))
        return SealedArtifact(manifest, {"file": source})

    return sealed


def run_of(client: MlflowClient, name: str = "data", experiment: str = "trials") -> Any:
    index = client.get_experiment_by_name(f"{experiment}.tracelet").experiment_id
    (run,) = client.search_runs([index], f"tags.`tracelet.name` = '{name}'")
    return run


def as_if_killed(client: MlflowClient, name: str = "data", experiment: str = "trials", version: str = "v0") -> None:
    """Take back the last that a put has set."""
    client.delete_tag(run_of(client, name, experiment).info.run_id, version)


def folders(place: Path, name: str = "data") -> list[str]:
    """The versions that have files below a place."""
    return sorted({path.parent.name for path in place.rglob("*") if path.is_file() and path.parent.parent.name == name})


def make_older(place: Path, seconds: float) -> None:
    """As if nothing below had changed since."""
    for path in (place, *place.rglob("*")):
        os.utime(path, (time.time() - seconds,) * 2)


def content_of(backend: MlflowBackend, ref: str, dest: Path, name: str = "data") -> str:
    stored = backend.find(name, ref)
    assert stored is not None
    backend.fetch(stored, ["file"], dest)
    return (dest / "file").read_text()


def test_files_of_an_interrupted_put_are_cleared_when_they_are_old(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """On a disk their own age counts. The version beside them stays, and the put can still be made."""
    backend, place = opened(), tmp_path / "mlruns"
    for content in ("interrupted", "whole"):
        backend.put(seal(content), Labels())
    as_if_killed(client)
    next(place.rglob("v0/tracelet.json")).unlink()
    assert list(opened().collect(time.time() - HOUR)) == []
    assert folders(place) == ["v0", "v1"]
    make_older(place, 2 * HOUR)
    assert list(opened().collect(time.time() - HOUR)) == [len("interrupted")]
    assert folders(place) == ["v1"]
    assert list(opened().collect(time.time() + HOUR)) == []
    later = opened()
    assert later.put(seal("interrupted"), Labels("1.0")).number == 0
    assert content_of(later, "1.0", tmp_path / "later") == "interrupted"
    assert content_of(later, "v1", tmp_path / "whole") == "whole"


def test_what_is_cleared_and_stored_and_interrupted_again_is_cleared_again(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    for _ in range(2):
        opened().put(seal("interrupted"), Labels())
        as_if_killed(client)
        assert sum(opened().collect(time.time() + HOUR)) > 0
        assert folders(tmp_path / "mlruns") == []


def test_a_store_that_tells_no_age_is_cleared_by_the_first_who_looks_long_after_another(
    opened: Open, seal: Seal, server: MlflowServer
) -> None:
    """A put that goes on meanwhile is under way again."""
    client = MlflowClient(tracking_uri=server.url)

    def collect(older_than: float) -> None:
        list(opened("asking", where=server.url).collect(older_than))

    def there() -> list[str]:
        return folders(server.artifacts, "slow")

    opened("served", where=server.url).put(seal("one", "slow"), Labels())
    as_if_killed(client, "slow", "served")
    began = time.time()
    for _ in range(2):
        collect(began)
        assert there() == ["v0"]
    assert "left/v0" in run_of(client, "slow", "served").data.tags
    opened("served", where=server.url).put(seal("one", "slow"), Labels())
    assert "left/v0" not in run_of(client, "slow", "served").data.tags
    collect(time.time() + HOUR)
    assert there() == ["v0"]
    as_if_killed(client, "slow", "served")
    collect(began)
    collect(time.time() + 1.0)
    assert there() == []
    assert run_of(client, "slow", "served").data.tags["left/v0"] == "cleared"


def test_a_deletion_that_was_interrupted_is_completed(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """It had left the index when its process was killed."""
    backend = opened()
    for content in ("one", "two"):
        backend.put(seal(content), Labels())
    run, (own,) = run_of(client), client.search_runs([client.get_experiment_by_name("trials").experiment_id])
    client.set_tag(run.info.run_id, "left/v0", f"{time.time():.3f} {own.info.run_id}")
    client.delete_tag(run.info.run_id, "v0")
    assert sum(opened().collect(time.time() + HOUR)) > len("one")
    assert folders(tmp_path / "mlruns") == ["v1"]


@pytest.mark.parametrize("said", ["never", "", "12 RUN and-more"])
def test_what_a_later_release_says_of_what_is_left_stops_nobody(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path, said: str
) -> None:
    opened().put(seal("one"), Labels())
    (own,) = client.search_runs([client.get_experiment_by_name("trials").experiment_id])
    as_if_killed(client)
    client.set_tag(run_of(client).info.run_id, "left/v0", said.replace("RUN", own.info.run_id))
    assert sum(opened().collect(time.time() + HOUR)) > 0
    assert folders(tmp_path / "mlruns") == []


def test_a_version_that_was_deleted_is_not_looked_for_again(opened: Open, client: MlflowClient, seal: Seal) -> None:
    backend = opened()
    backend.delete(backend.put(seal("one"), Labels("1.0", ("best",))))
    assert run_of(client).data.tags["left/v0"] == "cleared"
    assert list(opened().collect(time.time() + HOUR)) == []


def test_files_that_a_copy_in_the_model_registry_needs_stay_until_that_is_deleted(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """Copied by MLflow, or registered by hand: both are models of the same bytes. A copy of a copy has them, too."""
    backend, place = opened(), tmp_path / "mlruns"
    stored = backend.put(seal("one", "net", ArtifactType.WEIGHTS), Labels())
    other = backend.put(seal("two", "net", ArtifactType.WEIGHTS), Labels())
    source = client.get_model_version("net", "1").source
    client.copy_model_version("models:/net/1", "between")
    client.copy_model_version("models:/between/1", "copied")
    client.delete_registered_model("between")
    client.create_registered_model("by hand")
    client.create_model_version("by hand", source)
    backend.delete(stored)
    assert backend.find("net", "v0") is None
    for name in ("copied", "by hand"):
        assert list(opened().collect(time.time() + HOUR)) == []
        assert folders(place, "net") == ["v0", "v1"]
        client.delete_registered_model(name)
    assert sum(opened().collect(time.time() + HOUR)) > 0
    assert folders(place, "net") == ["v1"]
    assert [str(one.version) for one in client.search_model_versions("name = 'net'")] == ["2"]
    assert content_of(opened(), f"sha256:{other.manifest.digest}", tmp_path / "other", "net") == "two"


def test_a_model_that_an_interrupted_put_registered_is_cleared_and_no_copy_of_it(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """A copy has the tags of the model, and may have a name that begins like it."""
    backend = opened()
    for content in ("one", "two"):
        backend.put(seal(content, "net", ArtifactType.WEIGHTS), Labels())
    client.copy_model_version("models:/net/2", "net.copied")
    for version in ("v0", "v1"):
        as_if_killed(client, "net", version=version)
    assert sum(opened().collect(time.time() + HOUR)) > 0
    assert folders(tmp_path / "mlruns", "net") == ["v1"]
    assert list(client.search_model_versions("name = 'net'")) == []
    assert len(client.search_model_versions("name = 'net.copied'")) == 1


def test_two_experiments_in_one_run_of_the_users_keep_apart(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """What one of them left is not taken for the other's version of the same name and number."""
    opened().stop(failed=False)
    users = client.create_run(client.create_experiment("mine", (tmp_path / "mlruns" / "mine").as_uri())).info.run_id
    for experiment in ("first", "second"):
        opened(experiment=experiment, run_id=users).put(seal(experiment), Labels())
    as_if_killed(client, experiment="first")
    assert sum(opened().collect(time.time() + HOUR)) > len("first")
    assert content_of(opened(experiment="second"), "v0", tmp_path / "second") == "second"


LOGGED = """
import json, os
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

with Experiment("bytes", backend="mlflow", artifacts=True) as exp:
    for content in (1.0, 2.0):
        artifact = exp.create_artifact("heavy", ArtifactType.MODEL)
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, content]))
        exp.log_artifact(artifact).raise_for_errors()
client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
client.copy_model_version("models:/heavy/1", "production")
made = [client.get_model_version("heavy", number) for number in ("1", "2")]
print(json.dumps([one.tags["tracelet.model_id"] for one in made]))
"""


def test_a_deleted_model_frees_its_bytes_unless_a_copy_of_it_needs_them(
    opened: Open, server: MlflowServer, tmp_path: Path
) -> None:
    copied, alone = programs.run(LOGGED, tmp_path / "program", {"MLFLOW_TRACKING_URI": server.url})

    def files_of(model: str) -> list[str]:
        return [path.name for path in server.artifacts.rglob("*") if path.is_file() and model in path.parts]

    backend = opened("bytes", where=server.url)
    assert files_of(copied)
    assert files_of(alone)
    for number in (0, 1):
        stored = backend.find("heavy", f"v{number}")
        assert stored is not None
        backend.delete(stored)
    assert files_of(alone) == []
    assert "MLmodel" in files_of(copied)
    assert folders(server.artifacts, "heavy") == []
    client = MlflowClient(tracking_uri=server.url)
    assert client.get_logged_model(copied).model_id == copied
    client.delete_registered_model("production")
    assert sum(opened("asking", where=server.url).collect(time.time() + HOUR)) > 0
    assert files_of(copied) == []
