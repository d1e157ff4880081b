"""Shards that are saved one by one are one artifact: the name of each says how many there are."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LinearRegression

from tracelet import Experiment

INDEX = "model.safetensors.index.json"


@pytest.fixture
def started(home: Path) -> Iterator[Any]:
    """Start an experiment that captures, and watches a folder or none; it is stopped in the end."""
    made: list[Experiment] = []

    def start(*, watched: bool) -> Experiment:
        Path("out").mkdir()
        more: dict[str, Any] = {"watch_filesystem": True, "artifact_watch_dirs": ["out"]} if watched else {}
        made.append(Experiment("shards", artifacts=True, automagic_artifacts=True, **more).start())
        return made[-1]

    yield start
    for exp in made:
        exp.stop()


def shard(number: int, count: int = 3, ending: str = ".safetensors") -> str:
    return f"model-{number:05}-of-{count:05}{ending}"


def save(value: float, shards: int = 3, folder: str = "out") -> None:
    """Save a model in three shards, or only the first of them, and, after all, their index."""
    for number in range(1, shards + 1):
        save_file({f"w{number}": torch.full((2,), value)}, f"{folder}/{shard(number)}")
    if shards == 3:
        index = {"metadata": {}, "weight_map": {f"w{number}": shard(number) for number in (1, 2, 3)}}
        Path(folder, INDEX).write_text(json.dumps(index))


def stored(exp: Experiment) -> dict[tuple[str, str], list[str]]:
    return {
        (one.name, one.version): sorted(Path(file.artifact_path).name for file in one.files)
        for one in exp.list_artifacts()
    }


@pytest.mark.parametrize("watched", [False, True])
def test_each_save_of_all_shards_is_a_version_with_their_index(started: Any, watched: bool) -> None:
    exp = started(watched=watched)
    save(1.0)
    save(2.0)
    exp.stop()
    whole = sorted([*map(shard, (1, 2, 3)), INDEX])
    assert stored(exp) == {("model-weights", "v0"): whole, ("model-weights", "v1"): whole}
    for version, value in (("v0", 1.0), ("v1", 2.0)):
        folder = exp.get_artifact("model-weights", version).download()
        for number in (1, 2, 3):
            (file,) = folder.rglob(shard(number))
            assert load_file(file)[f"w{number}"].tolist() == [value, value]


@pytest.mark.parametrize("watched", [False, True])
def test_shards_need_no_index_whichever_function_saves_them(started: Any, watched: bool) -> None:
    exp = started(watched=watched)
    for number in (0, 1):
        torch.save({"weight": torch.full((2,), number)}, f"out/net-{number:05}-of-00002.pt")
        with Path(f"out/line-{number:05}-of-00002.pkl").open("wb") as file:
            pickle.dump(LinearRegression().fit(np.eye(2), [number, 1]), file)
    exp.stop()
    assert stored(exp) == {
        ("net-weights", "v0"): ["net-00000-of-00002.pt", "net-00001-of-00002.pt"],
        ("line-model", "v0"): ["line-00000-of-00002.pkl", "line-00001-of-00002.pkl"],
    }


@pytest.mark.parametrize("watched", [False, True])
def test_shards_whose_others_never_come_are_captured_each_by_itself_and_that_is_told(
    started: Any, watched: bool, caplog: pytest.LogCaptureFixture
) -> None:
    exp = started(watched=watched)
    save(1.0, shards=2)
    save(2.0)
    exp.stop()
    assert stored(exp) == {
        ("model-00001-of-00003-weights", "v0"): [shard(1)],
        ("model-00002-of-00003-weights", "v0"): [shard(2)],
        ("model-weights", "v0"): sorted([*map(shard, (1, 2, 3)), INDEX]),
    }
    assert [one for one in caplog.messages if "2 shards of 3 came" in one] == [
        f"{Path('out/model.safetensors').absolute()}: 2 shards of 3 came, and each is captured by itself. "
        "Save them all, and they are one artifact."
    ]


def test_with_latest_wins_no_artifact_has_shards_of_two_saves(home: Path) -> None:
    Path("out").mkdir()
    exp = Experiment("shards", artifacts=True, automagic_artifacts=True, capture_latest_wins=True).start()
    save(1.0)
    save(2.0, shards=1)
    exp.stop()
    found = {}
    for one in exp.list_artifacts():
        files = one.download().rglob("*.safetensors")
        found[one.name] = [load_file(file)[f"w{file.name[10]}"][0].item() for file in files]
    assert found == {"model-weights": [1.0, 1.0, 1.0], "model-00001-of-00003-weights": [2.0]}


def test_what_a_rank_saves_is_no_shard_by_its_name(started: Any) -> None:
    exp = started(watched=False)
    for name in ("rank_0.pt", "mp_rank_00_model_states.pt", "net-1-of-2.pt", "net-2-of-2.pt"):
        torch.save({"weight": torch.ones(2)}, f"out/{name}")
    exp.stop()
    assert {name for name, _ in stored(exp)} == {
        "rank_0-weights",
        "mp_rank_00_model_states-weights",
        "net-1-of-2-weights",
        "net-2-of-2-weights",
    }


KILLED = """
import os, sys, torch
from tracelet import Experiment
Experiment("shards", artifacts=True, automagic_artifacts=True).start()
for number in range(1, 1 + int(sys.argv[1])):
    torch.save({"weight": torch.full((2,), number)}, f"net-{number:05}-of-00003.pt")
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("saved", "names"), [(2, {"net-00001-of-00003-weights", "net-00002-of-00003-weights"}), (3, {"net-weights"})]
)
def test_shards_of_a_process_that_was_killed_are_delivered_by_the_next(home: Path, saved: int, names: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(saved)], capture_output=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for file in home.glob("net-*"):
        os.unlink(file)
    exp = Experiment("shards", artifacts=True).start()
    exp.stop()
    found = exp.list_artifacts()
    assert {one.name for one in found} == names
    assert sum(len(one.files) for one in found) == saved
