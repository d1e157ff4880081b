"""Programs, their lanes, `sync` and `gc` are killed at any instant: nothing that was acknowledged is lost, doubled or changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reliability.figures import Figures
from reliability.trials import Trial

GOOD = {"lost": 0, "wrong": 0, "doubled": 0, "out of order": 0, "in one backend alone": 0}
Make = Callable[[str], Trial]


def assert_good(figures: Figures, what: str, came: dict[str, int]) -> None:
    figures.add(what, came)
    assert {name: came[name] for name in GOOD} == GOOD


@pytest.mark.parametrize(
    ("kind", "role", "short", "many"),
    [
        ("local", "program", 6, 60),
        ("a lane", "program", 3, 20),
        ("a lane", "lane", 3, 20),
        ("both", "program", 4, 40),
        ("both", "lane", 2, 15),
        ("mlflow", "program", 1, 15),
        ("mlflow", "lane", 1, 15),
    ],
)
def test_a_program_or_its_lane_is_killed_while_it_logs(
    trial: Make, figures: Figures, long: bool, kind: str, role: str, short: int, many: int
) -> None:
    made = trial(kind)
    made.write_and_be_killed(role, many if long else short)
    assert_good(figures, f"{', '.join(made.backends)}: a writing {role} killed", made.settled())


@pytest.mark.parametrize(("kind", "short", "many"), [("local", 3, 20), ("both", 3, 20), ("mlflow", 1, 8)])
def test_sync_is_killed(trial: Make, figures: Figures, long: bool, kind: str, short: int, many: int) -> None:
    made = trial(kind)
    for _ in range(4 if long else 1):
        made.leave(8)
        made.command_and_be_killed("sync", times=many // 4 if long else short)
    assert_good(figures, f"{', '.join(made.backends)}: sync killed", made.settled())


def test_gc_is_killed(trial: Make, figures: Figures, long: bool) -> None:
    made = trial("both")
    for _ in range(3 if long else 1):
        made.write_and_be_killed("program", 1)
        made.leave(3)
        made.age()
        made.command_and_be_killed("gc", "--older-than", "1h", times=8 if long else 2)
        made.command("gc", "--older-than", "1h")
    assert_good(figures, "local, fsfiles: gc killed", made.settled())
