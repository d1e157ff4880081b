"""Aliases, experiments, what a version was used for, and deletion, on a ClearML server."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.exceptions import ArtifactNotFound
from tracelet.plugin import ArtifactType, Labels, StoredArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet_clearml.record_names import Query


def _names(opened: BackendProcess, beginning: str) -> list[str]:
    return [one for one in opened.experiments() if one.startswith(beginning)]


def _users(opened: BackendProcess, digest: str) -> list[tuple[str, int]]:
    return sorted((one.manifest.name, one.number) for one in opened.used_by(digest))


def _record(server: ClearmlServer, opened: BackendProcess, name: str, ref: str = "latest") -> dict[str, Any]:
    found = opened.find(name, ref)
    assert found is not None
    return dict(server.dump()["tasks"][found.locator["record"]])


# -- aliases


def test_an_alias_that_is_taken_away_does_not_go_back_to_an_older_version(hands: Hands, experiment: str) -> None:
    """The records of the versions that had it before say so still."""
    opened = hands.open(experiment)
    for number in range(3):
        opened.put(hands.samples.seal("net", {"x": b"%d" % number}), Labels(None, ("best",)))
    newest = opened.find("net", "best")
    assert newest is not None
    assert opened.remove_aliases(newest, "best").aliases == ()
    reader = hands.open(experiment, "reader")
    assert reader.find("net", "best") is None
    assert [one.aliases for one in reader.list()] == [(), (), ()]


def test_an_alias_that_moved_on_stays_where_it_is(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    first, second = (opened.put(hands.samples.seal("net", {"x": one}), Labels(None, ("best",))) for one in (b"0", b"1"))
    assert opened.remove_aliases(first, "best").aliases == ()
    assert opened.find("net", "best") == second


def test_the_label_of_a_version_is_not_taken_away(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("net", {"x": b"0"}), Labels("1.0", ("best",)))
    left = opened.remove_aliases(stored, "1.0", "latest", "v0")
    assert (left.label, left.aliases) == ("1.0", ("best",))


# -- experiments


def test_only_projects_with_a_version_are_experiments(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """Not one whose only version was deleted, nor one of somebody's own, nor those above and below."""
    opened = hands.open(f"{experiment}/inner")
    stored = opened.put(hands.samples.seal("data", {"x": b"0"}, type=ArtifactType.DATASET))
    hands.user.call(clearml_user.make_project, f"{experiment}/other")
    assert _names(opened, experiment) == [f"{experiment}/inner"]
    opened.delete(stored)
    assert _names(opened, experiment) == []


