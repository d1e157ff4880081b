"""What is completed in a watched directory is logged by its content, and comes back in another process."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from making import elsewhere, write

from tracelet import Experiment
from tracelet.core.artifacts import ArtifactType
from tracelet.core.experiment import ExperimentConfig
from tracelet.settings import WatchedDirectory

pytestmark = pytest.mark.capture

EVERYTHING = """
    from tracelet import Experiment
    found = Experiment("filesystem_watch", artifacts=True).list_artifacts()
    answer(sorted(
        [one.name, one.version, one.type.value, one.files[0].artifact_path,
         (one.download() / one.files[0].artifact_path).read_bytes().hex(), one.metadata]
        for one in found
    ))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file in a folder that nobody watched yet no end is told: it is looked at thrice."""
    monkeypatch.setenv("TRACELET_FILESYSTEM_INTERVAL", "0.05")


def back(home: Path) -> list[list[object]]:
    """All that a process elsewhere finds: name, version, type, path, content and metadata."""
    found = elsewhere(EVERYTHING, cwd=home.parent / "elsewhere", TRACELET_DIR=str(home / ".tracelet"))
    assert isinstance(found, list)
    return found


def test_the_snippet_of_the_documentation_logs_what_is_created(home: Path) -> None:
    config = ExperimentConfig(
        enable_artifacts=True,
        watch_filesystem=True,  # Enable filesystem watching
        artifact_watch_dirs=["./checkpoints", "./outputs", "./models"],
    )

    exp = Experiment("filesystem_watch", config=config, artifacts=True)
    exp.start()
    write(home / "outputs" / "config.yaml", "lr: 0.1\n")
    np.save(write(home / "outputs" / "run1" / "embeddings.npy", b""), np.arange(3))
    write(home / "checkpoints" / "epoch=1.ckpt", b"state\0")
    write(home / "models" / "notes", "free text")
    write(home / "models" / "report.html.tmp", "<!doctype html>").rename(home / "models" / "report.html")
    write(home / "elsewhere.txt", "not watched")
    exp.stop()
    assert [[*one[:4], one[5]["directory"]] for one in back(home)] == [
        ["config", "v0", "config", "config.yaml", "./outputs"],
        ["epoch-1-checkpoint", "v0", "checkpoint", "epoch=1.ckpt", "./checkpoints"],
        ["notes-custom", "v0", "custom", "notes", "./models"],
        ["report", "v0", "report", "report.html", "./models"],
        ["run1.embeddings-dataset", "v0", "dataset", "run1/embeddings.npy", "./outputs"],
    ]


def test_what_is_logged_is_what_exists_and_each_once(home: Path) -> None:
    """Dozens of files: written at once, slowly by another process, renamed into place, overwritten with the same."""
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["out"])
    slow = """
        import sys, time
        from pathlib import Path
        files = []
        for number in range(10):
            file = Path(sys.argv[1], f"slow{number}.bin").open("wb", buffering=0)
            file.write(b"first ")
            files.append(file)
        time.sleep(0.2)
        for number, file in enumerate(files):
            file.write(b"second %d" % number)
            file.close()
    """
    (home / "out").mkdir()
    with Experiment("filesystem_watch", config=config, artifacts=True):
        writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(slow), str(home / "out")])
        kinds = itertools.cycle(["at once", "renamed", "twice"])
        for folder, number in itertools.product(range(10), range(6)):
            path = home / "out" / f"run{folder}" / f"file{number}.bin"
            kind = next(kinds)
            if kind == "renamed":
                write(path.with_suffix(".part"), f"{folder}/{number}").rename(path)
            for _ in range({"at once": 1, "renamed": 0, "twice": 2}[kind]):
                write(path, f"{folder}/{number}")
        assert writer.wait() == 0
    there = {
        path.relative_to(home / "out").as_posix(): path.read_bytes().hex()
        for path in (home / "out").rglob("*")
        if path.is_file()
    }
    logged = back(home)
    assert len(there) == 70
    assert {str(path): content for _, _, _, path, content, _ in logged} == there
    assert len(logged) == len(there)


def test_a_rule_of_the_configuration_types_and_names(home: Path) -> None:
    config = ExperimentConfig(
        watch_filesystem=True,
        artifact_watch_dirs=[WatchedDirectory("plots", type=ArtifactType.VISUALIZATION, name="plot-{stem}")],
    )
    with Experiment("filesystem_watch", config=config, artifacts=True):
        write(home / "plots" / "loss.txt", "*" * 10)
    assert [one[:3] for one in back(home)] == [["plot-loss", "v0", "visualization"]]


def test_each_version_of_a_checkpoint_has_its_own_bytes(home: Path) -> None:
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["out"])
    path = write(home / "out" / "last.ckpt", "old")
    with Experiment("filesystem_watch", config=config, artifacts=True) as exp:
        for number in range(5):
            path.write_text(f"epoch {number}")
            while exp._artifact_manager.get_stats()["capture"].get("captured", 0) <= number:
                time.sleep(0.005)
    assert [(one[1], bytes.fromhex(str(one[4])).decode()) for one in back(home)] == [
        (f"v{number}", f"epoch {number}") for number in range(5)
    ]


def test_an_archive_that_is_no_model_is_logged_as_what_it_is(home: Path) -> None:
    config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["out"])
    (home / "out").mkdir()
    with Experiment("filesystem_watch", config=config, artifacts=True):
        with zipfile.ZipFile(home / "out" / "code.zip", "w") as archive:
            archive.writestr("train.py", "import torch")
        (home / "out" / "metrics.json").write_text(json.dumps({"loss": 0.1}))
        os.link(home / "out" / "code.zip", home / "out" / "linked.zip")
    assert [one[:3] for one in back(home)] == [
        ["code-custom", "v0", "custom"],
        ["linked-custom", "v0", "custom"],
        ["metrics-config", "v0", "config"],
    ]
