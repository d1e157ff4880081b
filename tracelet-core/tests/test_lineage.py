"""What a version was made from, and what was made from it: found by an index, and followed as a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from commanding import program, run, run_both, run_json
from hypothesis import given
from hypothesis import strategies as st
from watching import Scripted

from tracelet import BackendUnavailable, ConfigError, Experiment, IntegrityError, LoggedArtifact
from tracelet.core.artifacts.lineage import LineageNode, LineageVersion
from tracelet.core.management.lineage import tree

BOTH = ("local", "scripted-inline")


def log(exp: Experiment, name: str, content: object, *backends: str) -> LoggedArtifact:
    artifact = exp.create_artifact(name, "custom").add_object(content, "o")
    if backends:
        artifact.metadata["preferred_backends"] = list(backends)
    exp.log_artifact(artifact)
    return exp.get_artifact(name)


def make(experiment: Callable[..., Experiment], *backends: str, **made: tuple[str, ...]) -> Experiment:
    """Log artifacts, each in a run of its own that has used others."""
    for name, used in made.items():
        exp = experiment(*backends, routing="all")
        for one in used:
            exp.use_artifact(one)
        log(exp, name, name)
        exp.stop()
    return experiment(*backends, routing="all")


def shown(nodes: Sequence[LineageNode]) -> list[object]:
    """The names of a tree, with those below them."""
    return [(one.versions[0].name, one.cut, shown(one.nodes)) for one in nodes]


# -- who used it


def test_the_users_of_a_version_are_found_newest_first(experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "local", data=(), net=("data",), report=("data", "net"))
    assert [one.name for one in exp.get_artifact("data").used_by()] == ["report", "net"]
    assert exp.get_artifact("report").used_by() == []


def test_a_user_that_two_backends_hold_is_there_once(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, *BOTH, data=(), net=("data",), copy=("net",))
    exp.use_artifact("data")
    log(exp, "alone", 1, "scripted-inline")
    found = exp.get_artifact("data").used_by()
    assert [(one.name, one.backend in BOTH) for one in found] == [("alone", True), ("net", True)]


def test_the_users_are_asked_for_and_not_looked_for(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "scripted-inline", data=(), net=("data",))
    listed = len(scripted.calls("list"))
    assert len(exp.get_artifact("data").used_by()) == 1
    assert (len(scripted.calls("list")), len(scripted.calls("used_by"))) == (listed, 1)


def test_a_backend_that_is_away_is_an_error_with_the_answers_of_the_others(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    data = make(experiment, *BOTH, data=(), net=("data",)).get_artifact("data")
    scripted.told(used_by="away")
    with pytest.raises(BackendUnavailable) as raised:
        data.used_by()
    assert [one.name for one in raised.value.answers] == ["net"]


# -- the tree


def test_inputs_are_followed_up_and_users_down(experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "local", raw=(), data=("raw",), net=("data",), report=("net",), page=("report",))
    lineage = exp.get_artifact("net").lineage()
    assert shown(lineage.inputs) == [("data", "", [("raw", "", [])])]
    assert shown(lineage.users) == [("report", "", [("page", "", [])])]
    assert repr(lineage) == "<Lineage of net v0: made from 1, used by 1>"
    assert lineage.ok
    lineage.raise_for_errors()


def test_it_goes_as_far_as_it_is_told_and_says_where_it_ends(experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "local", raw=(), data=("raw",), net=("data",), report=("net",), page=("report",))
    lineage = exp.get_artifact("net").lineage(1)
    assert shown(lineage.inputs) == [("data", "deeper", [])]
    assert str(lineage).count("(and so on)") == 2
    for depth in (0, 101, True, "3"):
        with pytest.raises(ConfigError, match="from 1 to 100"):
            exp.get_artifact("net").lineage(depth)  # type: ignore[arg-type]


def test_what_is_reached_in_two_ways_is_followed_once_where_it_is_nearest(
    experiment: Callable[..., Experiment],
) -> None:
    exp = make(experiment, "local", raw=(), data=("raw",), net=("data",), report=("net", "data"))
    assert shown(exp.get_artifact("report").lineage().inputs) == [
        ("data", "", [("raw", "", [])]),
        ("net", "", [("data", "again", [])]),
    ]


def test_a_digest_that_no_backend_knows_is_shown_as_such(experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "local", raw=(), data=("raw",))
    finder = exp._artifact_manager.finder
    raw = exp.get_artifact("raw")
    finder.request("local", "delete_many", stored=(finder.request("local", "find", name="raw", ref="v0"),))
    lineage = exp.get_artifact("data").lineage()
    assert lineage.inputs[0].versions == ()
    assert f"sha256:{raw.digest[:12]} (no backend that was asked knows it)" in str(lineage)
    gone = raw.lineage()
    assert (gone.root.versions[0].name, shown(gone.users)) == ("raw", [("data", "", [])])


def test_each_backend_is_listed_once_and_a_content_is_one_node_with_all_its_names(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = make(experiment, *BOTH, raw=(), data=("raw",), net=("data",))
    exp = experiment(*BOTH, routing="all")
    exp.use_artifact("raw")
    artifact = exp.create_artifact("copy", "custom").add_object("data", "o")
    exp.log_artifact(artifact)
    listed = len(scripted.calls("list"))
    lineage = exp.get_artifact("net").lineage()
    assert len(scripted.calls("list")) == listed + 1
    (data,) = lineage.inputs
    assert {(one.name, one.backend) for one in data.versions} == {(n, b) for n in ("data", "copy") for b in BOTH}
    assert "data v0, copy v0  custom  " in str(data)
    assert "local, scripted-inline" in str(data)
    assert lineage.root.versions[0].name == "net"


def test_what_a_backend_that_is_away_knows_is_missing_and_told(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    net = make(experiment, *BOTH, data=(), net=("data",)).get_artifact("net")
    scripted.told(list="away")
    lineage = net.lineage()
    assert shown(lineage.inputs) == [("data", "", [])]
    assert not lineage.ok
    assert "scripted-inline: FAILED" in repr(lineage)
    with pytest.raises(BackendUnavailable):
        lineage.raise_for_errors()


def test_a_damaged_manifest_does_not_hide_the_others(experiment: Callable[..., Experiment], home: Path) -> None:
    exp = make(experiment, "local", data=(), net=("data",), report=("data",))
    (manifest,) = (home / ".tracelet" / "local").rglob("versions/report/v0.json")
    manifest.write_text("{")
    lineage = exp.get_artifact("data").lineage()
    assert shown(lineage.users) == [("net", "", [])]
    with pytest.raises(IntegrityError):
        lineage.raise_for_errors()


def test_many_branches_are_counted_in_the_terminal_and_all_there_in_python(
    experiment: Callable[..., Experiment],
) -> None:
    exp = experiment("local")
    log(exp, "data", 0)
    exp.use_artifact("data")
    for number in range(23):
        log(exp, "net", number)
    lineage = exp.get_artifact("data").lineage()
    assert len(lineage.users) == 23
    assert str(lineage).split("\n")[-1] == "   └─ … and 3 more"


def test_the_tree_is_drawn(experiment: Callable[..., Experiment]) -> None:
    exp = make(experiment, "local", raw=(), extra=(), data=("raw", "extra"), net=("data",))
    lines = [line.partition("  custom")[0] for line in str(exp.get_artifact("data").lineage()).split("\n")]
    assert lines == [
        "data v0",
        "├─ made from",
        "│  ├─ extra v0",
        "│  └─ raw v0",
        "└─ used by",
        "   └─ net v0",
    ]
    assert "├─ made from nothing that is known" in str(exp.get_artifact("raw").lineage())


EDGES = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))


@given(EDGES, st.integers(1, 7))
def test_whatever_is_noted_circles_too_everything_in_reach_is_in_the_tree_and_is_followed_once(
    edges: dict[str, list[str]], depth: int
) -> None:
    known = {one: (LineageVersion(one, "v0", "custom", "local", 1.0),) for one in "abcdef"}
    found: list[LineageNode] = []

    def take(nodes: Sequence[LineageNode], left: int) -> None:
        assert left >= 0 or not nodes
        for node in nodes:
            found.append(node)
            take(node.nodes, left - 1)

    take(tree("a", lambda one: edges.get(one, []), known, depth), depth - 1)
    near, reached = {"a"}, set()
    for _ in range(depth):
        near = {one for each in near for one in edges.get(each, [])}
        reached |= near
    assert {node.digest for node in found} == reached
    followed = [node.digest for node in found if node.nodes]
    assert len(followed) == len(set(followed))
    assert all(bool(node.nodes or node.cut) is bool(edges.get(node.digest)) for node in found)


# -- the command

CHAIN = """
with experiment("local") as exp:
    exp.log_artifact(artifact("data"))
    exp.use_artifact("data")
    exp.log_artifact(artifact("net"))
"""


def test_the_command_shows_the_tree(home: Path) -> None:
    program(CHAIN)
    lines = [line.partition("  config")[0] for line in run("lineage", "trials", "net").splitlines()]
    assert lines == ["net v0", "├─ made from", "│  └─ data v0", "└─ used by nothing that is known"]
    told = run_json("lineage", "trials", "data@v0", "--depth", "1")
    assert (told["experiment"], told["depth"], told["inputs"], told["failed"]) == ("trials", 1, [], {})
    assert told["users"][0]["versions"][0]["name"] == "net"
    assert told["root"]["versions"][0]["version"] == "v0"


def test_the_command_says_what_it_could_not_ask_or_find(scripted: Scripted, home: Path) -> None:
    program(CHAIN)
    assert "did you mean 'net'" in run("lineage", "trials", "nett", code=1)
    assert "from 1 to 100" in run("lineage", "trials", "net", "--depth", "0", code=2)
    scripted.told(list="away")
    out, err = run_both("lineage", "trials", "net", "--backend", "local", "--backend", "scripted", code=1)
    assert "data v0" in out
    assert "error: scripted: scripted is out" in err