def test_experiments_cost_no_request_each(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    for number in range(4):
        hands.open(f"{experiment}-{number}").put(hands.samples.seal("net", {"x": b"%d" % number}))
    opened = hands.open(f"{experiment}-none")
    server.calls(clear=True)
    assert _names(opened, experiment) == [f"{experiment}-{number}" for number in range(4)]
    assert len([call for call in server.calls() if call["name"].endswith("get_all")]) <= 3


def test_a_project_that_got_another_name_is_an_experiment_of_that_name(hands: Hands, experiment: str) -> None:
    """But one with a name that no experiment's project has cannot be opened, and is left out."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("net", {"x": b"0"}))
    hands.user.call(clearml_user.rename_project, experiment, f"{experiment} new")
    assert _names(opened, experiment) == [f"{experiment} new"]
    hands.user.call(clearml_user.rename_project, f"{experiment} new", f"{experiment}%zz")
    assert _names(opened, experiment) == []


def test_an_experiment_whose_project_is_in_the_archive_is_listed(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("net", {"x": b"0"}))
    hands.user.call(clearml_user.archive_project, experiment)
    assert _names(opened, experiment) == [experiment]


# -- what a version was used for


def test_users_are_found_by_one_search(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """However many versions there are; with the aliases that they have, and after these were changed."""
    opened = hands.open(experiment)
    for number in range(6):
        opened.put(hands.samples.seal(f"net-{number % 2}", {"x": b"%d" % number}, inputs=["b" * 64] * (number % 2)))
    stored = opened.put(hands.samples.seal("report", {"x": b"r"}, inputs=["c" * 64, "a" * 64]), Labels(None, ("old",)))
    opened.relabel(stored, Labels("1.0", ("best",)))
    opened.remove_aliases(stored, "old")
    server.calls(clear=True)
    (found,) = opened.used_by("a" * 64)
    assert (found.manifest.name, found.version, found.aliases) == ("report", "1.0", ("best",))
    assert len([call for call in server.calls() if call["name"] == "tasks.get_all"]) <= 3
    asked = re.compile(Query(input="a" * 64).pattern)
    found_by_it = [key for key, one in server.dump()["tasks"].items() if asked.search(one["name"])]
    assert found_by_it == [stored.locator["record"]]


@pytest.mark.parametrize("inputs", [["a" * 64], [f"{number:064x}" for number in range(40)] + ["a" * 64]])
def test_users_whose_names_do_not_tell_their_inputs_are_found(
    hands: Hands, server: ClearmlServer, experiment: str, inputs: Sequence[str]
) -> None:
    """An earlier release told none, and so does a name for which they are too many; a change of aliases keeps it so."""
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("net", {"x": b"0"}, inputs=inputs))
    opened.put(hands.samples.seal("net", {"x": b"1"}, inputs=["b" * 64]))
    record = _record(server, opened, "net", "v0")
    earlier = record["name"].partition("inputs:")[0]
    hands.user.call(clearml_user.edit_task, record["id"], name=earlier)
    assert _users(opened, "a" * 64) == [("net", 0)]
    opened.relabel(stored, Labels(None, ("best",)))
    assert "inputs:" not in _record(server, opened, "net", "v0")["name"]
    assert _users(opened, "a" * 64) == [("net", 0)]
    assert _users(opened, "c" * 64) == []


def test_users_that_the_first_releases_stored_are_found(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """They are found by tags."""
    opened = hands.open(experiment, "earlier")
    stored = opened.put(hands.samples.seal("net", {"x": b"0"}, inputs=["a" * 64]))
    opened.close()
    told = [f"name:net put:{stored.manifest.put_id} claimed:0 version:0 type:custom digest:{stored.manifest.digest}"]
    tags = ["tracelet.record", "tracelet.stored", *(f"tracelet.{one}" for one in told[0].split(" "))]
    hands.user.call(clearml_user.edit_task, stored.locator["record"], name="net 0000000000", tags=tags)
    reader = hands.open(experiment, "reader")
    assert _users(reader, "a" * 64) == [("net", 0)]
    assert experiment in reader.experiments()


def test_a_name_tells_the_inputs_until_the_version_is_deleted(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("net", {"x": b"0"}, inputs=["a" * 64, "b" * 64]))
    record = _record(server, opened, "net")
    assert record["name"].endswith(f";inputs:{'a' * 12},{'b' * 12};")
    opened.delete(stored)
    assert "inputs:" not in server.dump()["tasks"][record["id"]]["name"]
    assert _users(opened, "a" * 64) == []


# -- deletion


def _stored_files(server: ClearmlServer, experiment: str) -> list[Path]:
    return [path for path in (server.files / experiment).rglob("*") if path.is_file()]


def _flowers(hands: Hands, opened: BackendProcess, count: int) -> StoredArtifact:
    """Store a version of a dataset that has so many files."""
    content = {f"{number}.csv": b"%d" % number for number in range(count)}
    return opened.put(hands.samples.seal("flowers", content, type=ArtifactType.DATASET))


def _datasets(server: ClearmlServer, *stored: StoredArtifact) -> list[bool]:
    """Whether the ClearML dataset of each version is there."""
    return [one.locator["place"]["entity"] in server.dump()["tasks"] for one in stored]


@pytest.mark.parametrize("kind", [ArtifactType.CUSTOM, ArtifactType.MODEL, ArtifactType.DATASET])
@pytest.mark.parametrize("metadata", [None, {"long": "x" * 300_000}], ids=["short", "long"])
def test_nothing_is_left_of_the_bytes_of_a_deleted_version(
    hands: Hands, server: ClearmlServer, experiment: str, kind: ArtifactType, metadata: dict[str, str] | None
) -> None:
    """Not even of a manifest that is too long for the record."""
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("thing", {"x": b"1", "y": b"2"}, type=kind, metadata=metadata))
    size = sum(path.stat().st_size for path in _stored_files(server, experiment))
    assert 0 < (opened.delete(stored) or 0) <= size
    assert _stored_files(server, experiment) == []


def test_a_dataset_that_others_come_from_stays_until_the_last_of_them_is_deleted(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """Each has only the files that are new in it."""
    opened = hands.open(experiment)
    first, second, third = (_flowers(hands, opened, count) for count in (1, 2, 3))
    opened.delete(first)
    opened.delete(second)
    assert _datasets(server, first, second, third) == [True, True, True]
    content = {f"{number}.csv": b"%d" % number for number in range(3)}
    assert opened.content(third, hands.new_folder()) == content
    assert hands.user.call(clearml_user.content_of, third.locator["place"]["entity"]) == content
    opened.delete(third)
    assert _datasets(server, first, second, third) == [False, False, False]
    assert _stored_files(server, experiment) == []


def test_datasets_that_are_deleted_together_free_their_bytes_together(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """Those that the others come from, too; what they come from is asked for once. One that is gone stops nothing."""
    opened = hands.open(experiment)
    first, second, third, gone = (_flowers(hands, opened, count) for count in (1, 2, 3, 4))
    opened.delete(gone)
    server.calls(clear=True)
    assert len(opened.delete_many(first, second, third, gone)) == 3
    with pytest.raises(ArtifactNotFound):
        opened.delete_many(gone)
    assert _datasets(server, first, second, third) == [False, False, False]
    assert _stored_files(server, experiment) == []
    assert len([call for call in server.calls() if call["name"] == "tasks.delete"]) == 3
    assert len([call for call in server.calls() if call["name"] == "tasks.edit"]) == 3


def test_a_dataset_whose_version_stays_is_not_deleted_with_one_that_comes_from_it(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    first, second = (_flowers(hands, opened, count) for count in (1, 2))
    opened.delete(second)
    assert _datasets(server, first, second) == [True, False]
    assert opened.content(first, hands.new_folder()) == {"0.csv": b"0"}


def test_a_dataset_that_somebodys_own_comes_from_stays(hands: Hands, server: ClearmlServer, experiment: str) -> None:
    """Wherever that one is."""
    opened = hands.open(experiment)
    stored = _flowers(hands, opened, 1)
    key = stored.locator["place"]["entity"]
    child = hands.user.call(clearml_user.child_of, key, f"{experiment}-elsewhere", "own")
    opened.delete(stored)
    assert opened.list() == []
    assert _datasets(server, stored) == [True]
    assert hands.user.call(clearml_user.content_of, child) == {"0.csv": b"0", "added.txt": b"added"}


def test_a_dataset_that_somebody_has_deleted_is_no_error(hands: Hands, experiment: str) -> None:
    opened = hands.open(experiment)
    stored = _flowers(hands, opened, 1)
    hands.user.call(clearml_user.delete_task, stored.locator["place"]["entity"])
    opened.delete(stored)
    assert opened.list() == []


def test_a_dataset_whose_parent_is_deleted_while_it_is_made_begins_a_new_line(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """Whoever deletes may not see it yet, and it would lack the parent's files."""
    first = _flowers(hands, hands.open(experiment), 1)
    key = first.locator["place"]["entity"]
    content = {f"{number}.csv": b"%d" % number for number in range(2)}
    sealed = hands.samples.seal("flowers", content, type=ArtifactType.DATASET)
    writer = hands.open(experiment, "writer")
    writer.start()
    server.fail({"match": "files.POST", "kind": "slow", "seconds": 8, "times": 1})
    writer.begin_put_many([(sealed, Labels())], 0.0)
    until = time.monotonic() + 300
    while not any(call["name"] == "files.POST" for call in server.calls()):
        assert time.monotonic() < until
        time.sleep(0.05)
    hands.user.call(clearml_user.delete_task, key)
    (second,) = writer.driver.result()
    assert writer.content(second, hands.new_folder()) == content
    assert hands.user.call(clearml_user.content_of, second.locator["place"]["entity"]) == content
