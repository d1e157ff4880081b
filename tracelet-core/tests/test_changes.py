"""Changing what is stored: a change goes to every backend that holds the content, and says what became of it in each."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commanding import on_a_terminal, program, run_both, run_json
from making import full_disk, without_rights
from watching import FORKS, Scripted, ended_at, steps

from tracelet import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactType,
    BackendError,
    BackendUnavailable,
    ConfigError,
    Experiment,
    LoggedArtifact,
    ProtectedVersion,
    VersionConflict,
)
from tracelet.core.artifacts.changes import Change, ChangeResults
from tracelet.core.management.changes import delete_all
from tracelet.core.plugins.versions import Labels

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
        finder.ask("delete_many", {backend: {"stored": (stored,)}})
    with pytest.raises(ArtifactNotFound, match="no backend holds 'net' v0 any more"):
        net.add_alias("best")


def test_nothing_is_shown_as_nothing() -> None:
    assert repr(ChangeResults()) == "<ChangeResults nothing>"


def test_what_a_tracker_says_does_not_steer_the_terminal() -> None:
    results = ChangeResults()
    results["mlflow"] = Change("mlflow", "\x1b[2J", "mlflow:///x", ("a\nb",))
    assert repr(results) == "<ChangeResults mlflow: \ufffd[2J (a b)>"


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


# -- deletion


def versions(exp: Experiment, backend: str = "local") -> list[str]:
    found = exp._artifact_manager.finder.find_all(None, backend)
    return sorted(f"{one.name} v{one.number}" for one in found)


def made_of(exp: Experiment, used: str, name: str, content: Any = 1, *backends: str) -> None:
    """Log an artifact of a run that has used another one."""
    with Experiment(exp.name, settings=exp.settings) as run:
        run.use_artifact(used)
        log(run, name, content, *backends)


def test_a_version_is_deleted_in_every_backend_and_its_bytes_are_free(two: Experiment) -> None:
    log(two, "net", "a" * 1000)
    log(two, "net", "b")
    results = in_local(two, "v0").delete()
    assert (results.ok, set(results), results.absent) == (True, set(BOTH), ())
    assert results["local"].deleted
    assert results.freed_bytes == results["local"].freed_bytes == 1002
    assert repr(results) == "<ChangeResults local: v0 deleted, 1.0 kB free; scripted-inline: v0 deleted>"
    assert [versions(two, one) for one in BOTH] == [["net v1"], ["net v1"]]


def test_what_somebody_else_deletes_at_the_same_time_is_gone(two: Experiment, scripted: Scripted) -> None:
    log(two, "net", 1)
    net = in_local(two)
    scripted.told(delete="gone")
    results = net.delete()
    change = results["scripted-inline"]
    assert (change.deleted, change.freed_bytes, results.ok) == (True, 0, True)


@pytest.mark.parametrize("method", ["find", "delete", "used_by"])
def test_deleting_again_completes_what_a_backend_that_was_away_has_missed(
    two: Experiment, scripted: Scripted, method: str
) -> None:
    log(two, "net", 1)
    net = in_local(two)
    scripted.told(**{method: "away"})
    results = net.delete()
    assert (list(results), list(results.failed), results.ok) == (["local"], ["scripted-inline"], False)
    scripted.told()
    results = net.delete()
    assert (list(results), results.absent, results.ok) == (["scripted-inline"], ("local",), True)
    assert [versions(two, one) for one in BOTH] == [[], []]
    assert net.delete().absent == BOTH


def test_deleting_again_and_again_never_reaches_another_version_of_the_same_content(two: Experiment) -> None:
    for content in ("a", "b", "a"):
        log(two, "net", content)
    net = in_local(two, "v0")
    for _ in range(3):
        assert net.delete().ok
    assert [versions(two, one) for one in BOTH] == [["net v1", "net v2"]] * 2


def test_a_version_with_a_label_or_an_alias_in_any_backend_stays(two: Experiment) -> None:
    log(two, "net", 1, version="1.0", aliases=["prod"])
    log(two, "net", 2)
    net = in_local(two, "v1")
    stored = two._artifact_manager.finder.ask("find", {"scripted-inline": {"name": "net", "ref": "v1"}})[0]
    two._artifact_manager.finder.ask(
        "relabel", {"scripted-inline": {"stored": stored["scripted-inline"], "labels": Labels(None, ("best",))}}
    )
    with pytest.raises(
        ProtectedVersion, match=r"'net' v1 stays: it has the alias 'best' \(scripted-inline\). To delete"
    ):
        net.delete()
    with pytest.raises(
        ProtectedVersion,
        match=r"it has the label '1.0' \(local, scripted-inline\), and has the alias 'prod' \(local, scr",
    ):
        in_local(two, "v0").delete()
    assert [versions(two, one) for one in BOTH] == [["net v0", "net v1"]] * 2
    assert net.delete(force=True).ok
    assert [versions(two, one) for one in BOTH] == [["net v0"]] * 2


def test_an_input_of_a_version_in_any_backend_stays(two: Experiment) -> None:
    log(two, "data", 1)
    made_of(two, "data", "net", 1, "scripted-inline")
    with pytest.raises(ProtectedVersion, match=r"it is an input of 'net' v0 \(scripted-inline\).*say force=True"):
        in_local(two, name="data").delete()
    assert in_local(two, name="data").delete(force=True).ok
    assert versions(two) == []


def test_an_input_of_what_waits_in_the_outbox_stays(two: Experiment, scripted: Scripted) -> None:
    log(two, "data", 1)
    scripted.told(put="away")
    made_of(two, "data", "net", 1, "scripted-inline")
    with pytest.raises(ProtectedVersion, match=r"it is an input of 'net' \(it waits in the outbox\)"):
        in_local(two, name="data").delete()


def test_an_input_of_a_draft_stays(home: Path, scripted: Scripted) -> None:
    program(
        """
        exp = experiment("local").start()
        exp.log_artifact(artifact("data"))
        exp.use_artifact("data")
        exp._artifact_manager._process.sealer.add = lambda path: None
        exp.submit_artifact(artifact("net", "text"))
        os.kill(os.getpid(), 9)
        """,
        code=-9,
    )
    with pytest.raises(ProtectedVersion, match=r"it is an input of 'net' \(it waits in the outbox\)"):
        Experiment("trials", artifacts=True).get_artifact("data").delete()
    assert Experiment("others", artifacts=True).list_artifacts() == []


def test_what_waits_in_another_experiment_keeps_nothing_here(two: Experiment, scripted: Scripted) -> None:
    scripted.told(put="away")
    with Experiment("others", settings=two.settings) as others:
        log(others, "net", 1)
    program(
        """
        exp = experiment("local", name="others").start()
        exp._artifact_manager._process.sealer.add = lambda path: None
        exp.submit_artifact(artifact("other"))
        os.kill(os.getpid(), 9)
        """,
        code=-9,
    )
    log(two, "net", 1, "local")
    assert in_local(two).delete()["local"].deleted
    assert versions(two) == []


def test_a_delivery_that_waits_is_named_for_it_brings_the_version_back(two: Experiment, scripted: Scripted) -> None:
    scripted.told(put="away")
    log(two, "net", 1)
    results = in_local(two).delete()
    assert (list(results), list(results.queued), results.ok) == (["local"], ["scripted-inline"], False)


def test_a_backend_that_cannot_delete_says_so(experiment: Callable[..., Experiment]) -> None:
    exp = experiment("local", "scripted-dumb", routing="all")
    log(exp, "net", 1)
    results = in_local(exp).delete()
    assert list(results) == ["local"]
    with pytest.raises(BackendError, match="cannot delete a version"):
        results.raise_for_errors()


def test_force_is_a_truth_value(two: Experiment) -> None:
    log(two, "net", 1)
    with pytest.raises(ConfigError, match="force='yes'"):
        in_local(two).delete(force="yes")  # type: ignore[arg-type]


def test_what_is_deleted_at_any_step_of_a_change_of_its_aliases_is_told(
    experiment: Callable[..., Experiment],
) -> None:
    exp = experiment("local")
    another, step, acted, told = Experiment("trials", artifacts=True), 1, True, ""
    while acted:
        log(exp, "net", step, aliases=["held"])
        net, gone, results = in_local(exp), in_local(another), ChangeResults()
        change = net.add_alias if step % 2 else net.remove_alias
        try:
            acted = steps.at(
                step,
                lambda gone=gone: gone.delete(force=True),  # type: ignore[misc]
                lambda change=change, results=results: results.failed.update(change("held").failed),  # type: ignore[misc]
            )
        except ArtifactNotFound as error:
            told += str(error)
        told += "".join(map(str, results.failed.values()))
        step += 3
    assert "no backend holds" in told
    assert "was deleted meanwhile: list_artifacts() shows what there is." in told
    assert "fault" not in told


@pytest.mark.parametrize("change", [LoggedArtifact.delete, lambda one: one.add_alias("best")], ids=["rm", "alias"])
def test_what_waits_is_no_secret_that_is_passed_over_where_this_user_may_not_read_it(
    experiment: Callable[..., Experiment], home: Path, change: Callable[[LoggedArtifact], ChangeResults]
) -> None:
    exp = experiment("local")
    log(exp, "net", 1)
    net = in_local(exp)
    with without_rights(home / ".tracelet"), pytest.raises(ArtifactError, match=r"cannot be read: .* Do it as a user"):
        change(net)
    assert (net.load_object("o"), in_local(exp).aliases) == (1, net.aliases)


def test_a_full_disk_is_told_and_changes_nothing(experiment: Callable[..., Experiment]) -> None:
    exp = experiment("local")
    log(exp, "net", 1)
    net = in_local(exp)
    with full_disk(0):
        failed = net.add_alias("best").failed
    assert "Free space there, then do it again." in str(failed["local"])
    assert net.add_alias("best").ok


# -- the commands


@pytest.fixture
def both(two: Experiment) -> Experiment:
    """Two versions of one name in two backends, which the command asks."""
    log(two, "net", "a" * 1000, aliases=["best"])
    log(two, "net", "b")
    return two


def command(*arguments: str, code: int = 0, told: bool = False) -> Any:
    asked = [*arguments, "--backend", "local", "--backend", "scripted-inline"]
    return run_json(*asked, code=code) if told else run_both(*asked, code=code)


def test_the_command_moves_and_takes_away_aliases(both: Experiment) -> None:
    out, _ = command("alias", "trials", "net@v1", "best", "prod")
    assert out == "net local: v1 (best, prod)\nnet scripted-inline: v1 (best, prod)\n"
    told = command("alias", "trials", "net@best", "best", "--remove", told=True)
    assert (told["name"], told["version"], told["failed"], told["queued"], told["absent"]) == ("net", "v1", {}, {}, [])
    assert {name: one["aliases"] for name, one in told["backends"].items()} == {one: ["prod"] for one in BOTH}


def test_the_command_says_which_backend_missed_the_change(both: Experiment, scripted: Scripted) -> None:
    scripted.told(relabel="away")
    out, err = command("alias", "trials", "net@v1", "best", code=1)
    assert out == "net local: v1 (best)\n"
    assert "error: net scripted-inline: scripted is out" in err
    assert command("alias", "trials", "net@v1", "best", code=1, told=True)["failed"]["scripted-inline"] == {
        "type": "BackendUnavailable", "message": "scripted is out",
    }  # fmt: skip
    log(both, "net", "c", "local")
    assert "net scripted-inline: not there\n" in command("alias", "trials", "net@v2", "last")[0]
    command("alias", "trials", "net@v1", "latest", code=2)
    command("alias", "trials", "net@v9", "last", code=1)


def test_the_command_deletes_what_it_was_told_to(both: Experiment) -> None:
    out, _ = command("rm", "trials", "net@v1", "net@sha256:" + in_local(both).digest, "--yes")
    assert out == "net local: v1 deleted, 3 B free\nnet scripted-inline: v1 deleted\n3 B free again\n"
    assert [versions(both, one) for one in BOTH] == [["net v0"]] * 2


def test_without_a_terminal_and_without_yes_nothing_is_deleted(both: Experiment) -> None:
    _, err = command("rm", "trials", "net@v1", code=2)
    assert "nothing was deleted: say --yes" in err
    assert command("rm", "trials", "net@v1", code=2, told=True)["error"]["type"] == "UsageError"
    assert versions(both) == ["net v0", "net v1"]


def test_a_dry_run_shows_what_would_go(both: Experiment) -> None:
    out, _ = command("rm", "trials", "net@v1", "--dry-run")
    assert [line.split() for line in out.splitlines()] == [
        ["NAME", "VERSION", "SIZE", "BACKEND"],
        ["net", "v1", "3", "B", "local"],
        ["net", "v1", "3", "B", "scripted-inline"],
        ["nothing", "was", "deleted"],
    ]
    told = command("rm", "trials", "net@v1", "--dry-run", told=True)
    assert (told["dry_run"], told["freed_bytes"], set(told["versions"][0]["backends"])) == (True, 0, set(BOTH))
    assert not told["versions"][0]["backends"]["local"]["deleted"]
    assert versions(both) == ["net v0", "net v1"]


def test_what_two_versions_have_in_common_counts_once(both: Experiment, scripted: Scripted) -> None:
    """One number means another content in each backend, and two numbers may mean the same one."""
    log(both, "net", "c" * 50, "local")
    log(both, "net", "d" * 70)
    assert [versions(both, one)[-1] for one in BOTH] == ["net v3", "net v2"]
    in_local(both, "v2").delete().raise_for_errors()
    told = command("rm", "trials", "net@v3", "net@v2", "--yes", told=True)
    assert [one["backends"]["local"]["freed_bytes"] for one in told["versions"]] == [72, 0]
    assert told["freed_bytes"] == 72


def test_deleting_many_reads_what_is_stored_and_what_waits_as_often_as_deleting_one(
    two: Experiment, scripted: Scripted
) -> None:
    for number in range(14):
        log(two, "net", number)
    log(two, "data", 1, "local")
    scripted.told(put="away")
    log(two, "waits", 1)
    two.stop()
    one = opened_by("rm", "trials", "net@v0")
    many = opened_by("rm", "trials", *(f"net@v{number}" for number in range(1, 11)))
    for file in ("versions/data/v0.json", "waits.json"):
        assert (count(many, file), count(one, file) > 0) == (count(one, file), True)


def opened_by(*command_line: str) -> list[str]:
    """The files that a command has opened."""
    steps.opened.clear()
    command(*command_line, "--yes")
    return steps.opened.copy()


def count(opened: list[str], end: str) -> int:
    return len([path for path in opened if path.endswith(end)])


def test_the_command_keeps_what_others_rely_on_unless_forced(both: Experiment) -> None:
    _, err = command("rm", "trials", "net@v1", "net@v0", "--yes", code=1)
    assert "'net' v0 stays: it has the alias 'best' (local, scripted-inline)" in err
    assert "say --force" in err
    assert versions(both) == ["net v0", "net v1"]
    told = command("rm", "trials", "net@v1", "net@v0", "--yes", "--force", told=True)
    assert told["freed_bytes"] == 1005
    assert versions(both) == []


def test_what_is_deleted_with_what_it_was_used_for_is_no_input_any_more(both: Experiment) -> None:
    made_of(both, "net", "report")
    command("rm", "trials", "net@v1", "--yes", code=1)
    command("rm", "trials", "net@v1", "report@v0", "--yes")
    assert versions(both) == ["net v0"]


def test_the_command_says_which_backend_still_has_it(both: Experiment, scripted: Scripted) -> None:
    scripted.told(delete="away")
    _, err = command("rm", "trials", "net@v1", "--yes", code=1)
    assert "error: net scripted-inline: scripted is out" in err
    scripted.told()
    command("rm", "trials", "net@v1", "--yes")
    assert versions(both, "scripted-inline") == ["net v0"]


def test_what_is_not_there_any_more_is_told_and_the_others_go(both: Experiment) -> None:
    _, err = command("rm", "trials", "net@v1", "net@v7", "net@v8", "--dry-run", code=1)
    assert err.count("error: 'trials' has no 'net' v") == 2
    told = command("rm", "trials", "net@v7", "net@v1", "--yes", code=1, told=True)
    assert [[one["version"] for one in told["versions"]], [one["type"] for one in told["missing"]]] == [
        ["v1"], ["ArtifactNotFound"],
    ]  # fmt: skip
    assert [versions(both, one) for one in BOTH] == [["net v0"]] * 2
    command("rm", "trials", "net@v1", "net@v7", "--yes", code=1)
    assert [versions(both, one) for one in BOTH] == [["net v0"]] * 2


def test_a_backend_that_is_broken_is_asked_once_for_all_versions(
    experiment: Callable[..., Experiment], scripted: Scripted
) -> None:
    exp = experiment("local", "scripted", routing="all")
    for number in range(3):
        log(exp, "net", number)
    scripted.told(find="crash")
    before = len(scripted.calls("find"))
    backends = ("--backend", "local", "--backend", "scripted")
    told = run_json("rm", "trials", "net@v0", "net@v1", "net@v2", *backends, "--yes", code=1)
    assert [list(one["failed"]) for one in told["versions"]] == [["scripted"]] * 3
    # Once to look at what would go, and once to delete.
    assert len(scripted.calls("find")) - before == 2
    scripted.told()
    exp.prune(keep_last=1).raise_for_errors()
    assert versions(exp, "scripted") == ["net v2"]


def test_a_name_alone_is_no_version_to_delete(both: Experiment) -> None:
    assert "'net' names no version: say which, as net@v3" in command("rm", "trials", "net", "--yes", code=2)[1]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, ["net v0"]), ("n", 1, ["net v0", "net v1"])])
def test_on_a_terminal_it_shows_what_goes_and_asks(
    both: Experiment, home: Path, answer: str, code: int, left: list[str]
) -> None:
    backends = ("--backend", "local", "--backend", "scripted-inline")
    shown, ended = on_a_terminal("rm", "trials", "net@v1", *backends, answer=answer)
    assert ended == code
    assert "BACKEND" in shown
    assert "Delete 1 version? [y/N]" in shown
    assert ("nothing was deleted" in shown) == (code == 1)
    assert versions(both) == left


# -- interrupted


CHANGES: dict[str, Callable[[Experiment], object]] = {
    "rm": lambda exp: delete_all(
        exp._artifact_manager.finder, [one for one in exp.list_artifacts() if one.number in {0, 1, 3}], force=False
    ),
    "prune": lambda exp: exp.prune(keep_last=1),
    "alias": lambda exp: exp.get_artifact("net", "v4").add_alias("kept", "last"),
}


@FORKS
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_ends_at_any_step_loses_nothing_and_is_completed_by_the_same_one(
    home: Path, change: str, end: signal.Signals
) -> None:
    with Experiment("trials", artifacts=True) as exp:
        for number in range(5):
            exp.log_artifact(
                exp.create_artifact("net", "custom").add_object(number, "own").add_object("all", "shared"),
                aliases=["kept"] * (number == 2),
            )
    stored = (home / ".tracelet").rename(home / "stored")
    left, holder = ([0, 1, 2, 3, 4], 4) if change == "alias" else ([2, 4], 2)
    step, acted = 1, True
    while acted:
        shutil.rmtree(home / ".tracelet", ignore_errors=True)
        shutil.copytree(stored, home / ".tracelet")
        exp = Experiment("trials", artifacts=True)
        acted = ended_at(step, end, lambda exp=exp: CHANGES[change](exp))  # type: ignore[misc]
        for one in exp.list_artifacts():
            assert (one.load_object("own"), one.load_object("shared")) == (one.number, "all")
        assert exp.get_artifact("net", "kept").number in {2, holder}
        CHANGES[change](exp)
        assert sorted(one.number for one in exp.list_artifacts()) == left
        assert exp.get_artifact("net", "kept").number == holder
        assert all(one.verify().ok for one in exp.list_artifacts())
        step += 9
    assert step > 40
