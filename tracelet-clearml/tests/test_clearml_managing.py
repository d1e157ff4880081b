"""Aliases, experiments, and what a version was used for, on a ClearML server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from servers import clearml_user
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from tracelet.plugin import ArtifactType, Labels
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
