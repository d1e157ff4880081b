"""What several experiments log into one MLflow run keeps apart, and what the user has logged there is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_database import new_database
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import IntegrityError
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
    Labels,
    Manifest,
    SealedArtifact,
    StoredArtifact,
)
from tracelet_mlflow.backend import MlflowBackend
from tracelet_mlflow.records import Record

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

LOGGED = """
import json, os
import mlflow
from pathlib import Path
from tracelet import ArtifactType, Experiment

mlflow.set_experiment("first")
with mlflow.start_run() as run:
    mlflow.log_text("the user's own", "model/v0/weights.txt")
    mlflow.log_text("the user's own", "model/v0/x")
    with Experiment("first", backend="mlflow", artifacts=True) as first:
        with Experiment("second", backend="mlflow", artifacts=True) as second:
            for number in range(2):
                for exp in (first, second):
                    Path("weights.txt").write_text(f"{exp.name} {number}")
                    exp.log_path("weights.txt", name="model", type=ArtifactType.WEIGHTS).raise_for_errors()
print(json.dumps(run.info.run_id))
"""

READ = """
import json
from tracelet import Experiment

told = {}
for name in ("first", "second"):
    for logged in sorted(Experiment(name, backend="mlflow", artifacts=True).list_artifacts(), key=lambda one: one.version):
        content = (logged.download() / "weights.txt").read_text()
        told[logged.uri] = [name, logged.version, content, logged.verify().ok, logged.size_bytes]
print(json.dumps(told))
"""

DELETED = """
import json
from tracelet import Experiment

exp = Experiment("first", backend="mlflow", artifacts=True)
print(json.dumps([logged.delete(force=True)["mlflow"].freed_bytes for logged in exp.list_artifacts()]))
"""

VERIFIED = """
import json
from tracelet import Experiment

found = [Experiment(name, backend="mlflow", artifacts=True).get_artifact("data").verify() for name in ("first", "second")]
print(json.dumps([[one.path for one in verification.wrong] for verification in found]))
"""

HOUR = 3600.0
Open = Callable[..., MlflowBackend]
Seal = Callable[..., SealedArtifact]


@pytest.fixture(params=["sqlite", "server"])
def tracking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """MLflow's address: a file, or a server without anything in it."""
    if request.param == "sqlite":
        yield new_database(tmp_path)
        return
    folder = tmp_path / "server"
    folder.mkdir()
    with MlflowServer(folder) as started:
        yield started.url


def test_two_experiments_and_the_user_keep_their_files_in_one_run(tracking: str, tmp_path: Path) -> None:
    """Of one name and number, in programs of their own. Deleting one's versions takes nobody else's files."""
    environ = {"MLFLOW_TRACKING_URI": tracking}
    run_id = programs.run(LOGGED, tmp_path / "logging", environ)
    told = programs.run(READ, tmp_path / "reading", environ)
    expected = [[name, f"v{number}", f"{name} {number}", True] for name in ("first", "second") for number in range(2)]
    assert [one[:4] for one in told.values()] == expected
    assert all(re.fullmatch(rf"runs:/{run_id}/model/v[01]-[0-9a-f]{{12}}", uri) for uri in told)
    client = MlflowClient(tracking_uri=tracking)
    own = client.list_artifacts(run_id, "model/v0")
    assert sorted(info.path for info in own) == ["model/v0/weights.txt", "model/v0/x"]
    sources = {str(one.source).partition("/model/")[2] for one in client.search_model_versions("name = 'model'")}
    assert sources == {uri.partition("/model/")[2] for uri in told}
    freed = programs.run(DELETED, tmp_path / "deleting", environ)
    # The manifest is stored with the files.
    assert min(freed) > len("first 0")
    left = programs.run(READ, tmp_path / "reading-again", environ)
    assert left == {uri: one for uri, one in told.items() if one[0] == "second"}
    assert client.list_artifacts(run_id, "model/v0") == own
    folders = {info.path for info in client.list_artifacts(run_id, "model")}
    assert folders == {"model/v0", *(uri.removeprefix(f"runs:/{run_id}/") for uri in left)}


