"""From torch.save to another process: what was saved while a run was on comes back as it was saved."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from making import elsewhere

from tracelet import ArtifactType, Experiment, ExperimentConfig
from tracelet.core.artifacts.logged import LoggedArtifact

Run = Callable[..., Experiment]


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    """Start experiments that capture on the local backend; they are stopped in the end."""
    made: list[Experiment] = []

    def start(name: str = "training", automagic: bool = True, **config: Any) -> Experiment:
        exp = Experiment(name, artifacts=True, automagic_artifacts=automagic, config=ExperimentConfig(**config))
        made.append(exp.start())
        return exp

    yield start
    for exp in made:
        exp.stop()


def versions(exp: Experiment, name: str) -> list[LoggedArtifact]:
    """Oldest first."""
    return sorted((one for one in exp.list_artifacts() if one.name == name), key=lambda one: int(one.version[1:]))


def stored(one: LoggedArtifact) -> Any:
    return torch.load(io.BytesIO((one.download() / one.files[0].artifact_path).read_bytes()))


def test_unchanged_code_logs_weights_and_a_checkpoint_that_load_in_another_process(run: Run, home: Path) -> None:
    """The code between start and stop is what a page about torch shows."""
    torch.manual_seed(3)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.125, momentum=0.9)
    epoch, loss = 5, model(torch.ones(1, 4)).sum()
    loss.backward()
    optimizer.step()
    exp = run()
    torch.save(model.state_dict(), "model.pth")
    torch.save(
        {
            "epoch": epoch,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": loss,
        },
        "checkpoint.pth",
    )
    exp.stop()
    for name in ("model.pth", "checkpoint.pth"):
        (home / name).unlink()
    back = elsewhere(
        """
        import torch
        from tracelet import Experiment
        exp = Experiment("training", artifacts=True)
        weights, checkpoint = exp.get_artifact("model-weights"), exp.get_artifact("checkpoint")
        state = torch.load(weights.download() / "model.pth")
        resumed = torch.load(checkpoint.download() / "checkpoint.pth", weights_only=False)
        model = torch.nn.Linear(4, 2)
        model.load_state_dict(state)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        optimizer.load_state_dict(resumed["optimizer_state_dict"])
        answer(
            {
                "types": [weights.type.value, checkpoint.type.value],
                "metadata": [weights.metadata, checkpoint.metadata],
                "weight": model.weight.flatten().tolist(),
                "momentum": optimizer.state[model.weight]["momentum_buffer"].flatten().tolist(),
                "resumed": resumed["model_state_dict"]["bias"].tolist(),
            }
        )
        """,
        cwd=home.parent / "other",
        TRACELET_DIR=str(home / ".tracelet"),
    )
    assert back["types"] == ["weights", "checkpoint"]
    assert back["metadata"] == [{}, {"epoch": 5, "loss": loss.item(), "learning_rate": 0.125}]
    assert back["weight"] == model.weight.flatten().tolist()
    assert back["momentum"] == optimizer.state[model.weight]["momentum_buffer"].flatten().tolist()
    assert back["resumed"] == model.bias.tolist()


def test_a_path_overwritten_fifty_times_is_fifty_versions_of_one_name(run: Run) -> None:
    exp = run()
    for number in range(50):
        torch.save({"layer.weight": torch.full((2,), float(number))}, "model.pth")
    exp.stop()
    found = versions(exp, "model-weights")
    assert [one.version for one in found] == [f"v{number}" for number in range(50)]
    assert [stored(one)["layer.weight"][0].item() for one in found] == list(range(50))


def test_the_same_content_saved_again_is_no_new_version(run: Run) -> None:
    exp = run()
    for _ in range(3):
        torch.save({"layer.weight": torch.ones(2)}, "model.pth")
    exp.stop()
    assert [one.version for one in versions(exp, "model-weights")] == ["v0"]


def test_a_sharded_checkpoint_comes_back_as_a_folder_that_loads(run: Run, home: Path) -> None:
    exp = run()
    with pytest.warns(UserWarning, match="torch.distributed is disabled"):
        dcp.save({"weight": torch.arange(6.0), "epoch": 2}, checkpoint_id="sharded")
    exp.stop()
    one = exp.get_artifact("sharded-checkpoint")
    assert one.type is ArtifactType.CHECKPOINT
    assert one.metadata == {"epoch": 2}
    state = {"weight": torch.zeros(6)}
    folder = next(one.download().rglob(".metadata")).parent
    with pytest.warns(UserWarning, match="torch.distributed is disabled"):
        dcp.load(state, checkpoint_id=folder)
    assert torch.equal(state["weight"], torch.arange(6.0))


def test_a_buffer_with_a_name_comes_back(run: Run) -> None:
    class Named(io.BytesIO):
        name = "model.pth"

    exp = run()
    torch.save({"layer.weight": torch.ones(2)}, Named())
    exp.stop()
    assert torch.equal(stored(exp.get_artifact("model-weights"))["layer.weight"], torch.ones(2))


def test_a_module_says_its_class_and_the_release_of_torch(run: Run) -> None:
    exp = run()
    torch.save(torch.nn.Linear(2, 1), "net.pt")
    exp.stop()
    (one,) = exp.list_artifacts()
    assert one.metadata == {"class": "torch.nn.modules.linear:Linear", "framework": f"torch {torch.__version__}"}


def test_two_experiments_at_once_both_have_it(run: Run, home: Path) -> None:
    first, second = run("first", dir=home / "one"), run("second", dir=home / "two")
    torch.save({"layer.weight": torch.ones(2)}, "model.pth")
    first.stop()
    torch.save({"layer.weight": torch.zeros(2)}, "model.pth")
    second.stop()
    torch.save({"layer.weight": torch.rand(2)}, "model.pth")
    assert len(versions(first, "model-weights")) == 1
    assert len(versions(second, "model-weights")) == 2


def test_nothing_is_captured_that_was_not_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing a detector changes nothing; and each kind of save has a variable that turns it off."""
    code = torch.save.__code__
    exp = run(automagic=False)
    assert torch.save.__code__ is code
    exp.stop()
    monkeypatch.setenv("TRACELET_TORCH_SAVE", "false")
    exp = run("switched")
    torch.save(torch.nn.Linear(1, 1), "model.pth")
    exp.stop()
    assert exp.list_artifacts() == []


