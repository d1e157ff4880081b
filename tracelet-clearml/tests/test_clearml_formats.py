"""What is stored in ClearML outlives the release that stored it: both an earlier one and a later one may be the reader."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import IntegrityError, NewerFormat
from tracelet.plugin import ArtifactType, Labels, StoredArtifact
from tracelet.testing.backend_process import BackendProcess

UPGRADE = "by a later Tracelet .*: upgrade tracelet"
KINDS = (ArtifactType.CONFIG, ArtifactType.MODEL, ArtifactType.DATASET)


def _text(server: ClearmlServer, stored: StoredArtifact) -> dict[str, Any]:
    """The text of a record."""
    task = server.dump()["tasks"][stored.locator["record"]]
    return dict(json.loads(task["configuration"]["tracelet"]["value"]))


def _rewrite(hands: Hands, stored: StoredArtifact, text: dict[str, Any]) -> None:
    item = {"name": "tracelet", "type": "json", "value": json.dumps(text)}
    hands.user.call(clearml_user.edit_task, stored.locator["record"], configuration={"tracelet": item})


def _rename(hands: Hands, server: ClearmlServer, key: str, change: Callable[[str], str]) -> str:
    """Give a hidden task the name that another release gives it."""
    name = change(server.dump()["tasks"][key]["name"])
    hands.user.call(clearml_user.edit_task, key, name=name)
    return name


def _name(server: ClearmlServer, stored: StoredArtifact) -> str:
    return str(server.dump()["tasks"][stored.locator["record"]]["name"])


def _note(server: ClearmlServer, run: str) -> str:
    (key,) = [one["id"] for one in server.dump()["tasks"].values() if one["name"].startswith(f";run:{run};")]
    return str(key)


def _renumber(schema: str) -> Callable[[str], str]:
    return lambda name: name.replace("schema:1;", f"schema:{schema};" if schema else "")


@pytest.fixture
def two(hands: Hands, experiment: str) -> list[StoredArtifact]:
    """Two versions of a name; the first has a label and an alias."""
    opened = hands.open(experiment, "writer")
    stored = [
        opened.put(hands.samples.seal("net", {"x": b"%d" % number}, type=ArtifactType.CONFIG), labels)
        for number, labels in enumerate((Labels("1.0", ("best",)), Labels()))
    ]
    opened.close()
    return stored


def test_everything_says_its_schema(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact]
) -> None:
    assert [_text(server, one)["schema"] for one in two] == [1, 1]
    assert all(";stored;schema:1;" in _name(server, one) for one in two)
    hands.open(experiment, "writer").put(hands.samples.seal("set", {"x": b"1"}, type=ArtifactType.DATASET))
    tasks = list(server.dump()["tasks"].values())
    marked = [one for one in tasks if {"tracelet_run", "tracelet_put"} & set(one["runtime"])]
    assert {one["runtime"]["tracelet_schema"] for one in marked} == {1}
    notes = [one["name"] for one in tasks if one["name"].startswith(";run:")]
    assert all(name.endswith(";schema:1;") for name in notes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_a_field_that_this_release_does_not_know_is_passed_over_and_kept(
    hands: Hands, server: ClearmlServer, experiment: str, kind: ArtifactType
) -> None:
    opened = hands.open(experiment, "writer")
    sealed = hands.samples.seal("net", {"x": b"1", "y": b"2"}, type=kind)
    stored = opened.put(sealed)
    text = _text(server, stored)
    place = {**text["place"], "colour": "red", "blobs": [{**one, "colour": "red"} for one in text["place"]["blobs"]]}
    _rewrite(hands, stored, {**text, "place": place, "colour": "red"})
    _rename(hands, server, stored.locator["record"], lambda name: f"{name}colour:red;")
    reader = hands.open(experiment, "reader")
    assert hands.content(reader, sealed) == {"x": b"1", "y": b"2"}
    for ref in ("v0", f"put:{sealed.manifest.put_id}", f"sha256:{sealed.manifest.digest[:8]}"):
        assert reader.find("net", ref) is not None, ref
    (listed,) = reader.list(type=kind)
    renamed = reader.relabel(listed, Labels("1.0", ("best",)))
    assert (renamed.label, renamed.aliases) == ("1.0", ("best",))
    assert "colour:red" in _name(server, stored)
    assert _text(server, stored) == {**text, "place": place, "colour": "red"}
    found = reader.find("net", "best")
    assert found is not None
    assert found.manifest == sealed.manifest
    reader.delete(found)
    assert reader.list() == []
    assert "colour:red" in _name(server, stored)


def test_a_record_without_a_number_is_one_of_the_first_schema(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact]
) -> None:
    """The first releases wrote none, and every field of the text."""
    for one in two:
        text = _text(server, one)
        del text["schema"]
        assert set(text) == {"place", "manifest", "aside", "whole"}
        _rewrite(hands, one, text)
        _rename(hands, server, one.locator["record"], _renumber(""))
    reader = hands.open(experiment, "reader")
    for ref, number in {"latest": 1, "v0": 0, "1.0": 0, "best": 0, f"put:{two[1].manifest.put_id}": 1}.items():
        found = reader.find("net", ref)
        assert found is not None, ref
        assert found.manifest == two[number].manifest
    moved = reader.relabel(two[1], Labels(None, ("best",)))
    assert moved.aliases == ("best",)
    assert [one.aliases for one in reader.list("net")] == [("best",), ()]
    assert reader.put(hands.samples.seal("net", {"x": b"3"})).number == 2


def test_a_run_whose_note_has_no_number_goes_on_in_its_task(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    run = uuid.uuid4().hex
    hands.open(experiment, "beginner", run=run).put(hands.samples.seal("net", {"x": b"1"}))
    _rename(hands, server, _note(server, run), _renumber(""))
    hands.open(experiment, "successor", run=run).put(hands.samples.seal("net", {"x": b"2"}))
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert set(hands.user.call(clearml_user.task_artifacts, task["id"])) == {"net.v0", "net.v1"}


def _of_a_later_release(hands: Hands, server: ClearmlServer, stored: StoredArtifact, part: str) -> None:
    """Give a part of a record the next schema, and a form that nobody knows today."""
    text = _text(server, stored)
    if part == "name":
        form = f";stored;schema:2;what:{stored.manifest.type.value};"
        _rename(hands, server, stored.locator["record"], lambda name: f"{name.partition(' ;')[0]} {form}")
    elif part == "text":
        _rewrite(hands, stored, {"schema": 2, "everything": "elsewhere"})
    else:
        _rewrite(hands, stored, {**text, "place": {"schema": 2, "everything": "elsewhere"}})


@pytest.mark.parametrize("part", ["name", "text", "place"])
def test_a_version_of_a_later_release_is_told_of_and_the_others_are_given(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact], part: str
) -> None:
    _of_a_later_release(hands, server, two[1], part)
    reader = hands.open(experiment, "reader")
    for ref in ("v0", "1.0", f"put:{two[0].manifest.put_id}", f"sha256:{two[0].manifest.digest}"):
        found = reader.find("net", ref)
        assert found is not None, ref
        assert found.manifest == two[0].manifest
    for ref in ("latest", "v1", f"put:{two[1].manifest.put_id}", f"sha256:{two[1].manifest.digest[:10]}"):
        with pytest.raises(NewerFormat, match=UPGRADE):
            reader.find("net", ref)
    with pytest.raises(NewerFormat, match=UPGRADE):
        reader.list("net")
    with pytest.raises(NewerFormat, match=UPGRADE):
        reader.list(type=ArtifactType.CONFIG)


def test_an_alias_or_a_label_that_only_a_later_release_may_know_is_not_said_to_be_none(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact]
) -> None:
    _of_a_later_release(hands, server, two[1], "name")
    reader = hands.open(experiment, "reader")
    for ref in ("best", "2.0", "v5"):
        with pytest.raises(NewerFormat, match=UPGRADE):
            reader.find("net", ref)
    assert reader.find("other", "best") is None


def test_beside_a_version_of_a_later_release_nothing_is_stored_named_or_taken_back(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact]
) -> None:
    """What is to be stored waits for the upgrade; other names are as free as ever."""
    _of_a_later_release(hands, server, two[1], "name")
    before = server.dump()["tasks"][two[1].locator["record"]]
    opened = hands.open(experiment, "other")
    for labels in (Labels(), Labels("2.0"), Labels(None, ("best",))):
        with pytest.raises(NewerFormat, match=UPGRADE):
            opened.put(hands.samples.seal("net", {"x": b"3"}, type=ArtifactType.CONFIG), labels)
    with pytest.raises(NewerFormat, match=UPGRADE):
        opened.relabel(two[0], Labels(None, ("good",)))
    with pytest.raises(NewerFormat, match=UPGRADE):
        opened.delete(two[1])
    assert server.dump()["tasks"][two[1].locator["record"]] == before
    assert opened.put(hands.samples.seal("other", {"x": b"3"})).number == 0


def test_the_task_of_a_run_that_a_later_release_began_is_not_guessed_at(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    run = uuid.uuid4().hex
    first = hands.open(experiment, "beginner", run=run)
    first.put(hands.samples.seal("net", {"x": b"1"}))
    first.close()
    _rename(hands, server, _note(server, run), lambda name: f";run:{run};schema:2;elsewhere;")
    successor = hands.open(experiment, "successor", run=run)
    with pytest.raises(NewerFormat, match=UPGRADE):
        successor.put(hands.samples.seal("net", {"x": b"2"}))
    assert len(hands.user.call(clearml_user.tasks, experiment)) == 1


@pytest.mark.parametrize("schema", ["0", "-1", "x", "1" * 6000])
def test_a_name_whose_schema_somebody_has_changed_is_no_version(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact], schema: str
) -> None:
    _rename(hands, server, two[1].locator["record"], _renumber(schema))
    reader = hands.open(experiment, "reader")
    assert [one.number for one in reader.list()] == [0]
    found = reader.find("net")
    assert found is not None
    assert found.number == 0


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"schema": True},
        {"schema": "1"},
        {"place": {}},
        {"place": {"kind": "artifacts", "task": "", "project": "", "blobs": [{"uri": 1}]}},
        {"place": {"kind": "artifacts", "task": "", "project": "", "blobs": [], "keys": "net"}},
        {"whole": "elsewhere"},
        {"manifest": None, "aside": {"uri": 1}},
    ],
    ids=["zero", "true", "text", "no-place", "half-a-blob", "no-list", "no-blob", "half-aside"],
)
def test_a_record_that_somebody_has_changed_is_told_of_and_the_others_are_given(
    hands: Hands, server: ClearmlServer, experiment: str, two: list[StoredArtifact], change: dict[str, Any]
) -> None:
    _rewrite(hands, two[1], {**_text(server, two[1]), **change})
    reader: BackendProcess = hands.open(experiment, "reader")
    assert reader.find("net", "v0") is not None
    with pytest.raises(IntegrityError, match="a record in ClearML was changed"):
        reader.find("net", "v1")
    with pytest.raises(IntegrityError, match="'net' v1"):
        reader.list("net")
