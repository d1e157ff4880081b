"""What a later release wrote into W&B: nothing of it is changed or called damaged, and the rest can be used."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from wandb.sdk.artifacts.staging import get_staging_dir

from servers import wandb_user as user
from servers.wandb_server import WandbServer, wandb_server
from tracelet.exceptions import NewerFormat
from tracelet.plugin import Labels, StoredArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet.testing.samples import Samples
from tracelet_wandb import tracelet_backends
from tracelet_wandb.offline_runs import forget, remember
from tracelet_wandb.staging import recorded, sweep

(SPEC,) = tracelet_backends()
UPGRADE = "was written by a later Tracelet"


@attrs.frozen
class Place:
    """A server, a process of Tracelet's on it, and one of the SDK's own user."""

    server: WandbServer
    ours: Driver
    user: Driver
    folder: Path
    experiment: str

    def opened(self) -> BackendProcess:
        return BackendProcess(self.ours, uuid.uuid4().hex, "wandb", self.experiment, self.folder / uuid.uuid4().hex)

    def note(self, name: str, version: str) -> dict[str, Any]:
        shown = self.user.call(user.look, f"somebody/{self.experiment}/{name}:{version}")
        return dict(shown["metadata"]["tracelet"])

    def change_note(self, name: str, version: str, **changes: object) -> dict[str, Any]:
        """Write a note as another release does; None takes a field away. Return it."""
        changed = {**self.note(name, version), **changes}
        note = {key: value for key, value in changed.items() if value is not None}
        path = f"somebody/{self.experiment}/{name}:{version}"
        self.user.call(user.edit, path, metadata={"theirs": 1, "tracelet": note})
        return note

    def config(self, run: str) -> dict[str, Any]:
        return dict(self.user.call(user.config_of, f"somebody/{self.experiment}/{run}")["tracelet"])

    def change_config(self, run: str, config: dict[str, Any]) -> None:
        self.user.call(user.edit_run, f"somebody/{self.experiment}/{run}", {"tracelet": config})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    with wandb_server(folder / "server", current=True) as server:
        drivers = [
            Driver(folder / role, server.environ(folder / f"home-{role}"), SPEC.environ) for role in ("ours", "user")
        ]
        yield Place(server, *drivers, folder, "")
        for driver in drivers:
            driver.close()


@pytest.fixture(params=["applied", "ignored"])
def place(shared: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """On a server that applies filters of versions, and on one that does not."""
    shared.server.fault(filters=request.param)
    yield attrs.evolve(shared, experiment=f"exp-{uuid.uuid4().hex[:8]}")
    shared.server.fault()


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return Samples(tmp_path / "samples")


def found(stored: StoredArtifact | None) -> StoredArtifact:
    assert stored is not None
    return stored


def test_a_note_says_its_schema_and_one_without_is_an_earlier_releases(place: Place, samples: Samples) -> None:
    opened = place.opened()
    put = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0"))
    assert place.note("model", "v0")["schema"] == 1
    place.change_note("model", "v0", schema=None)
    for ref in ("latest", "1.0", f"put:{put.manifest.put_id}", f"sha256:{put.manifest.digest[:8]}"):
        assert found(opened.find("model", ref)) == put
    opened.close()


@pytest.mark.parametrize("schema", ["two", True, 0])
def test_a_schema_that_somebody_edited_to_no_number_is_passed_over(
    place: Place, samples: Samples, schema: object
) -> None:
    """As is whatever else somebody does to the note: the file in the version tells all."""
    opened = place.opened()
    put = opened.put(samples.seal("model", {"x": b"1"}))
    place.change_note("model", "v0", schema=schema)
    assert found(opened.find("model")).manifest == put.manifest
    opened.close()


def test_a_field_that_a_later_release_added_is_there_after_the_note_was_written_again(
    place: Place, samples: Samples
) -> None:
    opened = place.opened()
    stored = opened.put(samples.seal("model", {"x": b"1"}))
    place.change_note("model", "v0", colour="red")
    assert opened.relabel(stored, Labels("1.0", ("best",))).version == "1.0"
    note = place.note("model", "v0")
    assert (note["colour"], note["label"]) == ("red", "1.0")
    opened.close()


def test_a_version_of_a_later_release_is_told_and_hides_no_other(place: Place, samples: Samples) -> None:
    opened = place.opened()
    first = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0"))
    second = opened.put(samples.seal("model", {"x": b"2"}))
    newer = place.change_note("model", "v1", schema=2)
    with pytest.raises(NewerFormat, match=f"model:v1: .*{UPGRADE}") as told:
        opened.list()
    assert [one.number for one in told.value.answers] == [0]
    for ref in ("latest", "v1", f"put:{second.manifest.put_id}"):
        with pytest.raises(NewerFormat, match=UPGRADE):
            opened.find("model", ref)
    for ref in ("v0", "1.0", f"put:{first.manifest.put_id}", f"sha256:{first.manifest.digest[:8]}"):
        assert found(opened.find("model", ref)).number == 0
    for change in (lambda: opened.relabel(second, Labels(None, ("best",))), lambda: opened.delete(second)):
        with pytest.raises(NewerFormat, match=UPGRADE):
            change()
    assert opened.put(samples.seal("model", {"x": b"3"})).number == 2
    assert place.note("model", "v1") == newer
    opened.close()


def test_a_run_says_its_schema_and_keeps_what_a_later_release_added(place: Place, samples: Samples) -> None:
    """How the run has ended is written into it, where an earlier release had not done so."""
    run = uuid.uuid4().hex
    opened = place.opened()
    opened.deliver(samples.seal("model", {"x": b"1"}), run=run)
    opened.close()
    config = place.config(run)
    assert config["schema"] == 1
    earlier = {key: value for key, value in config.items() if key not in {"schema", "ended"}}
    place.change_config(run, {**earlier, "colour": "red"})
    opened = place.opened()
    opened.deliver(samples.seal("model", {"x": b"2"}), run=run)
    opened.close()
    after = place.config(run)
    assert (after["colour"], after["ended"]) == ("red", "finished")


def test_a_run_of_a_later_release_gets_nothing_and_stays_as_it_is(place: Place, samples: Samples) -> None:
    run = uuid.uuid4().hex
    opened = place.opened()
    opened.deliver(samples.seal("model", {"x": b"1"}), run=run)
    opened.close()
    newer = {**place.config(run), "schema": 2}
    del newer["ended"]
    place.change_config(run, newer)
    opened = place.opened()
    with pytest.raises(NewerFormat, match=f"the run {run} on W&B {UPGRADE}"):
        opened.deliver(samples.seal("model", {"x": b"2"}), run=run)
    opened.close()
    assert place.config(run) == newer
    assert len(place.server.project(place.experiment)["collections"]["model"]["versions"]) == 1


# -- notes about the SDK's files, in the tracelet directory


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the SDK's."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    made = Path(get_staging_dir()) / "tmpcopy"
    made.write_bytes(b"12345")
    return made


def test_a_record_of_an_upload_says_its_schema(copy: Path, tmp_path: Path) -> None:
    with recorded(tmp_path / "staging") as record:
        record.add(str(copy))
        (path,) = (tmp_path / "staging").glob("*.copies")
        assert path.read_text() == f"schema 1\n{copy}\n"
    assert not copy.exists()
    assert not path.exists()


def test_a_record_of_an_upload_of_a_later_release_is_left_to_it(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "a.copies").write_text(f"schema 2\n{copy}\n")
    assert list(sweep(folder)) == []
    assert copy.exists()
    assert [one.name for one in folder.iterdir()] == ["a.copies"]


def test_a_record_of_an_upload_whose_schema_is_no_number_is_cleared(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "a.copies").write_text(f"schema none\n{copy}\n")
    assert sum(sweep(folder)) == 5
    assert not list(folder.iterdir())


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """An offline run of the SDK's."""
    file = tmp_path / "wandb" / "offline-run-1" / "run-1.wandb"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def is_marked(run_file: Path) -> bool:
    return run_file.with_name(f"{run_file.name}.synced").exists()


