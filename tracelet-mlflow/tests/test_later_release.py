"""What a later release wrote into MLflow: nothing of it is changed or called damaged, and the rest can be used."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from servers.mlflow_server import MlflowServer
from tracelet.exceptions import IntegrityError, NewerFormat
from tracelet.plugin import ArtifactFile, ArtifactType, BackendContext, Labels, Manifest, RunInfo, SealedArtifact
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import MlflowBackend
from tracelet_mlflow.connection import Connection
from tracelet_mlflow.flavors import read_recipe

UPGRADE = "was written by a later Tracelet"
SCHEMA = "tracelet.schema"
READ_BACK = 1_000_000
Opened = Callable[[], MlflowBackend]


@pytest.fixture
def client(server: MlflowServer) -> MlflowClient:
    return MlflowClient(tracking_uri=server.url)


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """One of the test's own: they share a server."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:12]


@pytest.fixture
def opened(server: MlflowServer, tmp_path: Path, experiment: str) -> Iterator[Opened]:
    """Open the backend anew, as another process of the same run does."""
    backends = []

    def open_it() -> MlflowBackend:
        settings = MlflowSettings(tracking_uri=server.url)
        context = BackendContext(tmp_path, {"process": "this", "since": 0.0})
        backend = MlflowBackend(experiment, settings, context, Connection(server.url, READ_BACK))
        backends.append(backend)
        backend.start(RunInfo(f"run-of-{experiment}", experiment, 1.0))
        return backend

    yield open_it
    for backend in backends:
        backend.stop(failed=False)


@pytest.fixture
def seal(tmp_path: Path) -> Callable[..., SealedArtifact]:
    def sealed(
        content: str, name: str = "data", kind: ArtifactType = ArtifactType.DATASET, put_id: str = ""
    ) -> SealedArtifact:
        source = tmp_path / f"{name}-{content}"
        source.write_text(content)
        file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
        manifest = Manifest(name, kind, put_id or f"{name}-{content}", 1.0, files=(file,))
        return SealedArtifact(manifest, {"file": source})

    return sealed


def index_id(client: MlflowClient, experiment: str) -> str:
    return str(client.get_experiment_by_name(f"{experiment}.tracelet").experiment_id)


def run_of_name(client: MlflowClient, experiment: str, name: str = "data") -> Run:
    (run,) = client.search_runs([index_id(client, experiment)], f"tags.`tracelet.name` = '{name}'")
    return run


def run_of_ours(client: MlflowClient, experiment: str) -> Run:
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def change_record(client: MlflowClient, experiment: str, version: str, **changes: object) -> str:
    """Write a record as another release does; None takes a field away. Return it."""
    run = run_of_name(client, experiment)
    plain = {**json.loads(run.data.tags[version]), **changes}
    text = json.dumps({key: value for key, value in plain.items() if value is not None}, separators=(",", ":"))
    client.set_tag(run.info.run_id, version, text)
    return text


def test_everything_that_is_written_says_its_schema(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    backend = opened()
    backend.put(seal("one", f"weights-{experiment}", ArtifactType.WEIGHTS), Labels())
    backend.record_input(backend.put(seal("one"), Labels()))
    name, own = run_of_name(client, experiment), run_of_ours(client, experiment)
    (registered,) = client.search_model_versions(f"name = 'weights-{experiment}'")
    tagged = [client.get_experiment(index_id(client, experiment)).tags, name.data.tags, own.data.tags, registered.tags]
    assert [tags[SCHEMA] for tags in tagged] == ["1"] * 4
    assert json.loads(name.data.tags["v0"])["schema"] == 1
    (used,) = own.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in used.tags}[SCHEMA] == "1"


