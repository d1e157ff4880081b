"""Retention: what no rule keeps is deleted, what others rely on stays, and each says why."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from commanding import on_a_terminal, run, run_both, run_json
from hypothesis import given
from hypothesis import strategies as st
from watching import Scripted

from tracelet import ArtifactType, BackendUnavailable, ConfigError, Experiment, ExperimentConfig, UnsafePath
from tracelet.core.artifacts.pruned import PrunedVersion, PruneResults
from tracelet.core.management.retention import prune, rules_of
from tracelet.core.plugins.versions import Labels

BOTH = ("local", "scripted-inline")
NOBODY = timedelta(0)


@pytest.fixture
def alone(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment("local")


@pytest.fixture
def two(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment(*BOTH, routing="all")


def log(exp: Experiment, name: str, content: Any = None, *backends: str, loss: Any = None, **labels: Any) -> None:
    """Log a version; without content, one that no other has."""
    artifact = exp.create_artifact(name, ArtifactType.CUSTOM).add_object(content or os.urandom(8).hex(), "o")
    if loss is not None:
        artifact.metadata["metrics"] = {"loss": loss}
    if backends:
        artifact.metadata["preferred_backends"] = list(backends)
    exp.log_artifact(artifact, **labels)


def made_of(exp: Experiment, used: str, name: str, *backends: str, **labels: Any) -> None:
    """Log an artifact of a run that has used others, by NAME@VERSION."""
    with Experiment(exp.name, settings=exp.settings) as other:
        for one in used.split():
            other.use_artifact(*one.split("@"), backend="local")
        log(other, name, None, *backends, **labels)


def shown(found: Sequence[PrunedVersion]) -> list[str]:
    return [f"{one.name} v{one.number}" for one in found]


def left(exp: Experiment, backend: str = "local") -> list[str]:
    """What is stored, newest first."""
    return [f"{one.name} v{one.number}" for one in exp.list_artifacts(backend=backend)]


def why(results: PruneResults, version: str) -> str:
    (found,) = {one.why for one in (*results.goes, *results.stays) if f"{one.name} v{one.number}" == version}
    return found


# -- the rules


def test_the_last_versions_of_each_name_stay(alone: Experiment) -> None:
    for name in ("net", "net", "data", "net", "net"):
        log(alone, name)
    results = alone.prune(keep_last=2)
    assert (shown(results.goes), sorted(shown(results.stays))) == (
        ["net v1", "net v0"],
        ["data v0", "net v2", "net v3"],
    )
    assert why(results, "net v0") == "not one of the 2 newest"
    assert why(results, "net v3") == "one of the 2 newest"
    assert why(results, "data v0") == "the newest"
    assert left(alone) == ["net v3", "net v2", "data v0"]


def test_the_bytes_of_what_goes_are_told_and_free(alone: Experiment) -> None:
    for text in ("a" * 998, "b" * 498, "c"):
        log(alone, "net", text)
    results = alone.prune(keep_last=1)
    assert [one.size_bytes for one in results.goes] == [500, 1000]
    assert (results.size_bytes, results.freed_bytes, results.ok) == (1500, 1500, True)
    assert repr(results) == "<PruneResults 2 versions (1.5 kB) deleted, 1.5 kB free; 1 stays>"
    results.raise_for_errors()


def test_a_dry_run_deletes_nothing(alone: Experiment) -> None:
    log(alone, "net"), log(alone, "net")
    results = alone.prune(keep_last=1, dry_run=True)
    assert (shown(results.goes), results.freed_bytes, results.dry_run) == (["net v0"], 0, True)
    assert repr(results) == "<PruneResults 1 version (18 B) would go; 1 stays>"
    assert left(alone) == ["net v1", "net v0"]
    told = results.to_dict()
    assert (told["dry_run"], told["size_bytes"], told["goes"][0]["version"]) == (True, 18, "v0")
    assert told["stays"][0]["why"] == "the newest"


def test_the_best_versions_stay_by_a_number_in_their_metadata(alone: Experiment) -> None:
    for loss in (0.5, 0.1, None, "0.01", True, float("nan"), 0.3, 0.9):
        log(alone, "net", loss=loss)
    results = alone.prune(keep_best="metrics.loss:min:2", dry_run=True)
    assert shown(results.stays) == ["net v7", "net v6", "net v1"]
    assert [why(results, one) for one in ("net v7", "net v6", "net v2")] == [
        "the newest", "one of the 2 best by metrics.loss (min)", "not one of the 2 best by metrics.loss (min)",
    ]  # fmt: skip
    assert shown(alone.prune(keep_best=("metrics.loss", "max", 2), keep_last=0).stays) == ["net v7", "net v0"]


def test_a_name_without_the_number_of_the_best_is_left_as_it_is_unless_another_rule_speaks_of_it(
    alone: Experiment,
) -> None:
    log(alone, "rows"), log(alone, "rows")
    log(alone, "net", loss=0.1), log(alone, "net", loss=0.2), log(alone, "net")
    results = alone.prune(keep_best="metrics.loss:min:1", dry_run=True)
    assert shown(results.goes) == ["net v1"]
    assert why(results, "rows v0") == "no version of it has a number at metrics.loss"
    goes = alone.prune(keep_best="metrics.loss:min:1", keep_last=1, dry_run=True).goes
    assert shown(goes) == ["net v1", "rows v0"]


def test_of_equally_good_versions_the_newer_is_better(alone: Experiment) -> None:
    for _ in range(3):
        log(alone, "net", loss=1)
    assert shown(alone.prune(keep_last=0, keep_best="metrics.loss:max:1").stays) == ["net v2"]


@pytest.mark.parametrize("age", ["1h", 3600, 3600.0, timedelta(hours=1)])
def test_what_is_young_stays(alone: Experiment, age: Any) -> None:
    log(alone, "net"), log(alone, "net")
    results = alone.prune(older_than=age)
    assert (left(alone), results.goes) == (["net v1", "net v0"], ())
    assert why(results, "net v0").startswith("not older than ")


def test_what_is_old_goes_but_the_newest(alone: Experiment) -> None:
    for _ in range(3):
        log(alone, "net")
    results = alone.prune(older_than=NOBODY)
    assert (left(alone), why(results, "net v0")) == (["net v2"], "older than 0 s")


def test_the_newest_goes_only_where_keep_last_says_so(alone: Experiment) -> None:
    log(alone, "net"), log(alone, "net")
    results = alone.prune(older_than=NOBODY, keep_last=0)
    assert (left(alone), why(results, "net v1")) == ([], "older than 0 s")


def test_what_goes_because_none_is_to_be_kept_says_so(alone: Experiment) -> None:
    log(alone, "net")
    assert why(alone.prune(keep_last=0), "net v0") == "no rule keeps it"


def test_what_any_rule_keeps_stays(alone: Experiment) -> None:
    for loss in (1, 2, 3, 4):
        log(alone, "net", loss=loss)
    results = alone.prune(keep_last=1, keep_best="metrics.loss:min:1", older_than=NOBODY)
    assert left(alone) == ["net v3", "net v0"]
    assert why(results, "net v1") == "not the newest, not the best by metrics.loss (min), older than 0 s"


def test_other_names_are_left_alone(alone: Experiment) -> None:
    for name in ("net", "data", "net", "data"):
        log(alone, name)
    results = alone.prune("net", keep_last=1)
    assert (shown(results.goes), shown(results.stays)) == (["net v0"], ["net v1"])
    assert left(alone) == ["data v1", "net v1", "data v0"]


@pytest.mark.parametrize(
    "rules",
    [
        {},
        *({"keep_last": one} for one in (-1, 1.5, "2", True)),
        *(
            {"keep_best": one}
            for one in (
                "loss",
                "loss:least:1",
                "loss:min",
                "loss:min:0",
                ":min:1",
                7,
                ("loss", "min"),
                ["loss:min:1", "size:max:1"],
            )
        ),
        *(
            {"older_than": one}
            for one in ("", "30", "d", "-1d", "30y", -1, True, float("nan"), 10**400, timedelta(-1), ["1d"])
        ),
    ],
)
def test_a_rule_that_cannot_be_read_says_what_is_expected(alone: Experiment, rules: dict[str, Any]) -> None:
    log(alone, "net"), log(alone, "net")
    with pytest.raises(ConfigError, match=r"keep_last=|keep_best=|older_than="):
        alone.prune(**rules)
    assert left(alone) == ["net v1", "net v0"]


@pytest.mark.parametrize("dry_run", [None, 0, "", "no"])
def test_only_a_truth_value_says_whether_to_delete(alone: Experiment, dry_run: Any) -> None:
    log(alone, "net"), log(alone, "net")
    with pytest.raises(ConfigError, match="give True or False"):
        alone.prune(keep_last=1, dry_run=dry_run)
    assert left(alone) == ["net v1", "net v0"]


def test_a_name_or_a_backend_that_is_none_is_refused(alone: Experiment) -> None:
    with pytest.raises(UnsafePath):
        alone.prune("../net", keep_last=1)
    with pytest.raises(ConfigError, match="is not one of this experiment's"):
        alone.prune(keep_last=1, backend="scripted-inline")


# -- what always stays


def test_labelled_and_aliased_versions_stay(alone: Experiment) -> None:
    log(alone, "net", version="1.0", aliases=["best"])
    log(alone, "net", aliases=["prod"])
    log(alone, "net")
    log(alone, "net")
    results = alone.prune(keep_last=0)
    assert shown(results.goes) == ["net v3", "net v2"]
    assert why(results, "net v0") == "has the label '1.0', has the alias 'best'"
    assert why(results, "net v1") == "has the alias 'prod'"


def test_what_a_version_that_stays_was_made_from_stays_through_all_steps(alone: Experiment) -> None:
    log(alone, "raw")
    made_of(alone, "raw", "data")
    made_of(alone, "data", "net", aliases=["prod"])
    log(alone, "raw")
    results = alone.prune(keep_last=0)
    assert left(alone) == ["net v0", "data v0", "raw v0"]
    assert (why(results, "data v0"), why(results, "raw v0")) == ("is an input of 'net' v0", "is an input of 'data' v0")


def test_a_chain_of_which_nothing_stays_goes_all_together(alone: Experiment) -> None:
    log(alone, "raw")
    made_of(alone, "raw", "data")
    made_of(alone, "raw data", "net")
    results = alone.prune(keep_last=0)
    assert shown(results.goes) == ["net v0", "data v0", "raw v0"]
    assert left(alone) == []


def test_an_input_of_another_name_that_is_not_looked_at_stays(alone: Experiment) -> None:
    log(alone, "data"), log(alone, "data")
    made_of(alone, "data@v0", "net")
    assert why(alone.prune("data", keep_last=1), "data v0") == "is an input of 'net' v0"


def test_an_input_of_what_waits_in_the_outbox_stays(two: Experiment, scripted: Scripted) -> None:
    log(two, "data", None, "local"), log(two, "data", None, "local")
    scripted.told(put="away")
    made_of(two, "data@v0", "net", "scripted-inline")
    assert why(two.prune(keep_last=1), "data v0") == "is an input of 'net', which waits in the outbox"


# -- several backends


def test_what_goes_goes_in_every_backend(two: Experiment) -> None:
    for _ in range(3):
        log(two, "net")
    results = two.prune(keep_last=1)
    assert {(one.backend, one.number) for one in results.goes} == {(name, number) for name in BOTH for number in (0, 1)}
    assert [left(two, name) for name in BOTH] == [["net v2"]] * 2
    assert {one.why for one in results.stays} == {"the newest"}


def test_what_one_backend_keeps_stays_in_the_others(two: Experiment) -> None:
    log(two, "net"), log(two, "net")
    finder = two._artifact_manager.finder
    stored = finder.ask("find", {"scripted-inline": {"name": "net", "ref": "v0"}})[0]["scripted-inline"]
    finder.ask("relabel", {"scripted-inline": {"stored": stored, "labels": Labels(None, ("best",))}})
    results = two.prune(keep_last=1)
    assert {one.backend: one.why for one in results.stays if one.number == 0} == {
        "local": "has the alias 'best' in scripted-inline", "scripted-inline": "has the alias 'best'",
    }  # fmt: skip
    assert results.goes == ()


def test_one_backend_alone_can_be_pruned(two: Experiment) -> None:
    log(two, "net"), log(two, "net")
    two.prune(keep_last=1, backend="local")
    assert [left(two, name) for name in BOTH] == [["net v1"], ["net v1", "net v0"]]


@pytest.mark.parametrize("method", ["list", "delete"])
def test_a_backend_that_is_away_is_an_error_by_value_and_the_same_again_completes_it(
    two: Experiment, scripted: Scripted, method: str
) -> None:
    for _ in range(3):
        log(two, "net")
    scripted.told(**{method: "away"})
    results = two.prune(keep_last=1)
    assert ({one.backend for one in results.goes}, list(results.failed), results.ok) == (
        {"local"}, ["scripted-inline"], False,
    )  # fmt: skip
    kept = {one.why for one in results.stays if one.backend == "scripted-inline" and one.number < 2}
    assert kept == ({"was not deleted: scripted is out"} if method == "delete" else set())
    assert "scripted-inline: FAILED (scripted is out)" in repr(results)
    with pytest.raises(BackendUnavailable):
        results.raise_for_errors()
    scripted.told()
    results = two.prune(keep_last=1)
    assert ({one.backend for one in results.goes}, results.ok) == ({"scripted-inline"}, True)
    assert left(two, "scripted-inline") == ["net v2"]


def test_a_backend_in_a_process_of_its_own_deletes_with_few_requests(
    experiment: Callable[..., Experiment], scripted: Scripted
) -> None:
    exp = experiment("scripted", deadline=60.0)
    for _ in range(9):
        log(exp, "net")
    assert shown(exp.prune(keep_last=1).goes) == [f"net v{number}" for number in reversed(range(8))]
    assert left(exp, "scripted") == ["net v8"]
    assert len(scripted.calls("delete_many")) == 4


def test_what_can_be_deleted_goes_where_one_of_them_cannot(two: Experiment, scripted: Scripted) -> None:
    for number in range(4):
        artifact = two.create_artifact("net", ArtifactType.CUSTOM).add_object(number, "o")
        artifact.metadata["stuck"] = number == 1
        two.log_artifact(artifact)
    scripted.told(delete="stuck")
    results = two.prune(keep_last=1)
    why = [f"{one.backend} v{one.number} {one.why}" for one in results.stays if one.number < 3]
    assert why == [
        "scripted-inline v1 was not deleted: scripted-inline: ZeroDivisionError: scripted cannot do it to this one"
    ]
    assert "cannot do it to this one" in str(results.failed["scripted-inline"])
    assert (left(two), left(two, "scripted-inline")) == (["net v3"], ["net v3", "net v1"])


def test_of_what_came_to_go_after_it_was_shown_nothing_goes(alone: Experiment) -> None:
    for _ in range(3):
        log(alone, "net")
    finder, rules = alone._artifact_manager.finder, rules_of(keep_last=1)
    results = prune(finder, rules, shown={("local", "net", 0)})
    assert (shown(results.goes), why(results, "net v1")) == (["net v0"], "was not among what was shown")


@given(
    losses=st.lists(st.integers(0, 3), max_size=5),
    aliased=st.sets(st.integers(0, 4)),
    used=st.dictionaries(st.integers(0, 4), st.sets(st.integers(0, 4))),
    last=st.integers(0, 3),
)
def test_nothing_that_is_named_or_used_by_what_stays_ever_goes(
    tmp_path_factory: pytest.TempPathFactory,
    losses: list[int],
    aliased: set[int],
    used: dict[int, set[int]],
    last: int,
) -> None:
    place = str(tmp_path_factory.mktemp("place"))
    exp = Experiment("trials", artifacts=True, config=ExperimentConfig(dir=place))
    for number, loss in enumerate(losses):
        with exp:
            for one in {one for one in used.get(number, ()) if one < number}:
                exp.use_artifact("net", f"v{one}")
            log(exp, "net", loss=loss, aliases=["a" + str(number)] if number in aliased else [])
    with exp:
        results = exp.prune(keep_last=last)
        stays = {one.number for one in exp.list_artifacts()}
    wanted = {number for number in range(len(losses)) if number in aliased or number >= len(losses) - last}
    todo = [*wanted]
    while todo:
        user = todo.pop()
        new = {one for one in used.get(user, ()) if one < user} - wanted
        wanted |= new
        todo += new
    assert stays == wanted == {one.number for one in results.stays}
    assert {one.number for one in results.goes} == set(range(len(losses))) - wanted


# -- the command


@pytest.fixture
def three(alone: Experiment) -> Experiment:
    """Three versions, of which one has an alias."""
    for loss, aliases in ((0.3, ["best"]), (0.1, []), (0.2, [])):
        log(alone, "net", "x" * 998, loss=loss, aliases=aliases)
    return alone


def test_the_command_shows_what_goes_and_what_stays_and_deletes(three: Experiment) -> None:
    out = run("prune", "trials", "--name", "net", "--keep-last", "1", "--yes")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "NAME VERSION SIZE CREATED BACKEND WHY"
    assert [line.partition(" 1.0 kB ")[0] for line in lines[1:4]] == ["stays net v2", "stays net v0", "goes net v1"]
    assert lines[1].endswith("local the newest")
    assert lines[2].endswith("local has the alias 'best'")
    assert lines[4:] == ["1 version goes (1.0 kB), 2 stay", "1 version deleted, no backend says that this freed bytes"]
    assert left(three) == ["net v2", "net v0"]


def test_the_command_tells_json(three: Experiment) -> None:
    arguments = ("prune", "trials", "--keep-best", "metrics.loss:min:1", "--older-than", "1h")
    assert run_json(*arguments, "--dry-run")["goes"] == []
    assert run(*arguments, "--dry-run").splitlines()[-1] == "0 versions go (0 B), 3 stay"
    told = run_json(*arguments[:4], "--dry-run")
    assert (told["experiment"], told["dry_run"], told["goes"], told["failed"]) == ("trials", True, [], {})
    told = run_json("prune", "trials", "--keep-last", "1", "--yes")
    assert (told["dry_run"], told["size_bytes"], [one["version"] for one in told["goes"]]) == (False, 1000, ["v1"])
    told = run_json("prune", "trials", "--keep-last", "1")
    assert (told["dry_run"], told["goes"], len(told["stays"])) == (False, [], 2)


def test_without_a_terminal_and_without_yes_nothing_is_deleted(three: Experiment) -> None:
    _, err = run_both("prune", "trials", "--keep-last", "1", code=2)
    assert "nothing was deleted: say --yes" in err
    assert len(left(three)) == 3


@pytest.mark.parametrize(("answer", "code", "count"), [("y", 0, 2), ("n", 1, 3)])
def test_on_a_terminal_it_asks(three: Experiment, home: Path, answer: str, code: int, count: int) -> None:
    said, ended = on_a_terminal("prune", "trials", "--keep-last", "1", answer=answer)
    assert ("Delete 1 version? [y/N]" in said, ended, len(left(three))) == (True, code, count)


def test_the_command_says_what_rules_there_are(three: Experiment) -> None:
    assert "no rule is given" in run("prune", "trials", "--yes", code=2)
    assert "--keep-best 'loss' cannot be read" in run("prune", "trials", "--yes", "--keep-best", "loss", code=2)
    assert len(left(three)) == 3


def test_the_command_says_which_backend_is_left(two: Experiment, scripted: Scripted) -> None:
    log(two, "net"), log(two, "net")
    scripted.told(delete="away")
    asked = ("--backend", "local", "--backend", "scripted-inline", "--yes")
    _, err = run_both("prune", "trials", "--keep-last", "1", *asked, code=1)
    assert "error: scripted-inline: scripted is out" in err
    scripted.told()
    run("prune", "trials", "--keep-last", "1", *asked)
    assert [left(two, name) for name in BOTH] == [["net v1"]] * 2


def test_where_nothing_is_stored_it_says_what_was_asked(alone: Experiment) -> None:
    log(Experiment("trails", settings=alone.settings).start(), "net")
    out, err = run_both("prune", "trials", "--keep-last", "1")
    assert out == "0 versions go (0 B), 0 stay\n0 versions deleted\n"
    assert "nothing is stored in experiment 'trials' of local" in err
    assert "did you mean 'trails'?" in err
