"""What the benchmarks make of the times that they take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

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
