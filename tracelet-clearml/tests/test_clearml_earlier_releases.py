"""What an earlier release has stored in ClearML, found by tags that are not made any more, is found and goes on."""

from __future__ import annotations

import json
import uuid

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import VersionConflict
from tracelet.plugin import ArtifactType, Labels, StoredArtifact, hash_blob
from tracelet.testing.backend_process import BackendProcess


def _age(hands: Hands, stored: StoredArtifact, *more: str) -> None:
    """Make a record what it was in an earlier release: its name is short, and its tags say the rest."""
    manifest, number = stored.manifest, stored.number
    told = [f"name:{manifest.name}", f"type:{manifest.type.value}", f"put:{manifest.put_id}", f"claimed:{number}"]
    told += [f"digest:{manifest.digest}", f"digest:{manifest.digest[:6]}", *more]
    tags = ["tracelet.record", *(f"tracelet.{one}" for one in told)]
    hands.user.call(clearml_user.edit_task, stored.locator["record"], name=f"{manifest.name} {number:010d}", tags=tags)


@pytest.fixture
def old(hands: Hands, experiment: str) -> list[StoredArtifact]:
    """Two versions that an earlier release has stored, the first with a label and an alias that moved on."""
    opened = hands.open(experiment, "earlier")
    kinds = (ArtifactType.CONFIG, ArtifactType.CONFIG)
    stored = [opened.put(hands.samples.seal("net", {"x": b"%d" % n}, type=kind)) for n, kind in enumerate(kinds)]
    opened.close()
    _age(hands, stored[0], "label:1.0", "alias:best", "moved:0:best", "stored", "version:0")
    _age(hands, stored[1], "alias:best", "moved:1:best", "stored", "version:1")
    return stored


def _numbers(opened: BackendProcess) -> list[int]:
    return [one.number for one in opened.list("net")]


def test_it_is_found_by_whatever_it_was_found_by(hands: Hands, experiment: str, old: list[StoredArtifact]) -> None:
    reader = hands.open(experiment, "reader")
    first, second = (one.manifest for one in old)
    refs = {"latest": 1, "v0": 0, "1.0": 0, "best": 1, f"put:{first.put_id}": 0, f"sha256:{second.digest}": 1}
    for ref, number in (refs | {f"sha256:{first.digest[:8]}": 0}).items():
        found = reader.find("net", ref)
        assert found is not None, ref
        assert found.manifest == old[number].manifest
    assert [(one.number, one.version, one.aliases) for one in reader.list()] == [(1, "v1", ("best",)), (0, "1.0", ())]
    assert _numbers(reader) == [one.number for one in reader.list(type=ArtifactType.CONFIG)] == [1, 0]
    assert reader.list(type=ArtifactType.MODEL) == []


def test_new_versions_come_after_it(hands: Hands, experiment: str, old: list[StoredArtifact]) -> None:
    opened = hands.open(experiment)
    with pytest.raises(VersionConflict):
        opened.put(hands.samples.seal("net", {"x": b"3"}), Labels("1.0"))
    new = opened.put(hands.samples.seal("net", {"x": b"2"}), Labels("2.0", ("best",)))
    assert new.number > 1
    reader = hands.open(experiment, "reader")
    assert _numbers(reader) == [new.number, 1, 0]
    best = reader.find("net", "best")
    assert best is not None
    assert best.number == new.number
    assert [one.aliases for one in reader.list("net")] == [("best",), (), ()]


def test_its_names_can_be_changed_and_it_can_be_deleted(
    hands: Hands, server: ClearmlServer, experiment: str, old: list[StoredArtifact]
) -> None:
    """A record that is changed is one like all others from then on."""
    opened = hands.open(experiment)
    assert opened.relabel(old[0], Labels(None, ("good",))).aliases == ("good",)
    assert server.dump()["tasks"][old[0].locator["record"]]["tags"] == []
    found = hands.open(experiment, "reader").find("net", "1.0")
    assert found is not None
    assert found.aliases == ("good",)
    for one in old:
        opened.delete(one)
    assert opened.list() == []
    with pytest.raises(VersionConflict):
        opened.put(hands.samples.seal("net", {"x": b"3"}), Labels("1.0"))
    assert opened.put(hands.samples.seal("net", {"x": b"4"})).number > 1


def test_a_label_whose_version_it_deleted_stays_spent(hands: Hands, experiment: str, old: list[StoredArtifact]) -> None:
    _age(hands, old[0], "spent:1.0", "gone")
    with pytest.raises(VersionConflict, match="which is deleted"):
        hands.open(experiment).put(hands.samples.seal("net", {"x": b"3"}), Labels("1.0"))


def test_a_put_that_it_began_is_ended(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    opened = hands.open(experiment)
    sealed = hands.samples.seal("net", {"x": b"1"})
    stored = opened.put(sealed)
    _age(hands, stored)
    again = hands.open(experiment, "other").deliver(sealed, again=True)
    assert (again.created, again.stored.number) == (True, 0)
    assert again.stored.locator["record"] == stored.locator["record"]


def test_a_run_that_it_began_goes_on_in_its_task(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    run = uuid.uuid4().hex
    opened = hands.open(experiment, "beginner", run=run)
    opened.put(hands.samples.seal("net", {"x": b"1"}))
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    (note,) = [one["id"] for one in server.dump()["tasks"].values() if one["name"].startswith(f";run:{run};")]
    hands.user.call(clearml_user.delete_task, note)
    hands.user.call(clearml_user.edit_task, task["id"], tags=["tracelet", f"tracelet.run:{run}"])
    hands.open(experiment, "successor", run=run).put(hands.samples.seal("net", {"x": b"2"}))
    assert [one["id"] for one in hands.user.call(clearml_user.tasks, experiment)] == [task["id"]]
    assert set(hands.user.call(clearml_user.task_artifacts, task["id"])) == {"net.v0", "net.v1"}


def test_a_long_manifest_that_it_stored_beside_the_record_is_read(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """The file had the manifest alone, and the record where everything is."""
    sealed = hands.samples.seal("wide", {"x": b"1"}, metadata={"long": "x" * 300_000})
    stored = hands.open(experiment).put(sealed)
    record = server.dump()["tasks"][stored.locator["record"]]
    body = json.loads(record["configuration"]["tracelet"]["value"])
    (beside,) = (server.files / experiment).rglob("tracelet.json")
    beside.write_text(sealed.manifest.to_json())
    aside = {**body["whole"], "size_bytes": beside.stat().st_size, "sha256": hash_blob(beside)}
    old = {"place": stored.locator["place"], "manifest": None, "aside": aside}
    text = {"name": "tracelet", "type": "json", "value": json.dumps(old)}
    hands.user.call(clearml_user.edit_task, record["id"], configuration={"tracelet": text})
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"1"}
    found = hands.open(experiment, "reader").find("wide")
    assert found is not None
    assert found.manifest == sealed.manifest
