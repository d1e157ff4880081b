"""Finding versions by their metadata: conditions, orders and limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import write
from watching import Scripted

from tracelet import ArtifactType, BackendUnavailable, ConfigError, Experiment
from tracelet.core.management.filters import Condition, query_of

VERSIONS: tuple[dict[str, Any], ...] = (
    {"metrics": {"loss": 0.9, "steps": 9}, "tag": "first try", "done": False},
    {"metrics": {"loss": 0.1, "steps": 10}, "tag": "best", "done": True, "labels": ["a", "b"]},
    {"metrics": {"loss": math.nan}, "tag": "10", "lr.decay": 0.5, "lr": {"decay": 9, "a.b": {"c": 1}}},
    {"metrics": {"loss": 0.5, "steps": "9"}, "metrics.loss": 7, "when": "2026-05-01", "layers": {"depth": None}},
    {},
)


@pytest.fixture
def exp(home: Path) -> Experiment:
    """The versions above, in this order; the name is that of none but the last."""
    write(home / "w.pt")
    with Experiment("trials", artifacts=True) as exp:
        for number, metadata in enumerate(VERSIONS):
            name = "net" if number < 4 else "other"
            artifact = exp.create_artifact(name, ArtifactType.MODEL, f"try {number}").add_file("w.pt")
            artifact.metadata.update(metadata)
            exp.log_artifact(artifact, version="1.0" if number == 1 else None, aliases=["prod"] if number == 3 else [])
    return exp


def numbers(exp: Experiment, *where: str, **more: Any) -> list[int]:
    """Which of the versions above fit, in the order in which they are listed."""
    found = exp.list_artifacts(where=where, **more)
    return [int(str(one.description).removeprefix("try ")) for one in found]


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("metrics.loss < 0.5", {1}),
        ("metrics.loss <= 0.9", {0, 1}),
        ("metrics.loss>=0.9", {0, 3}),
        ("metrics.loss = .1", {1}),
        ("metrics.loss == 1e-1", {1}),
        ("metrics.loss != 0.1", {0, 2, 3}),
        ("metrics.loss = nan", {2}),
        ("metrics.loss < inf", {0, 1, 3}),
        ("metrics.loss > -Infinity", {0, 1, 3}),
    ],
)
def test_numbers_are_compared_as_numbers(exp: Experiment, where: str, fits: set[int]) -> None:
    assert set(numbers(exp, where)) == fits


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("metrics.steps > 9", {1}),
        ("metrics.steps = 9", {0, 3}),
        ('metrics.steps = "9"', {3}),
        ("metrics.steps < '95'", {3}),
        ("tag = 10", {2}),
        ("tag > 2", set()),
        ("tag = best", {1}),
        ("tag = 'first try'", {0}),
        ("tag = first try", {0}),
        ("tag ~ try", {0}),
        ("tag ~ ''", {0, 1, 2}),
        ("tag < c", {1, 2}),
        ("when >= 2026-04-30", {3}),
    ],
)
def test_text_is_compared_as_text_and_never_put_in_order_with_a_number(
    exp: Experiment, where: str, fits: set[int]
) -> None:
    assert set(numbers(exp, where)) == fits


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("done = true", {1}),
        ("done = False", {0}),
        ("done != true", {0}),
        ("done = 1", set()),
        ("done < 2", set()),
        ("metrics.loss = true", set()),
        ("done ~ true", set()),
        ("labels ~ a", {1}),
        ("labels ~ c", set()),
        ("labels = a", set()),
        ("layers.depth != 1", {3}),
        ("layers.depth = 1", set()),
    ],
)
def test_truth_values_and_lists_are_what_they_are(exp: Experiment, where: str, fits: set[int]) -> None:
    assert set(numbers(exp, where)) == fits


@pytest.mark.parametrize("sign", ["<", "<=", "=", "!=", ">=", ">", "~"])
@pytest.mark.parametrize("key", ["nothing", "metrics.nothing", "tag.deeper", "metrics.loss.deeper", "."])
def test_a_key_that_a_version_has_not_fits_nothing(exp: Experiment, key: str, sign: str) -> None:
    assert numbers(exp, f"{key} {sign} 1") == []


@pytest.mark.parametrize(
    ("given", "near"),
    [
        (
            {"where": "metrics.los < 1"},
            "no version that is listed has the key 'metrics.los': did you mean 'metrics.loss'",
        ),
        ({"sort": "-layer.depth"}, "no version that is listed has the key 'layer.depth': did you mean 'layers.depth'"),
        ({"where": "siz < 1"}, "no version that is listed has the key 'siz': did you mean 'size'?"),
    ],
)
def test_a_key_that_no_version_has_comes_with_the_one_that_may_be_meant(
    exp: Experiment, caplog: pytest.LogCaptureFixture, given: dict[str, str], near: str
) -> None:
    exp.list_artifacts(**given)
    (told,) = [one for one in caplog.records if one.name == "tracelet.artifacts"]
    assert told.getMessage().startswith(near)


def test_a_key_that_no_version_has_and_none_is_like_comes_without_a_word(
    exp: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    assert exp.list_artifacts(where="quite something else = 1") == []
    assert not [one for one in caplog.records if one.name == "tracelet.artifacts"]


def test_a_key_with_dots_of_its_own_goes_before_the_dots_that_lead_inwards(exp: Experiment) -> None:
    assert set(numbers(exp, "lr.decay = 0.5")) == {2}
    assert set(numbers(exp, "metrics.loss = 7")) == {3}
    assert set(numbers(exp, "lr.a.b.c = 1")) == {2}


def test_all_of_several_conditions_must_hold(exp: Experiment) -> None:
    assert numbers(exp, "metrics.loss < 1", "done = true") == [1]
    assert exp.list_artifacts(where="metrics.loss < 0.5")[0].version == "1.0"


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("label = 1.0", {1}),
        ("version = v0", {0, 4}),
        ("number >= 2", {2, 3}),
        ("aliases ~ prod", {3}),
        ("type = model", {0, 1, 2, 3, 4}),
        ("backend = local", {0, 1, 2, 3, 4}),
        ("name ~ oth", {4}),
        ("size < 8", {0, 1, 2, 3, 4}),
        ("created >= 2020-01-01", {0, 1, 2, 3, 4}),
        ("created_at < 1", set()),
        ("description ~ 3", {3}),
        ("pending = false", {0, 1, 2, 3, 4}),
        ("run_id = x", set()),
        ("digest ~ zz", set()),
    ],
)
def test_what_no_version_has_in_its_metadata_may_be_the_artifacts_own(
    exp: Experiment, where: str, fits: set[int]
) -> None:
    assert set(numbers(exp, where)) == fits


def test_a_key_means_the_metadata_for_all_versions_where_one_of_them_has_it_there(exp: Experiment) -> None:
    with exp:
        artifact = exp.create_artifact("sized", ArtifactType.CONFIG, "try 5").add_object(1, "one")
        artifact.metadata["size"] = 3
        exp.log_artifact(artifact)
    assert numbers(exp, "size < 8") == [5]
    assert len(numbers(exp, "size < 8", name="net")) == 4


def test_versions_are_sorted_by_a_key_and_those_without_it_come_last(exp: Experiment) -> None:
    assert numbers(exp, sort="metrics.steps") == [0, 1, 3, 4, 2]
    assert numbers(exp, sort="-metrics.steps") == [3, 1, 0, 4, 2]
    assert numbers(exp, sort="metrics.loss", name="net") == [1, 0, 3, 2]
    assert numbers(exp, sort="done") == [0, 1, 4, 3, 2]
    assert numbers(exp, sort="labels") == numbers(exp) == [4, 3, 2, 1, 0]
    assert numbers(exp, sort="-number", name="net") == [3, 2, 1, 0]
    assert numbers(exp, sort="created_at") == [0, 1, 2, 3, 4]


def test_equal_ones_stay_newest_first_in_either_direction(exp: Experiment) -> None:
    assert numbers(exp, sort="backend") == numbers(exp, sort="-backend") == [4, 3, 2, 1, 0]


def test_a_limit_takes_the_first_of_what_fits(exp: Experiment) -> None:
    assert numbers(exp, limit=2) == [4, 3]
    assert numbers(exp, "metrics.loss < 1", sort="metrics.loss", limit=1) == [1]
    assert len(numbers(exp, limit=100)) == 5


@pytest.mark.parametrize(
    "where",
    [
        "",
        "metrics.loss",
        "< 3",
        " = 3",
        "loss <",
        "loss = ",
        "loss <> 3",
        "loss => 3",
        "loss =! 3",
        "loss !! 3",
        "a < 1 and b > 2",
        "tag = 'open",
        'tag = "a" b',
        "tag = it's",
        7,
        None,
        b"loss < 3",
    ],
)
def test_a_bad_condition_says_what_is_expected(exp: Experiment, where: Any) -> None:
    with pytest.raises(ConfigError, match="give a key, one of < <= = != >= > ~ and a value, such as"):
        exp.list_artifacts(where=[where])


@pytest.mark.parametrize("where", [7, {"loss": 3}, {}, b"loss < 3", b""])
def test_what_is_neither_a_condition_nor_a_list_of_them_is_refused(exp: Experiment, where: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        exp.list_artifacts(where=where)


@pytest.mark.parametrize("sort", ["", "-", 3, ["loss"]])
def test_a_bad_key_to_sort_by_says_what_is_expected(exp: Experiment, sort: Any) -> None:
    with pytest.raises(ConfigError, match=r"give one such as 'metrics\.val_loss'"):
        exp.list_artifacts(sort=sort)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", True])
def test_a_limit_is_a_number_from_one_on(exp: Experiment, limit: Any) -> None:
    with pytest.raises(ConfigError, match="give a whole number from 1 on"):
        exp.list_artifacts(limit=limit)


def test_what_was_found_before_a_backend_failed_is_filtered_too(
    stored: Scripted, experiment: Callable[..., Experiment]
) -> None:
    stored.told(list="away")
    exp = experiment("local", "scripted")
    with pytest.raises(BackendUnavailable, match=r"\(1 in number\)") as caught:
        exp.list_artifacts(where="number = 1", name="thing")
    assert [(one.name, one.version) for one in caught.value.answers] == [("thing", "v1")]


@given(st.one_of(st.integers(), st.floats(allow_nan=False)), st.one_of(st.integers(), st.floats(allow_nan=False)))
def test_any_two_numbers_are_in_the_order_that_numbers_have(one: float, other: float) -> None:
    for sign, holds in (("<", one < other), ("<=", one <= other), ("=", one == other), ("!=", one != other)):
        (condition,) = query_of(f"key {sign} {other!r}").where
        assert condition.holds(one) is holds


@given(st.text(st.characters(exclude_characters="'")))
def test_any_text_in_quotes_is_that_text(text: str) -> None:
    assert query_of(f"key = '{text}'").where == (Condition("key", "=", text),)


@given(st.text())
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        (condition,) = query_of(text).where
    except ConfigError:
        return
    assert condition.key.strip() == condition.key != ""
    assert isinstance(condition.holds("x"), bool)
