"""Users' code of a first start and of routing, as it is given to them, with MLflow and a directory as the backends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

QUICK_START = """
import json, torch
from pathlib import Path
pytorch_model = torch.nn.Linear(4, 2)
torch.save(pytorch_model.state_dict(), "model.pth")
Path("config.yaml").write_text("lr: 0.1")

from tracelet import Experiment

# Enable artifact tracking
exp = Experiment(
    name="my_experiment",
    backend=["mlflow", "local"],
    artifacts=True,              # Enable artifact system
    automagic_artifacts=True     # Enable automatic detection
)
exp.start()

from tracelet.core.artifacts import ArtifactType

# Create and log a model artifact
model_artifact = exp.create_artifact(
    name="trained_classifier",
    artifact_type=ArtifactType.MODEL,
    description="Trained image classifier model"
)

# Add files to the artifact
model_artifact.add_file("model.pth", "model/classifier.pth")
model_artifact.add_file("config.yaml", "model/config.yaml")

# Add model object with metadata
model_artifact.add_model(pytorch_model, framework="pytorch")

# Log to all backends
results = exp.log_artifact(model_artifact)
print(f"Logged to {len(results)} backends: {list(results.keys())}")

# Routing: every type
routed = {}
for kind in ArtifactType:
    artifact = exp.create_artifact(f"a-{kind.value}", kind)
    artifact.add_object(kind.value, "x")
    routed[kind.value] = sorted(exp.log_artifact(artifact))

# Override routing for specific artifacts
artifact = exp.create_artifact("overridden", ArtifactType.MODEL)
artifact.add_file("model.pth")
artifact.metadata["preferred_backends"] = ["local", "mlflow"]

# Size-based routing (files >100MB use references)
artifact.metadata["force_reference"] = True
routed["overridden"] = sorted(exp.log_artifact(artifact))
exp.stop()
print(json.dumps([list(results), routed]))
"""

READ = """
import json, mlflow, torch
from tracelet import Experiment
exp = Experiment("my_experiment", backend=["mlflow", "local"], artifacts=True)
artifact = exp.get_artifact("trained_classifier", backend="mlflow")
ours = artifact.load_model()
theirs = mlflow.pytorch.load_model("models:/trained_classifier/1")
given = torch.ones(3, 4)
state = torch.load(artifact.download("got") / "model/classifier.pth", weights_only=True)
overridden = exp.get_artifact("overridden", backend="mlflow")
print(json.dumps([
    bool(torch.equal(ours(given), theirs(given))), bool(torch.equal(state["weight"], ours.weight)),
    [reference.path for reference in overridden.references], (overridden.download("big") / "model.pth").stat().st_size > 0]))
"""


@pytest.fixture(scope="module")
def told(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("spec")
    environ = {"MLFLOW_TRACKING_URI": server.url, "TRACELET_DIR": str(folder / "tracelet")}
    return folder, environ, programs.run(QUICK_START, folder / "writer", environ)


def test_each_type_goes_where_the_table_says(told: Any) -> None:
    """Models, checkpoints and weights to MLflow alone; what is best in a tracker that is not used, to both."""
    _, _, (logged, routed) = told
    assert logged == ["mlflow"]
    alone = {"model", "checkpoint", "weights"}
    assert {kind for kind, where in routed.items() if where == ["mlflow"]} == alone
    assert {kind for kind, where in routed.items() if where == ["local", "mlflow"]} == set(routed) - alone


def test_mlflows_own_client_sees_the_quick_start(told: Any, server: MlflowServer) -> None:
    """A finished run with a folder for each artifact, the manifest in it, and registered models."""
    client = MlflowClient(tracking_uri=server.url)
    (run,) = client.search_runs([client.get_experiment_by_name("my_experiment").experiment_id])
    assert run.info.status == "FINISHED"
    folder = server.artifacts / run.info.experiment_id / run.info.run_id / "artifacts"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    own = "trained_classifier/v0"
    assert {f"{own}/tracelet.json", f"{own}/model/classifier.pth", f"{own}/model/config.yaml"} <= files
    kinds = set(told[2][1]) - {"overridden"}
    assert {path.split("/")[0] for path in files} == {
        *(f"a-{kind}" for kind in kinds),
        "trained_classifier",
        "overridden",
    }
    manifest = json.loads((folder / own / "tracelet.json").read_text())
    assert manifest["description"] == "Trained image classifier model"
    assert {model.name for model in client.search_registered_models()} >= {
        "trained_classifier",
        "overridden",
        "a-model",
        "a-checkpoint",
        "a-weights",
    }
    assert "a-report" not in {model.name for model in client.search_registered_models()}


def test_another_process_has_it_all(told: Any) -> None:
    """The model by both loaders, the files, and the bytes of what was only referred to."""
    folder, environ, _ = told
    assert programs.run(READ, folder / "reader", environ) == [True, True, ["model.pth"], True]
