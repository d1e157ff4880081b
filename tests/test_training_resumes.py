"""Training goes on from a captured checkpoint as if it had never stopped; capture changes nothing of the training itself.

Each library trains in two processes with nothing in common but what is stored: in the tracelet directory, and on a real
MLflow server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import programs
from servers.mlflow_server import MlflowServer

PROGRAMS = Path(__file__).parent / "training"
HEAD = f"""
import json, sys
sys.path.insert(0, {str(PROGRAMS)!r})
from tracelet import ArtifactType, Experiment
"""
CAPTURED = """
from LIBRARY import train
import os
os.mkdir("out")
with Experiment("training", artifacts=True, automagic_artifacts=True, watch_filesystem=True, artifact_watch_dirs=["out"]) as exp:
    losses = train()
stored = exp.list_artifacts(backend="local")
print(json.dumps([losses, [[one.name, one.version, one.type.value, sorted(one.aliases), one.metadata] for one in stored]]))
"""
RESUMED = """
from LIBRARY import NAME, train
found = {}
for backend in ("local", "mlflow"):
    (middle,) = [
        one for one in Experiment("training", backend=backend, artifacts=True).list_artifacts()
        if one.name == NAME and one.version == "v1"
    ]
    found[backend] = train(middle.download(f"from-{backend}"))
print(json.dumps([train(), found]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server for all libraries."""
    with MlflowServer(tmp_path_factory.mktemp("mlflow")) as started:
        yield started


def after_the_fourth(losses: dict[str, float]) -> dict[str, float]:
    """The losses of the steps after the checkpoint; some libraries remember what was before it, too."""
    return {step: loss for step, loss in losses.items() if int(step) > 4}


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("trainer", ""),
        ("accelerated", ""),
        ("lightning_net", "lightning.pytorch"),
        ("lightning_net", "pytorch_lightning"),
    ],
)
def test_a_training_resumes_in_another_process_with_the_losses_that_it_would_have_had(
    server: MlflowServer, tmp_path: Path, library: str, package: str
) -> None:
    """Four checkpoints are four versions of one name, whatever else of them is seen in the watched directory."""
    environ = {
        "PACKAGE": package,
        "TRACELET_BACKEND": "local,mlflow",
        "TRACELET_ROUTING": "all",
        "TRACELET_DIR": str(tmp_path / "tracelet"),
        "MLFLOW_TRACKING_URI": server.url,
    }
    losses, stored = programs.run(HEAD + CAPTURED.replace("LIBRARY", library), tmp_path / "first", environ)
    checkpoints = [one for one in stored if one[2] == "checkpoint"]
    assert len({name for name, *_ in checkpoints}) == 1, stored
    assert [version for _, version, *_ in checkpoints] == ["v3", "v2", "v1", "v0"], stored
    assert [metadata["global_step"] for *_, metadata in checkpoints] == [8, 6, 4, 2]
    # A model at the end is Lightning's own.
    assert all(kind == "model" for _, _, kind, _, _ in stored if kind != "checkpoint"), stored
    again, resumed = programs.run(HEAD + RESUMED.replace("LIBRARY", library), tmp_path / "second", environ)
    assert again == losses
    rest = after_the_fourth(losses)
    assert len(rest) == 4
    assert {backend: after_the_fourth(found) for backend, found in resumed.items()} == {"local": rest, "mlflow": rest}


def test_a_trainers_checkpoints_say_how_good_they_are(server: MlflowServer, tmp_path: Path) -> None:
    """Each has the metrics of its evaluation; `last` and `best` are where the Trainer says."""
    environ = {"TRACELET_DIR": str(tmp_path / "tracelet"), "TRACELET_BACKEND": "local"}
    _, stored = programs.run(HEAD + CAPTURED.replace("LIBRARY", "trainer"), tmp_path / "first", environ)
    losses = {version: metadata["metrics"]["eval_loss"] for _, version, _, _, metadata in stored}
    best = min(losses, key=lambda version: losses[version])
    aliases = {version: names for _, version, _, names, _ in stored}
    assert [version for version, names in aliases.items() if "best" in names] == [best]
    assert [version for version, names in aliases.items() if "last" in names] == ["v3"]
    assert stored[0][4]["best_metric"] == min(losses.values())
    assert [metadata["epoch"] for *_, metadata in stored] == [2.0, 1.5, 1.0, 0.5]
