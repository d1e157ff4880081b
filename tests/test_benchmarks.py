"""What the benchmarks make of the times that they take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import growth
import measuring
from measuring import OURS, Budget, Line, Outcome, Way

JOB = """
import contextlib
from pathlib import Path

ORDER = Path(__file__).with_name("order")

@contextlib.contextmanager
def took(who, seconds, fails=False):
    def step(number, more=0.0):
        with ORDER.open("a") as order:
            order.write(f"{who}{number} ")
        if fails:
            raise ValueError("the server is away")
        return seconds + more
    yield step
"""


def line(budget: Budget | None = None, *, fails: bool = False, more: float = 0.0) -> Line:
    ways = {
        OURS: Way("job:took", {"who": "a", "seconds": 3.0}, {"more": more}),
        "by hand": Way("job:took", {"who": "b", "seconds": 2.0, "fails": fails}),
    }
    return Line("job", "a job", ways, budget, warm=1, rounds=5, quick_rounds=2)


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "order"


def test_ways_take_turns_and_the_first_round_does_not_count(order: Path) -> None:
    (outcome,) = measuring.measure_all([line()], quick=True)
    assert order.read_text().split() == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert outcome.spreads["by hand"].count == 2


def test_a_line_that_fails_says_why_and_the_next_one_goes_on(order: Path) -> None:
    failed, good = measuring.measure_all([line(fails=True), measuring.attrs.evolve(line(), name="good")], quick=True)
    assert failed.failure == "by hand: ValueError: the server is away"
    assert failed.met == "failed"
    assert good.ratio("by hand") == 1.5
    assert "it could not be measured" in measuring.table([failed, good])
    assert measuring.as_json([failed, good])[0]["failure"] == failed.failure


def test_the_middle_and_both_ends_of_what_was_taken_are_shown() -> None:
    spread = measuring.spread_of([0.002, 0.5, 0.004])
    assert (spread.median, spread.least, spread.most, spread.count) == (0.004, 0.002, 0.5, 3)
    outcome = Outcome(line(), {OURS: spread, "by hand": measuring.spread_of([0.001])})
    assert "| 4 ms (2 ms to 500 ms) | by hand: 1 ms (1 ms to 1 ms) | 4.00 |" in measuring.table([outcome])


@pytest.mark.parametrize(
    ("budget", "met"),
    [
        (measuring.times(1.5, "by hand"), "yes"),
        (measuring.times(1.4, "by hand"), "no"),
        (measuring.beside("by hand", 1.0), "yes"),
        (measuring.together("by hand", "by hand"), "yes"),
        (measuring.at_most(2.9), "no"),
        (None, ""),
    ],
)
def test_a_budget_is_of_the_medians(budget: Budget | None, met: str) -> None:
    spreads = {name: measuring.spread_of([seconds]) for name, seconds in ((OURS, 3.0), ("by hand", 2.0))}
    outcome = Outcome(line(budget), spreads)
    assert outcome.met == met
    assert ("Not met" in measuring.table([outcome])) == (met == "no")


GROWING = """
import contextlib

@contextlib.contextmanager
def store(power, fails=False):
    def step(number, n, grow=False, limit=0.0, patient=True):
        if fails and n > 10:
            raise ValueError("the disk is full")
        there = min(n, 500)
        return {"reached": there} if grow else {"get": there**power}
    yield step
"""


def growing(**ways: Way) -> growth.Series:
    measures = {"get": growth.one("one got")}
    return growth.Series("growth", "a store", "things", (10, 100, 1000, 10_000), measures, ways, 1, grows=True)


def grown(power: float, **more: bool) -> Way:
    return Way("growing:store", {"power": power, **more})


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "growing.py").write_text(GROWING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ways = {
        OURS: grown(0.5),
        "flat": grown(0.0),
        "full": grown(0.0, fails=True),
        "absent": Way("growing:store", python=str(tmp_path / "python")),
    }
    return growth.measure(growing(**ways), quick=True, limit=60)


def test_a_series_goes_as_far_as_each_way_gets_and_says_how_far(found: dict[str, Any]) -> None:
    assert {name: [point["n"] for point in way["points"]] for name, way in found["ways"].items()} == {
        OURS: [10, 100, 500],
        "flat": [10, 100, 500],
        "full": [10],
        "absent": [],
    }
    assert {name: way["over"] for name, way in found["ways"].items()} == {
        OURS: "reached 500 of 1,000: the time is too short for more",
        "flat": "reached 500 of 1,000: the time is too short for more",
        "full": "failed at 100: full: ValueError: the disk is full",
        "absent": "not installed",
    }


def test_what_gets_slower_among_more_is_listed(found: dict[str, Any]) -> None:
    assert found["measures"]["get"]["slopes"] == {OURS: 0.5, "flat": 0.0}
    listed = growth.table([found])
    assert "- a store: one got, Tracelet: slower among more: the slope is 0.50, where 0.15 is the limit" in listed
    assert "flat: slower" not in listed


def test_a_slope_is_that_of_the_upper_half() -> None:
    assert growth.fitted([(0, 7.0), (1, 5.0), (10, 5.0), (100, 10.0), (1000, 100.0)]) == pytest.approx(1.0)
    assert growth.fitted([(10, 5.0)]) is None
