"""The examples run, from any folder, and show what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, *arguments: str) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
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