def test_what_earlier_releases_wrote_has_no_schema_and_is_used_as_before(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    opened().put(seal("one"), Labels("1.0", ("best",)))
    change_record(client, experiment, "v0", schema=None)
    client._tracking_client.store.delete_experiment_tag(index_id(client, experiment), SCHEMA)
    for run in (run_of_name(client, experiment), run_of_ours(client, experiment)):
        client.delete_tag(run.info.run_id, SCHEMA)
    backend = opened()
    assert backend.put(seal("two"), Labels(None, ("best",))).number == 1
    assert [(one.version, one.aliases) for one in backend.list(name=None, type=None)] == [
        ("v1", ("best",)),
        ("1.0", ()),
    ]


def test_a_field_that_a_later_release_added_is_passed_over_and_kept(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str, server: MlflowServer
) -> None:
    """It is there also after the record was written again, for its files were lost and came back."""
    sealed = seal("one")
    opened().put(sealed, Labels("1.0", ("best",)))
    change_record(client, experiment, "v0", colour="red")
    run = run_of_name(client, experiment)
    client.set_tag(run.info.run_id, "colour/1", "red")
    client.set_tag(run.info.run_id, "alias/best", f"{run.data.tags['alias/best']} since-monday")
    client.set_experiment_tag(index_id(client, experiment), "tracelet.colour", "red")
    backend = opened()
    stored = backend.find("data", "best")
    assert stored is not None
    assert stored.version == "1.0"
    (folder,) = server.artifacts.rglob(f"{run_of_ours(client, experiment).info.run_id}/artifacts/data/v0")
    shutil.rmtree(folder)
    backend.heal(stored, sealed)
    assert (folder / "file").read_text() == "one"
    after = run_of_name(client, experiment).data.tags
    assert json.loads(after["v0"])["colour"] == "red"
    assert after["colour/1"] == "red"


def test_a_version_of_a_later_release_is_told_and_hides_no_other(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    first = opened()
    for content in ("one", "two"):
        first.put(seal(content), Labels())
    newer = change_record(client, experiment, "v1", schema=2, digest=None)
    backend = opened()
    found: list[int] = []
    with pytest.raises(NewerFormat, match=f"'data' v1: .*{UPGRADE}"):
        found.extend(stored.number for stored in backend.list(name=None, type=None))
    assert found == [0]
    with pytest.raises(NewerFormat, match=UPGRADE):
        backend.find("data", "latest")
    oldest = backend.find("data", "v0")
    assert oldest is not None
    assert backend.recall("data") is None
    assert backend.put(seal("three"), Labels()).number == 2
    backend.delete(oldest)
    tags = run_of_name(client, experiment).data.tags
    assert tags["v1"] == newer
    assert "v0" not in tags


def test_a_name_that_a_later_release_keeps_in_another_way_is_left_alone(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    first = opened()
    first.put(seal("one"), Labels("1.0"))
    first.put(seal("one", "other"), Labels())
    client.set_tag(run_of_name(client, experiment).info.run_id, SCHEMA, "2")
    before = run_of_name(client, experiment).data.to_dictionary()
    backend = opened()
    found: list[str] = []
    with pytest.raises(NewerFormat, match=f"'data': .*{UPGRADE}"):
        found.extend(stored.manifest.name for stored in backend.list(name=None, type=None))
    assert found == ["other"]
    for ref in ("latest", "1.0", "put:data-one"):
        with pytest.raises(NewerFormat, match=UPGRADE):
            backend.find("data", ref)
    with pytest.raises(NewerFormat, match=UPGRADE):
        backend.put(seal("two"), Labels())
    assert run_of_name(client, experiment).data.to_dictionary() == before


def test_an_index_of_a_later_release_is_left_alone(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    opened().put(seal("one"), Labels())
    client.set_experiment_tag(index_id(client, experiment), SCHEMA, "2")
    before = run_of_name(client, experiment).data.to_dictionary()
    with pytest.raises(NewerFormat, match=f"{experiment}.tracelet.*{UPGRADE}"):
        opened()
    assert run_of_name(client, experiment).data.to_dictionary() == before


def test_a_run_whose_notes_are_a_later_releases_gets_nothing(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    backend = opened()
    backend.put(seal("one"), Labels())
    run = run_of_ours(client, experiment)
    client.set_tag(run.info.run_id, SCHEMA, "2")
    with pytest.raises(NewerFormat, match=f"{run.info.run_id}.*{UPGRADE}"):
        backend.put(seal("two"), Labels())
    assert [one.path for one in client.list_artifacts(run.info.run_id, "data")] == ["data/v0"]


def test_a_model_that_a_later_release_began_to_register_is_left_to_it(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str
) -> None:
    """Its put was interrupted before its record was written."""
    sealed, name = seal("one", f"net-{experiment}", ArtifactType.WEIGHTS), f"net-{experiment}"
    opened().put(sealed, Labels())
    client.delete_tag(run_of_name(client, experiment, name).info.run_id, "v0")
    client.set_model_version_tag(name, "1", SCHEMA, "2")
    with pytest.raises(NewerFormat, match=f"'{name}' version 1 of the Model Registry {UPGRADE}"):
        opened().put(sealed, Labels())
    assert [found.version for found in client.search_model_versions(f"name = '{name}'")] == ["1"]


@pytest.mark.parametrize("tag", ["two", "0", "-1", "9" * 5000, ""])
def test_a_schema_that_is_no_number_is_told_with_the_tag(
    client: MlflowClient, opened: Opened, seal: Callable[..., SealedArtifact], experiment: str, tag: str
) -> None:
    opened().put(seal("one"), Labels())
    try:
        client.set_tag(run_of_name(client, experiment).info.run_id, SCHEMA, tag)
    except MlflowException:
        return  # MLflow does not take it
    with pytest.raises(IntegrityError, match=r"tag tracelet\.schema"):
        opened().find("data", "latest")


RECIPE = {
    "framework": "sklearn",
    "flavor": "sklearn",
    "conf": {},
    "pyfunc": None,
    "requirements": [],
    "python": "3.11.7",
    "example": None,
}


@pytest.mark.parametrize("more", [{"schema": 1}, {"colour": "red"}], ids=["its schema", "a field more"])
def test_a_model_that_waits_is_read_with_what_a_later_release_added(tmp_path: Path, more: dict[str, object]) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({**RECIPE, **more}))
    assert read_recipe(tmp_path).framework == "sklearn"


def test_a_model_of_a_later_release_waits_for_the_upgrade(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({**RECIPE, "schema": 2}))
    with pytest.raises(NewerFormat, match=UPGRADE):
        read_recipe(tmp_path)
