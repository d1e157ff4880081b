"""One process of a job writes, whatever real launcher has started the job."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launchers.conditions import needs
from tracelet import Experiment, ExperimentConfig

PROGRAM = """
import os, pathlib
from tracelet import ArtifactType, Experiment

with Experiment("job", artifacts=True) as exp:
    results = exp.log_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object({"a": 1}, "o"))
pathlib.Path(f"said-{os.getpid()}").write_text("skipped" if results.skipped else "wrote")
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "program.py"]
OPEN_MPI = ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-n", "2", sys.executable, "program.py"]
MPICH = ["mpiexec.hydra", "-n", "2", sys.executable, "program.py"]
SRUN = ["srun", "-n", "2", sys.executable, "program.py"]

Launch = Callable[..., list[str]]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Run a command in a folder that has the program; return what its processes said of themselves."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(command: list[str], environ: dict[str, str] | None = None) -> list[str]:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "TRACELET_DIR": str(tmp_path / "tracelet"), **(environ or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return sorted(path.read_text() for path in tmp_path.glob("said-*"))

    return run


def stored(folder: Path) -> list[str]:
    config = ExperimentConfig(dir=folder / "tracelet")
    return [artifact.version for artifact in Experiment("job", artifacts=True, config=config).list_artifacts()]


@pytest.mark.parametrize("command", [TORCHRUN, OPEN_MPI, MPICH], ids=["torchrun", "Open MPI", "MPICH"])
def test_the_first_process_of_a_job_writes_and_the_second_one_does_not(
    launch: Launch, tmp_path: Path, command: list[str]
) -> None:
    needs(command[0])
    assert launch(command) == ["skipped", "wrote"]
    assert stored(tmp_path) == ["v0"]


def test_a_process_that_a_launcher_has_started_alone_writes(launch: Launch) -> None:
    needs(OPEN_MPI[0], MPICH[0])
    alone = [["1" if word == "2" else word for word in command] for command in (OPEN_MPI, MPICH)]
    launch(alone[0])
    assert launch(alone[1]) == ["wrote", "wrote"]


@pytest.mark.parametrize("plugin", ["none", "pmi2"])
def test_the_first_task_of_a_step_of_slurm_writes(
    launch: Launch, cluster: dict[str, str], tmp_path: Path, plugin: str
) -> None:
    assert launch([SRUN[0], f"--mpi={plugin}", *SRUN[1:]], cluster) == ["skipped", "wrote"]
    assert stored(tmp_path) == ["v0"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param([sys.executable, "program.py"], ["wrote"], id="the script itself"),
        pytest.param([SRUN[0], "-n", "1", *SRUN[3:]], ["wrote"], id="a step of one task"),
        pytest.param(SRUN, ["skipped", "wrote"], id="a step of two tasks"),
        pytest.param(OPEN_MPI, ["skipped", "wrote"], id="Open MPI"),
        pytest.param(MPICH, ["skipped", "wrote"], id="MPICH"),
        pytest.param([SRUN[0], "-n", "1", *TORCHRUN], ["skipped", "wrote"], id="torchrun in a step"),
    ],
)
def test_a_batch_job_of_two_tasks_writes_once(
    launch: Launch, cluster: dict[str, str], tmp_path: Path, line: list[str], said: list[str]
) -> None:
    needs(line[0])
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\nexec {' '.join(line)}\n")
    assert launch(["sbatch", "--wait", "-n", "2", "--output=log", "job.sh"], cluster) == said


def test_every_job_of_an_array_writes(launch: Launch, cluster: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\nexec {sys.executable} program.py\n")
    assert launch(["sbatch", "--wait", "--array=0-1", "--output=log-%a", "job.sh"], cluster) == ["wrote", "wrote"]
