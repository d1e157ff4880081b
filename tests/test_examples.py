"""The examples run, from any folder, and show what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers.s3_server import S3Server

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, *arguments: str, told: str = "", **environ: str) -> list[str]:
    """Run an example to its end; what it says on stderr is `told`, a pattern."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(told, done.stderr), done.stderr
    return done.stdout.splitlines()


def test_the_basic_example_logs_and_finds_its_artifact(tmp_path: Path) -> None:
    first = run("basic_artifact_example.py", tmp_path)
    assert first[0].startswith("local stored v0: ")
    assert first[1:] == [
        "experiment_results v0 (report): Loss of a run that went well",
        "hyperparameters: {'learning_rate': 0.001, 'batch_size': 32}, final loss: 0.1",
        "first line of the metrics: epoch,loss",
        "refers to https://example.org/dataset.tar.gz (5,000,000 bytes)",
    ]
    second = run("basic_artifact_example.py", tmp_path)
    assert second[0].startswith("local had that content already, as v0: ")


def test_the_demo_reads_in_one_process_what_it_logged_in_another(tmp_path: Path) -> None:
    lines = run("demo.py", tmp_path)
    assert len([line for line in lines if "verified" in line and "…" in line]) == 5
    assert "the model predicts as it did when it was logged" in lines[-1]


def test_large_files_go_to_a_bucket_and_come_back_from_it(tmp_path: Path) -> None:
    with S3Server("large") as bucket:
        lines = run("large_artifacts.py", tmp_path, TRACELET_STORE=bucket.url("store"), **bucket.environ)
        stored = bucket.client().list_objects_v2(Bucket="large", Prefix="store/")["Contents"]
    assert sorted(one["Size"] for one in stored if one["Size"] > 1_000_000) == [150_000_000]
    assert lines == [
        "logged 10,150 MB as v0; memory grew by less than 100 MB: True",
        "the same again: created=False, still v0",
        "another process:",
        "embeddings v0: embeddings.bin, 150,000,000 bytes, verified",
        "embeddings v0: readme.txt, 26 bytes, verified",
        "embeddings refers to s3://elsewhere/raw.tar.gz (10,000,000,000 bytes), not fetched",
        "private v0: readme.txt, 26 bytes, verified",
    ]


def test_pictures_sound_video_and_plots_come_back_from_wandb_and_aim(tmp_path: Path) -> None:
    waits = r"4 deliveries wait in .*: send them with `tracelet sync`\.\n"
    lines = run("multimedia_artifacts.py", tmp_path, told=waits, WANDB_MODE="offline", HOME=str(tmp_path))
    for backend in ("wandb", "aim"):
        assert [line for line in lines if line.startswith(f"{backend} gave back")] == [
            f"{backend} gave back attention (image): attention.png",
            f"{backend} gave back loss (visualization): loss.png",
            f"{backend} gave back rollout (video): rollout.gif",
            f"{backend} gave back speech (audio): speech.wav",
        ]


def test_saves_of_torch_are_captured_with_no_change_to_the_training(tmp_path: Path) -> None:
    lines = run("pytorch_artifacts.py", tmp_path)
    rows = [line.split()[:4] for line in lines if re.search(r" v\d ", line)]
    assert ["checkpoint", "v4", "checkpoint", "checkpoint.pth"] in rows
    assert [row for row in rows if row[2] == "model"] == [["network-model", "v0", "model", "network.pt"]]
    assert lines[-1] == "the best weights, loaded again, reach the accuracy that they had: True"


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_a_training_with_lightning_is_captured_unchanged(tmp_path: Path, package: str) -> None:
    assert run("lightning_artifacts.py", tmp_path, package) == [
        "digits-net-checkpoint: versions: 11",
        "digits-net-model: versions: 1",
        "digits-net-samples: versions: 5",
        "digits-net-checkpoint best: epoch 4, step 115",
        "digits-net-checkpoint last: epoch 4, step 115",
        "digits-net-checkpoint manual: epoch 5, step 115",
        "digits-net-model final: epoch 5, step 115",
        "best by val_loss, with {'channels': 16, 'learning_rate': 0.01}",
        "the final model predicts as it did",
    ]
