"""Changing what is stored: a change goes to every backend that holds the content, and says what became of it in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from watching import Scripted

from tracelet import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactType,
    BackendError,
    BackendUnavailable,
    ConfigError,
    Experiment,
    LoggedArtifact,
    VersionConflict,
)
from tracelet.core.artifacts.changes import ChangeResults

BOTH = ("local", "scripted-inline")


@pytest.fixture
def two(experiment: Callable[..., Experiment]) -> Experiment:
    """A run that writes to the embedded backend and to another one."""
    return experiment(*BOTH, routing="all")


def log(exp: Experiment, name: str, content: Any, *backends: str, **labels: Any) -> None:
    artifact = exp.create_artifact(name, ArtifactType.CUSTOM).add_object(content, "o")
    if backends:
        artifact.metadata["preferred_backends"] = list(backends)
    exp.log_artifact(artifact, **labels)


def aliases(exp: Experiment, name: str, backend: str) -> dict[str, tuple[str, ...]]:
    """The aliases of each version of a name in one backend."""
    found = exp._artifact_manager.finder.find_all(None, backend, name)
    return {one.version: one.aliases for one in found}


def in_local(exp: Experiment, version: str = "latest", name: str = "net") -> LoggedArtifact:
    return exp.get_artifact(name, version, "local")


# -- aliases


def test_an_alias_moves_in_every_backend_that_holds_the_content(two: Experiment) -> None:
    log(two, "net", 1, aliases=["best"])
    log(two, "net", 2)
    results = in_local(two, "v1").add_alias("best", "prod")
    assert results.ok
    assert {name: change.aliases for name, change in results.items()} == dict.fromkeys(BOTH, ("best", "prod"))
    for backend in BOTH:
        assert aliases(two, "net", backend) == {"v0": (), "v1": ("best", "prod")}
    assert repr(results) == "<ChangeResults local: v1 (best, prod); scripted-inline: v1 (best, prod)>"


def test_an_alias_is_taken_away_where_it_is(two: Experiment) -> None:
    log(two, "net", 1, aliases=["best", "first"])
    log(two, "net", 2, aliases=["second"])
    assert in_local(two, "v0").remove_alias("first", "second").ok
    for backend in BOTH:
        assert aliases(two, "net", backend) == {"v0": ("best",), "v1": ("second",)}


def test_content_has_another_number_elsewhere(two: Experiment) -> None:
    log(two, "net", "only there", "scripted-inline")
    log(two, "net", 1)
    assert {name: one.version for name, one in in_local(two).add_alias("best").items()} == {
        "local": "v0", "scripted-inline": "v1",
    }  # fmt: skip


def test_a_backend_without_the_content_is_named(two: Experiment) -> None:
    log(two, "net", 1, "local")
    log(two, "net", 2, "scripted-inline")
    results = in_local(two).add_alias("best")
    assert (list(results), results.absent, results.ok) == (["local"], ("scripted-inline",), True)
    assert repr(results) == "<ChangeResults local: v0 (best); scripted-inline: not there>"


@pytest.mark.parametrize("method", ["find", "relabel"])
def test_a_backend_that_is_away_is_an_error_by_value_and_the_same_again_completes_it(
    two: Experiment, scripted: Scripted, method: str
) -> None:
    log(two, "net", 1)
    net = in_local(two)
    scripted.told(**{method: "away"})
    results = net.add_alias("best")
    assert (list(results), list(results.failed), results.absent, results.ok) == (
        ["local"],
        ["scripted-inline"],
        (),
        False,
    )
    assert "scripted-inline: FAILED (scripted is out)" in repr(results)
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        results.raise_for_errors()
    scripted.told()
    net.add_alias("best").raise_for_errors()
    assert aliases(two, "net", "scripted-inline") == {"v0": ("best",)}


def test_a_delivery_that_waits_is_named_for_it_knows_nothing_of_the_change(two: Experiment, scripted: Scripted) -> None:
    scripted.told(put="away")
    log(two, "net", 1)
    log(two, "other", 1)
    results = in_local(two).add_alias("best")
    assert (list(results), list(results.queued), results.absent, results.ok) == (
        ["local"],
        ["scripted-inline"],
        (),
        False,
    )
    assert "scripted-inline: queued (a delivery of this content to scripted-inline waits" in repr(results)
    with pytest.raises(BackendUnavailable, match="`tracelet sync`"):
        results.raise_for_errors()
    log(two, "net", 2, "local")
    assert list(in_local(two, "v1").add_alias("last").queued) == []


def test_a_backend_that_cannot_name_afterwards_says_so(experiment: Callable[..., Experiment]) -> None:
    exp = experiment("local", "scripted-dumb", routing="all")
    log(exp, "net", 1)
    results = in_local(exp).add_alias("best")
    assert list(results) == ["local"]
    with pytest.raises(BackendError, match="cannot name it best afterwards"):
        results.raise_for_errors()


def test_what_no_backend_will_ever_do_is_raised(two: Experiment) -> None:
    log(two, "net", 1, version="1.0")
    log(two, "net", 2)
    with pytest.raises(VersionConflict, match="choose another alias"):
        in_local(two, "v1").add_alias("1.0")
    with pytest.raises(ArtifactError):
        in_local(two, "v1").remove_alias("latest")
    with pytest.raises(ConfigError, match="name"):
        in_local(two, "v1").add_alias()


def test_what_is_away_everywhere_is_not_misuse(experiment: Callable[..., Experiment], scripted: Scripted) -> None:
    exp = experiment("scripted-inline")
    log(exp, "net", 1)
    net = exp.get_artifact("net")
    scripted.told(find="away")
    assert list(net.add_alias("best").failed) == ["scripted-inline"]


def test_a_version_that_is_gone_everywhere_is_not_found(two: Experiment) -> None:
    log(two, "net", 1)
    net = in_local(two)
    finder = two._artifact_manager.finder
    for backend in BOTH:
        stored = finder.ask("find", {backend: {"name": "net", "ref": "v0"}})[0][backend]
        finder.ask("delete", {backend: {"stored": stored}})
    with pytest.raises(ArtifactNotFound, match="no backend holds 'net' v0 any more"):
        net.add_alias("best")


def test_nothing_is_shown_as_nothing() -> None:
    assert repr(ChangeResults()) == "<ChangeResults nothing>"


# -- one content in several versions


def test_of_several_versions_with_one_content_it_is_the_one_of_the_same_call(two: Experiment) -> None:
    for content in ("a", "b", "a"):
        log(two, "net", content)
    in_local(two, "v0").add_alias("first").raise_for_errors()
    for backend in BOTH:
        assert aliases(two, "net", backend) == {"v0": ("first",), "v1": (), "v2": ()}


def test_content_of_another_call_is_the_same_version_where_its_own_backend_has_only_one(two: Experiment) -> None:
    log(two, "net", "a", "local")
    log(two, "net", "a", "scripted-inline")
    assert set(in_local(two).add_alias("best")) == set(BOTH)


def test_content_of_another_version_is_left_alone(two: Experiment) -> None:
    log(two, "net", "a", "local")
    log(two, "net", "b", "local")
    log(two, "net", "a")
    results = in_local(two, "v0").add_alias("first")
    assert (list(results), results.absent) == (["local"], ("scripted-inline",))


@pytest.mark.parametrize("its_own", ["local", "scripted-inline"])
def test_where_nobody_can_tell_which_version_it_is_that_backend_is_left_alone(
    two: Experiment, scripted: Scripted, its_own: str
) -> None:
    (other,) = {*BOTH} - {its_own}
    log(two, "net", "a", "local")
    log(two, "net", "a", "scripted-inline")
    net = two.get_artifact("net", "v0", its_own)
    scripted.told(find_put="away")
    results = net.add_alias("best")
    assert (list(results), list(results.failed)) == ([its_own], [other])
    assert aliases(two, "net", other) == {"v0": ()}
