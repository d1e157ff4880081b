"""A training of two processes is one run, and what it saves is captured once, whatever has started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracelet import Experiment, ExperimentConfig

TORCHRUN = """
import torch
from tracelet import Experiment

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
exp = Experiment("job", artifacts=True, automagic_artifacts=True).start()
for epoch in range(2):
    state = {"epoch": epoch, "model": {"w": torch.ones(2)}}
    torch.save(state, f"rank-{rank}.pt")
    if rank == 0:
        torch.save(state, "last.pt")
    torch.distributed.barrier()
exp.stop()
torch.distributed.destroy_process_group()
"""
ACCELERATE = """
import torch
from accelerate import Accelerator
from tracelet import Experiment

accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
exp = Experiment("job", artifacts=True, automagic_artifacts=True).start()
for epoch in range(2):
    accelerator.save({"epoch": epoch, "model": {"w": torch.ones(2)}}, "last.pt")
    accelerator.wait_for_everyone()
exp.stop()
accelerator.end_training()
"""
#: Ray's trainer for torch sets RANK. This one sets nothing.
RAY = """
import os, tempfile
import ray
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

def train(config):
    import torch
    from tracelet import Experiment

    exp = Experiment("job", artifacts=True, automagic_artifacts=True).start()
    first = ray.train.get_context().get_world_rank() == 0
    for epoch in range(2):
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"epoch": epoch, "model": {"w": torch.ones(2)}}, os.path.join(folder, "last.pt"))
            ray.train.report({"epoch": epoch}, checkpoint=Checkpoint.from_directory(folder) if first else None)
    exp.stop()

ray.init(num_cpus=2, include_dashboard=False)
assert "RANK" not in os.environ
where = RunConfig(name="trained", storage_path=os.path.abspath("results"))
DataParallelTrainer(train, scaling_config=ScalingConfig(num_workers=2), run_config=where).fit()
"""
BY_TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
BY_ACCELERATE = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
BY_ACCELERATE += ["--mixed_precision=no", "--dynamo_backend=no"]


@pytest.mark.parametrize(
    ("launcher", "program", "names"),
    [
        pytest.param(BY_TORCHRUN, TORCHRUN, ["last-checkpoint", "rank-0-checkpoint"], id="torchrun"),
        pytest.param(BY_ACCELERATE, ACCELERATE, ["last-checkpoint"], id="accelerate"),
        pytest.param([], RAY, ["last-checkpoint"], id="Ray Train"),
    ],
)
def test_each_checkpoint_of_a_job_is_captured_once(
    tmp_path: Path, launcher: list[str], program: str, names: list[str]
) -> None:
    (tmp_path / "program.py").write_text(program)
    directory = tmp_path / "tracelet"
    done = subprocess.run(
        [sys.executable, *launcher, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "TRACELET_DIR": str(directory), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    stored = Experiment("job", artifacts=True, config=ExperimentConfig(dir=directory)).list_artifacts()
    assert sorted((one.name, one.metadata["epoch"]) for one in stored) == [
        (name, n) for name in names for n in range(2)
    ]
    assert len({one.manifest.run_id for one in stored}) == 1
