"""A copy is killed at any instant and started again: every version is in the target once, in its order, with its names."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reliability.copies import CopyTrial
from reliability.figures import Figures
from servers.mlflow_server import MlflowServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("server")) as server:
        yield server


def ordered(told: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each version's name and digest, by names, in the order of their numbers."""
    placed = sorted(told, key=lambda one: (one["name"], one["number"]))
    return [(one["name"], one["digest"]) for one in placed]


def without_number(one: Mapping[str, Any]) -> dict[str, Any]:
    """A number that a killed copy had taken is not given again, so that those after it are higher."""
    return {key: value for key, value in one.items() if key != "number"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("local", "mlflow"),
        ("aim", "local"),
        pytest.param("local", "aim", marks=pytest.mark.long),
        pytest.param("mlflow", "local", marks=pytest.mark.long),
    ],
)
def test_a_copy_or_its_lane_is_killed(
    server: MlflowServer, tmp_path: Path, figures: Figures, long: bool, source: str, target: str
) -> None:
    (tmp_path / "aim").mkdir()
    environ = {"MLFLOW_TRACKING_URI": server.url, "TRACELET_AIM_REPO": str(tmp_path / "aim")}
    environ["TRACELET_STORE"] = str(tmp_path / "store")
    trial = CopyTrial(tmp_path, ["local"], environ, random.Random(f"{source} {target}"))
    before = trial.make(source)
    came: Counter[str] = Counter()
    while trial.kills < (15 if long else 2):
        after = trial.copy_and_be_killed(source, target, 3 if long else 2)
        came["missing"] += len({one["digest"] for one in before} - {one["digest"] for one in after})
        came["doubled"] += len(after) - len({(one["name"], one["number"]) for one in before})
        came["out of order"] += ordered(after) != ordered(before)
        came["different"] += [without_number(one) for one in after] != [without_number(one) for one in before]
    told = {name: came[name] for name in ("missing", "doubled", "out of order", "different")}
    figures.add(f"{source} to {target}: a copy killed", {"kills": trial.kills, "copies": trial.copies, **told})
    assert set(told.values()) == {0}