def test_what_was_saved_before_a_kill_is_delivered_by_the_next_process(home: Path) -> None:
    """The last save had returned, and nobody had time for anything else."""
    program = textwrap.dedent(
        """
        import os, signal, torch
        from tracelet import Experiment
        exp = Experiment("killed", artifacts=True, automagic_artifacts=True).start()
        for number in range(10):
            torch.save({"layer.weight": torch.full((2,), float(number))}, "model.pth")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=home, timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    sync = [sys.executable, "-c", "from tracelet.cli import main; main()", "sync"]
    subprocess.run(sync, cwd=home, timeout=120, check=True)
    found = versions(Experiment("killed", artifacts=True), "model-weights")
    assert [stored(one)["layer.weight"][0].item() for one in found] == list(range(10))


#: One of two processes that know their ranks from their process group alone. Each saves to paths of its own, and to one of both.
RANKED = """
import os, sys
import torch
from tracelet import Experiment, ExperimentConfig

rank, place = int(sys.argv[1]), f"file://{os.getcwd()}/rendezvous"
torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
config = ExperimentConfig(watch_filesystem=True, artifact_watch_dirs=["saved"])
exp = Experiment("job", artifacts=True, automagic_artifacts=True, config=config).start()
torch.distributed.barrier()
for epoch in range(2):
    torch.save({"epoch": epoch, "model": {"w": torch.ones(2)}}, f"rank-{rank}.pt")
    for turn in range(2):
        if turn == rank:
            torch.save({"epoch": epoch, "model": {"w": torch.ones(2)}}, "both.pt")
        torch.distributed.barrier()
torch.save({"epoch": 7, "model": {"w": torch.full((2,), float(rank))}}, f"saved/shard-{rank}.pt")
torch.distributed.barrier()
exp.stop()
torch.distributed.destroy_process_group()
"""


def test_of_a_jobs_processes_the_first_captures_what_it_saves_and_what_all_write_where_it_watches(home: Path) -> None:
    (home / "saved").mkdir()
    job = [subprocess.Popen([sys.executable, "-c", RANKED, rank], stderr=subprocess.PIPE, text=True) for rank in "01"]
    said = [one.communicate(timeout=300)[1] for one in job]
    assert [one.returncode for one in job] == [0, 0], said
    stored = Experiment("job", artifacts=True).list_artifacts()
    assert sorted((one.name, one.metadata["epoch"]) for one in stored if "epoch" in one.metadata) == [
        ("both-checkpoint", 0),
        ("both-checkpoint", 1),
        ("rank-0-checkpoint", 0),
        ("rank-0-checkpoint", 1),
        ("shard-0-checkpoint", 7),
    ]
    assert [one.name for one in stored if "epoch" not in one.metadata] == ["shard-1-checkpoint"]
    assert len({one.manifest.run_id for one in stored}) == 1


#: Loads data with workers of each kind while a run captures, and saves in them, too.
LOADING = """
import torch
from tracelet import Experiment

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        torch.save({"w": torch.ones(2)}, f"worker-{index}.pt")
        return torch.full((1,), float(index))

if __name__ == "__main__":
    exp = Experiment("job", artifacts=True, automagic_artifacts=True).start()
    for kind in ("fork", "spawn", "forkserver"):
        loaded = list(torch.utils.data.DataLoader(Rows(), num_workers=1, multiprocessing_context=kind))
        assert [one.item() for one in loaded] == [0.0, 1.0]
        torch.save({"w": torch.ones(2)}, f"{kind}.pt")
    exp.stop()
"""


def test_workers_that_load_data_capture_nothing_and_hold_nothing_up(home: Path) -> None:
    (home / "program.py").write_text(LOADING)
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this process was forked from the one that captures") <= 1, done.stderr
    stored = Experiment("job", artifacts=True).list_artifacts()
    assert sorted(one.name for one in stored) == ["fork-weights", "forkserver-weights", "spawn-weights"]
    assert len({one.manifest.run_id for one in stored}) == 1