@pytest.mark.parametrize("schema", ["1", None, "none"], ids=["of today", "of an earlier release", "edited"])
def test_an_offline_run_is_marked_when_the_server_has_all_of_it(
    copy: Path, run_file: Path, tmp_path: Path, schema: str | None
) -> None:
    notes = tmp_path / "wandb" / "offline-runs"
    remember(notes, run_file, "put", [str(copy)])
    assert (notes / "run-1" / "schema").read_text() == "1"
    (notes / "run-1" / "schema").unlink() if schema is None else (notes / "run-1" / "schema").write_text(schema)
    forget(notes, "put")
    assert is_marked(run_file)
    assert not copy.exists()
    assert not list(notes.iterdir())


def test_the_notes_of_a_later_release_about_an_offline_run_are_left_to_it(
    copy: Path, run_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server has the artifact all the same: that is a warning, and no delivery that waits."""
    notes = tmp_path / "wandb" / "offline-runs"
    remember(notes, run_file, "put", [str(copy)])
    (notes / "run-1" / "schema").write_text("2")
    before = {path.name: path.read_text() for path in (notes / "run-1").iterdir()}
    with caplog.at_level(logging.WARNING, "tracelet.wandb"):
        forget(notes, "put")
    assert {path.name: path.read_text() for path in (notes / "run-1").iterdir()} == before
    assert copy.exists()
    assert not is_marked(run_file)
    assert UPGRADE in caplog.text