@pytest.fixture
def users(opened: Open, client: MlflowClient, tmp_path: Path) -> str:
    """A run of the user's own."""
    opened("another").stop(failed=False)
    return str(client.create_run(client.create_experiment("mine", (tmp_path / "mine").as_uri())).info.run_id)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    def sealed(content: str, path: str = "file", description: str = "") -> SealedArtifact:
        source = tmp_path / f"source-{content}"
        source.write_text(content)
        file = ArtifactFile(path, len(content), hashlib.sha256(content.encode()).hexdigest())
        manifest = Manifest(
            "data", ArtifactType.DATASET, f"put-{content}", 1.0, files=(file,), description=description or None
        )
        return SealedArtifact(manifest, {path: source})

    return sealed


def index_run(client: MlflowClient, experiment: str) -> Any:
    (run,) = client.search_runs(
        [client.get_experiment_by_name(f"{experiment}.tracelet").experiment_id], "tags.`tracelet.name` = 'data'"
    )
    return run


def as_if_killed(client: MlflowClient, experiment: str) -> None:
    """Take back the last that a put has set."""
    client.delete_tag(index_run(client, experiment).info.run_id, "v0")


def as_an_earlier_release(client: MlflowClient, experiment: str, place: Path) -> None:
    """Have version 0 where an earlier release stored it, over what is there."""
    run = index_run(client, experiment)
    plain = json.loads(run.data.tags["v0"])
    (place / "data" / "v0").mkdir(exist_ok=True)
    own = place / plain["folder"]
    for file in own.iterdir():
        os.replace(file, place / "data" / "v0" / file.name)
    own.rmdir()
    client.set_tag(run.info.run_id, "v0", json.dumps({**plain, "folder": "data/v0"}, separators=(",", ":")))


def place_of(tmp_path: Path, run_id: str) -> Path:
    return tmp_path / "mine" / run_id / "artifacts"


