"""How many processes each kind of call starts, in a program that counts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from pathlib import Path

begun = []
sys.addaudithook(lambda event, arguments: begun.append(event) if event in EVENTS else None)
from tracelet import ArtifactType, Experiment

told = {}

def count(kind, call):
    before = len(begun)
    given = call()
    told[kind] = len(begun) - before
    return given

def artifact(content):
    Path("file").write_text(content)
    return exp.create_artifact("data", ArtifactType.DATASET).add_file("file")

exp = count("making an experiment", lambda: Experiment("counted", artifacts=True))
# The run opens its backend behind.
count("starting and logging", lambda: exp.start().log_artifact(artifact("one")).raise_for_errors())
count("logging the same again", lambda: exp.log_artifact(artifact("one")).raise_for_errors())
count("logging the next", lambda: exp.log_artifact(artifact("two")).raise_for_errors())
count("submitting", lambda: exp.submit_artifact(artifact("three")).result().raise_for_errors())
found = count("finding", lambda: exp.get_artifact("data"))
count("finding again", lambda: exp.get_artifact("data", "v0"))
count("downloading", lambda: found.download("got"))
count("listing", exp.list_artifacts)
count("naming", lambda: found.add_alias("best"))
count("verifying", found.verify)
count("deleting", lambda: exp.get_artifact("data", "v0").delete())
count("stopping", exp.stop)
count("finding without a run", lambda: exp.get_artifact("data"))
print(json.dumps(told))
"""
EVENTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")
KINDS = [
    "making an experiment", "starting and logging", "logging the same again", "logging the next", "submitting", "finding",
    "finding again", "downloading", "listing", "naming", "verifying", "deleting", "stopping", "finding without a run",
]  # fmt: skip


def counted(folder: Path, backend: str) -> dict[str, int]:
    own = {
        "TRACELET_BACKEND": backend,
        "TRACELET_DIR": str(folder / "t"),
        "TRACELET_FSFILES_URL": (folder / "bag").as_uri(),
        "TRACELET_OPEN_TIMEOUT": "600",
        "TRACELET_DEADLINE": "600",
        "TRACELET_STOP_TIMEOUT": "600",
    }
    code = f"EVENTS = {EVENTS}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, int] = json.loads(done.stdout)
    return told


def test_the_embedded_backend_starts_none(tmp_path: Path) -> None:
    assert counted(tmp_path, "local") == dict.fromkeys(KINDS, 0)


@pytest.mark.parametrize("backend", ["fsfiles"])
def test_another_backend_has_one_process_to_write_and_one_to_read(tmp_path: Path, backend: str) -> None:
    """The first thing that needs one starts it, and it stays until the end of the run; what reads without a run has its own."""
    started = {"starting and logging": 1, "finding": 1, "finding without a run": 1}
    assert counted(tmp_path, backend) == {**dict.fromkeys(KINDS, 0), **started}
