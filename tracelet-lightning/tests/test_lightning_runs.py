"""Whole trainings in processes of their own: an experiment stores what they make, and gives it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tracelet import Experiment, ExperimentConfig

PROGRAMS = Path(__file__).parent / "lightning_programs.py"


def run(folder: Path, program: str, *arguments: str, code: int | None = 0, **variables: str) -> list[str]:
    """Run a program in a folder; return the lines it printed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(PROGRAMS), program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )
    assert code is None or done.returncode == code, done.stderr
    return done.stdout.splitlines()


def stored(folder: Path, experiment: str) -> list[dict[str, Any]]:
    """Return what is stored, oldest first, after a later process has made the waiting deliveries."""
    exp = Experiment(experiment, artifacts=True, config=ExperimentConfig(dir=folder / ".tracelet"))
    with exp:
        assert exp.flush() == 0
    return [
        {
            "name": one.name,
            "type": one.type.value,
            "aliases": sorted(one.aliases),
            "files": sorted(file.artifact_path for file in one.files),
            "said": one.metadata,
        }
        for one in reversed(exp.list_artifacts())
    ]


def count(stored: list[dict[str, Any]]) -> Counter[str]:
    return Counter(one["name"].rpartition("-")[2] for one in stored)


def test_the_specification_runs_as_printed_and_training_resumes_in_another_process(
    package: str, tmp_path: Path
) -> None:
    wrote = json.loads(run(tmp_path, "as_the_spec_says", package)[-1])
    read = json.loads(run(tmp_path / "elsewhere", "read", package, TRACELET_DIR=str(tmp_path / ".tracelet"))[-1])
    assert read["predicted"] == wrote["predicted"]
    assert read["first_step"] == 30
    assert read["file"] == "epoch=9-step=30.ckpt"
    kinds = Counter(one["type"] for one in read["stored"])
    assert kinds == {"checkpoint": 10, "sample": 10, "model": 1}
    assert [one["epoch"] for one in read["stored"] if one["type"] == "sample"] == list(range(10))
    assert [one["epoch"] for one in read["stored"] if one["type"] == "checkpoint"] == list(range(10))


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
def test_one_of_two_processes_logs_each_thing_once(package: str, tmp_path: Path, strategy: str) -> None:
    run(tmp_path, "in_parallel", package, strategy)
    found = stored(tmp_path, "parallel")
    assert count(found) == {"checkpoint": 4, "samples": 2, "model": 1}
    checkpoints = [one for one in found if one["name"].endswith("-checkpoint")]
    assert sorted((one["files"], one["said"]["global_step"]) for one in checkpoints) == [
        (["epoch=0.ckpt"], 2),
        (["epoch=1.ckpt"], 4),
        (["last.ckpt"], 2),
        (["last.ckpt"], 4),
    ]
    assert {one["said"]["world_size"] for one in found} == {2}
    assert [one["files"] for one in found if one["aliases"] == ["last"]] == [["last.ckpt"]]


def test_a_checkpoint_of_two_processes_that_have_half_of_the_model_each_is_one_folder(
    package: str, tmp_path: Path
) -> None:
    lines = run(tmp_path, "in_shards", package, "on")
    assert lines[-1] == run(tmp_path / "off", "in_shards", package, "off")[-1]
    assert not stored(tmp_path / "off", "sharded")
    found = stored(tmp_path, "sharded")
    assert [(one["name"], one["files"]) for one in found if not one["name"].endswith("samples")] == [
        (
            f"lit-{'unified' if '.' in package else 'classic'}-checkpoint",
            [f"{folder}/{file}" for file in (".metadata", "__0_0.distcp", "__1_0.distcp")],
        )
        for folder in ("epoch=0-val/gap=0.00.ckpt", "epoch=1-val/gap=-1.00.ckpt")
    ]
    assert {one["type"] for one in found} == {"checkpoint", "sample"}


def test_what_loggers_upload_is_the_same_with_capture_and_captured_once(tmp_path: Path) -> None:
    lines = run(tmp_path, "beside_loggers", WANDB_MODE="offline", WANDB_SILENT="true", HOME=str(tmp_path))
    told = [json.loads(line) for line in lines if line.startswith('{"losses"')]
    assert told[0] == told[1]
    everything = ["epoch=0.ckpt", "epoch=1.ckpt", "last.ckpt"]
    assert told[0]["uploads"] == dict.fromkeys(["mlflow True", "mlflow all", "wandb all"], everything)
    found = stored(tmp_path, "beside")
    assert count(found) == {"checkpoint": 4, "samples": 2, "model": 1}


@pytest.mark.parametrize("how", ["exception", "interrupt", "kill"])
def test_what_was_saved_before_the_end_is_stored(package: str, tmp_path: Path, how: str) -> None:
    run(tmp_path, "broken_off", package, how, code=None)
    found = stored(tmp_path, "broken")
    assert count(found) == {"checkpoint": 1, "samples": 1}
    assert {one["said"]["global_step"] for one in found} == {3}


def test_with_every_detector_each_thing_is_captured_once_and_the_training_is_the_same(
    package: str, tmp_path: Path
) -> None:
    trained = [run(tmp_path / on, "with_all_detectors", package, on)[-1] for on in ("off", "on")]
    assert trained[0] == trained[1]
    assert not stored(tmp_path / "off", "all")
    found = stored(tmp_path / "on", "all")
    assert count(found) == {"checkpoint": 10, "samples": 3, "model": 1}
    files = Counter(one["files"][0] for one in found if one["name"].endswith("-checkpoint"))
    # A slash in the name of a metric makes Lightning write a folder. Where a name is taken, it counts.
    assert files == {
        "epoch=0-step=6-val/gap=0.00.ckpt": 1,
        "epoch=1-step=12-val/gap=-1.00.ckpt": 1,
        "epoch=2-step=18-val/gap=-2.00.ckpt": 1,
        "last.ckpt": 3,
        "same.ckpt": 1,
        "same-v1.ckpt": 1,
        "same-v2.ckpt": 1,
        "mine.ckpt": 1,
    }
    said = {alias: one["files"][0] for one in found for alias in one["aliases"] if one["files"]}
    assert said == {
        "best": "epoch=2-step=18-val/gap=-2.00.ckpt",
        "best-val_loss": "epoch=2-step=18-val/gap=-2.00.ckpt",
        "best-val-gap": "same-v2.ckpt",
        "last": "last.ckpt",
        "manual": "mine.ckpt",
    }