def files_in(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def found(backend: MlflowBackend) -> StoredArtifact:
    stored = backend.find("data", "v0")
    assert stored is not None
    return stored


def content_of(backend: MlflowBackend, dest: Path, path: str = "file") -> str:
    backend.fetch(found(backend), [path], dest)
    return (dest / path).read_text()


def test_a_run_that_another_experiment_made_is_shared_like_the_users(
    opened: Open, client: MlflowClient, seal: Seal, tmp_path: Path
) -> None:
    """The user goes on in it. It stays that experiment's, whose folders keep their names."""
    made = opened("maker").put(seal("one"), Labels())
    run_id = Record.from_text(made.locator).run_id
    assert opened("guest", run_id).put(seal("guest"), Labels()).uri.startswith(f"runs:/{run_id}/data/v0-")
    later = opened("maker").put(seal("two"), Labels())
    assert [made.uri, later.uri] == [f"runs:/{run_id}/data/v{number}" for number in range(2)]
    assert client.get_run(run_id).data.tags["tracelet.run_id"] == "run-of-maker"
    assert [content_of(opened(name), tmp_path / name) for name in ("maker", "guest")] == ["one", "guest"]


def test_a_put_that_goes_on_finds_its_folder_again(
    opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path
) -> None:
    """Wherever it was killed, between its claim and its record."""
    first = opened("first", users).put(seal("one"), Labels())
    as_if_killed(client, "first")
    assert opened("first", users).put(seal("one"), Labels()).uri == first.uri
    place = place_of(tmp_path, users)
    assert [path.name for path in (place / "data").iterdir()] == [first.uri.rpartition("/")[2]]


def test_what_an_interrupted_put_left_in_the_users_run_is_cleared_and_nothing_of_the_users(
    opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path
) -> None:
    """Also where the user's folder has the name that an earlier release would have taken."""
    place = place_of(tmp_path, users)
    opened("first", users).put(seal("one"), Labels())
    opened("second", users).put(seal("two"), Labels())
    client.log_text(users, "the user's own", "data/v0/file")
    as_if_killed(client, "first")
    assert sum(opened("another").collect(time.time() + HOUR)) > len("one")
    own = found(opened("second")).uri.removeprefix(f"runs:/{users}/")
    assert files_in(place) == sorted(["data/v0/file", f"{own}/file", f"{own}/tracelet.json"])
    assert (place / "data" / "v0" / "file").read_text() == "the user's own"
    assert list(opened("another").collect(time.time() + HOUR)) == []


@pytest.fixture
def unrecorded(opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path) -> Path:
    """Where an earlier release stored a version of `first`, and was killed before it recorded it."""
    place = place_of(tmp_path, users)
    opened("first", users).put(seal("one"), Labels())
    as_an_earlier_release(client, "first", place)
    as_if_killed(client, "first")
    return place


def test_what_an_earlier_release_left_in_the_users_run_is_cleared_where_its_manifest_says_whose_it_is(
    opened: Open, unrecorded: Path
) -> None:
    assert sum(opened("another").collect(time.time() + HOUR)) > len("one")
    assert files_in(unrecorded) == []


def test_a_put_that_an_earlier_release_stored_and_did_not_record_stays_where_it_is(
    opened: Open, users: str, seal: Seal, unrecorded: Path
) -> None:
    """Its model may be registered by that address."""
    assert opened("first", users).put(seal("one"), Labels()).uri == f"runs:/{users}/data/v0"
    assert files_in(unrecorded) == ["data/v0/file", "data/v0/tracelet.json"]


@pytest.fixture
def shared(opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path) -> Path:
    """One folder, in which an earlier release stored a version of `first`, and then one of `second`."""
    place = place_of(tmp_path, users)
    opened("first", users).put(seal("one", "of-first"), Labels())
    as_an_earlier_release(client, "first", place)
    opened("second", users).put(seal("two", "of-second"), Labels())
    as_an_earlier_release(client, "second", place)
    return place


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_a_version_that_shares_its_folder_with_another_keeps_its_files_when_that_is_deleted(
    opened: Open, shared: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    """Earlier releases stored them so. When both are deleted, so are the files."""
    goes, stays = (opened(name) for name in order)
    assert goes.delete(found(goes)) == 0
    assert list(opened("another").collect(time.time() + HOUR)) == []
    assert content_of(stays, tmp_path / "stays", f"of-{order[1]}") in {"one", "two"}
    freed = stays.delete(found(stays)) + sum(opened("another").collect(time.time() + HOUR))
    assert freed > len("onetwo")
    assert files_in(shared) == []


def test_a_version_whose_files_another_experiment_has_written_over_is_said_to_be_damaged(
    opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path, uri: str
) -> None:
    """An earlier release stored both in one folder."""
    for name in ("first", "second"):
        opened(name, users).put(seal(name), Labels())
        as_an_earlier_release(client, name, place_of(tmp_path, users))
    assert programs.run(VERIFIED, tmp_path / "program", {"MLFLOW_TRACKING_URI": uri}) == [["file"], []]


def test_a_record_of_another_experiment_that_cannot_be_read_counts_as_one_that_shares_the_folder(
    opened: Open, client: MlflowClient, users: str, shared: Path, tmp_path: Path
) -> None:
    client.set_tag(index_run(client, "second").info.run_id, "v0", json.dumps({"schema": 2, "of": users}))
    backend = opened("first")
    assert backend.delete(found(backend)) == 0
    assert "data/v0/of-first" in files_in(shared)


def test_a_long_manifest_that_another_experiment_has_written_over_is_told_and_not_taken_for_the_version(
    opened: Open, client: MlflowClient, users: str, seal: Seal, tmp_path: Path
) -> None:
    """It is too long for the index. Nobody gets the other's files in its place."""
    place = place_of(tmp_path, users)
    for name in ("first", "second"):
        opened(name, users).put(seal(name, description=os.urandom(9000).hex()), Labels())
        as_an_earlier_release(client, name, place)
    assert content_of(opened("second"), tmp_path / "second") == "second"
    with pytest.raises(IntegrityError, match="the manifest of 'data' v0 is another version's"):
        opened("first").find("data", "v0")
