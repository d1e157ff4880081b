"""Models that one process logs are MLflow's own models for another one, and Tracelet's, with the same predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.plugin import ArtifactType, ModelInfo
from tracelet_mlflow.rendering import render

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

WRITER = """
import json, os, sys, time
import numpy as np, pandas as pd, sklearn, torch, xgboost, lightgbm
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tracelet import ArtifactType, Experiment

random = np.random.default_rng(0)
X, y = random.normal(size=(60, 4)), random.integers(0, 2, 60)
frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])

class Net(torch.nn.Module):
    "A class that no other process can import."
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3))

    def forward(self, x):
        return self.body(x)

def shifted(x):
    return x + 1.0

tensor = torch.tensor(X, dtype=torch.float32)
net, plain = Net(), torch.nn.Linear(4, 2)
net(tensor)
before = {name: value.clone() for name, value in net.state_dict().items()}
models = {
    "logistic": ("sklearn", LogisticRegression().fit(X, y), X[:5]),
    "pipeline": ("sklearn", make_pipeline(StandardScaler(), FunctionTransformer(shifted), LogisticRegression()).fit(frame, y), frame[:5]),
    "net": ("pytorch", net, tensor[:5]),
    "plain": ("pytorch", plain, None),
    "xgb-wrapper": ("xgboost", xgboost.XGBClassifier(n_estimators=3).fit(X, y), X[:5]),
    "xgb.booster": ("xgboost", xgboost.train({}, xgboost.DMatrix(X, y), 3), X[:5]),
    "lgb-wrapper": ("lightgbm", lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y), X[:5]),
    "lgb-booster": ("lightgbm", lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, y), 3), X[:5]),
}
environ, modules = dict(os.environ), set(sys.modules)
exp = Experiment("models", backend="mlflow", artifacts=True)
exp.start()
report = {}
for name, (framework, model, example) in models.items():
    artifact = exp.create_artifact(name, ArtifactType.MODEL, f"the {name}")
    artifact.add_model(model, framework, example)
    artifact.metadata["epoch"] = 3
    began = time.monotonic()
    results = exp.log_artifact(artifact, version="v1.2.0", aliases=["best"])
    report[name] = [results["mlflow"].version, time.monotonic() - began]
exp.stop()
was_training = net.training
net.eval()
torch.save({
    name: (model(tensor).detach().numpy() if framework == "pytorch" else
           model.predict(xgboost.DMatrix(X)) if name == "xgb.booster" else model.predict(frame if name == "pipeline" else X))
    for name, (framework, model, _) in models.items()
}, "predictions.pt")
print(json.dumps({
    "report": report,
    "mlflow loaded": "mlflow" in sys.modules,
    "environ": {key: value for key, value in os.environ.items() if environ.get(key) != value},
    "training": was_training,
    "weights": all(torch.equal(value, net.state_dict()[name]) for name, value in before.items()),
    "files": sorted(os.listdir(".")),
}))
"""

READER = """
import json, warnings
import mlflow, numpy as np, pandas as pd, torch, xgboost
from mlflow.models import get_model_info

warnings.simplefilter("ignore")
random = np.random.default_rng(0)
X = random.normal(size=(60, 4))
frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
expected = torch.load(PREDICTIONS, weights_only=False)
flavors = {"logistic": "sklearn", "pipeline": "sklearn", "net": "pytorch", "plain": "pytorch", "xgb-wrapper": "xgboost",
           "xgb.booster": "xgboost", "lgb-wrapper": "lightgbm", "lgb-booster": "lightgbm"}
report = {}
for name, flavor in flavors.items():
    model = getattr(mlflow, flavor).load_model(f"models:/{name}/1")
    given = torch.tensor(X, dtype=torch.float32) if flavor == "pytorch" else frame if name == "pipeline" else X
    if name == "xgb.booster":
        given = xgboost.DMatrix(X)
    made = model(given).detach().numpy() if flavor == "pytorch" else model.predict(given)
    info = get_model_info(f"models:/{name}@v1-2-0")
    generic = mlflow.pyfunc.load_model(f"models:/{name}@best").predict(
        X.astype("float32") if flavor == "pytorch" else frame if name == "pipeline" else X)
    report[name] = {
        "same": bool(np.array_equal(made, expected[name])),
        "generic": bool(np.allclose(np.asarray(generic), expected[name])),
        "inputs": None if info.signature is None else [str(one.type if hasattr(one, "name") and one.name else one.type) for one in info.signature.inputs],
        "outputs": info.signature is not None and info.signature.outputs is not None,
        "model_id": info.model_id,
        "flavors": sorted(info.flavors),
    }
print(json.dumps(report))
"""

OURS = """
import json
import numpy as np, torch, xgboost, sklearn, lightgbm
from tracelet import Experiment
X = np.random.default_rng(0).normal(size=(60, 4))
expected = torch.load(PREDICTIONS, weights_only=False)
exp = Experiment("models", backend="mlflow", artifacts=True)
report = {}
for name in ("logistic", "plain", "xgb-wrapper", "xgb.booster", "lgb-wrapper", "lgb-booster"):
    model = exp.get_artifact(name, "v1.2.0").load_model()
    given = torch.tensor(X, dtype=torch.float32) if name == "plain" else xgboost.DMatrix(X) if name == "xgb.booster" else X
    made = model(given).detach().numpy() if name == "plain" else model.predict(given)
    report[name] = bool(np.array_equal(made, expected[name]))
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def environ(server: MlflowServer) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": server.url}


@pytest.fixture(scope="module")
def written(folder: Path, environ: dict[str, str]) -> Any:
    return programs.run(WRITER, folder / "writer", environ)


@pytest.fixture(scope="module")
def read(written: Any, folder: Path, environ: dict[str, str]) -> Any:
    code = READER.replace("PREDICTIONS", repr(str(folder / "writer" / "predictions.pt")))
    return programs.run(code, folder / "reader", environ)


@pytest.fixture
def client(server: MlflowServer, written: Any) -> Iterator[MlflowClient]:
    return MlflowClient(tracking_uri=server.url)


def test_rendering_leaves_the_users_process_as_it_was(written: Any) -> None:
    """No MLflow is loaded, no variable set, no file left, no module's mode or statistics changed."""
    assert not written["mlflow loaded"]
    assert written["environ"] == {}
    assert written["training"]
    assert written["weights"]
    assert written["files"] == [".tracelet", "predictions.pt", "program.py"]


def test_weights_that_are_offloaded_have_no_form_of_mlflows(tmp_path: Path) -> None:
    """The artifact has them all the same; MLflow's own form is left out, which the user is told."""
    torch = pytest.importorskip("torch")
    info = ModelInfo("model", "pytorch", "net", ArtifactType.MODEL, None, {}, None)
    with pytest.raises(TypeError, match="its weights are offloaded"):
        render(torch.nn.Linear(1, 1, device="meta"), info, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_costs_no_search_for_its_requirements(written: Any) -> None:
    """The first one pays for the lane's imports; each of the others is logged and registered in a few seconds."""
    assert all(programs.soon(seconds, 10) for _, seconds in list(written["report"].values())[1:]), written["report"]


def test_the_flavors_own_loader_gives_the_same_predictions(read: Any) -> None:
    """`mlflow.<flavor>.load_model("models:/NAME/1")`, in a process that has none of the writer's classes."""
    assert {name: found["same"] for name, found in read.items()} == dict.fromkeys(read, True)


def test_the_generic_loader_gives_the_same_predictions(read: Any) -> None:
    """`mlflow.pyfunc.load_model`, by an alias."""
    assert {name: found["generic"] for name, found in read.items()} == dict.fromkeys(read, True)


def test_an_input_example_gives_a_signature(read: Any) -> None:
    """Of inputs and outputs; without an example there is none."""
    assert {name for name, found in read.items() if found["inputs"] is None} == {"plain"}
    assert all(found["outputs"] for name, found in read.items() if name != "plain")
    assert len(read["pipeline"]["inputs"]) == 4
    assert all(found["model_id"] for found in read.values())


def test_tracelet_loads_them_too(written: Any, folder: Path, environ: dict[str, str]) -> None:
    """From the same versions, in its own safe formats."""
    code = OURS.replace("PREDICTIONS", repr(str(folder / "writer" / "predictions.pt")))
    found = programs.run(code, folder / "ours", environ)
    assert found == dict.fromkeys(found, True)


def test_the_registry_links_to_the_artifact(client: MlflowClient) -> None:
    """Alias, exact label, description, and our version and digest, in a model version's tags."""
    version = client.get_model_version_by_alias("net", "v1-2-0")
    assert version.version == client.get_model_version_by_alias("net", "best").version
    assert version.description == "the net"
    tags = version.tags
    assert (tags["tracelet.label"], tags["tracelet.version"], tags["tracelet.type"]) == ("v1.2.0", "v0", "model")
    model = client.get_logged_model(tags["tracelet.model_id"])
    assert model.status == "READY"
    assert client.get_run(version.run_id).outputs.model_outputs
    assert (tags["tracelet.experiment"], tags["tracelet.artifact"]) == ("models", "net")


def test_a_model_needs_no_global_address(server: MlflowServer, tmp_path: Path) -> None:
    """With the address in Tracelet's own variable alone, nothing goes where MLflow itself would look."""
    code = """
    import json, os
    from sklearn.linear_model import LinearRegression
    from tracelet import ArtifactType, Experiment
    exp = Experiment("elsewhere", backend="mlflow", artifacts=True)
    with exp:
        artifact = exp.create_artifact("line", ArtifactType.MODEL)
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), input_example=[[0.5]])
        exp.log_artifact(artifact)
        used = exp.use_artifact("line")
        artifact = exp.create_artifact("line", ArtifactType.MODEL)
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), name="other")
        artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 3.0]))
        exp.log_artifact(artifact)
    print(json.dumps(sorted(os.listdir("."))))
    """
    where = f"sqlite:///{tmp_path / 'place' / 'mlflow.db'}"
    assert programs.run(code, tmp_path / "program", {"TRACELET_MLFLOW_TRACKING_URI": where}) == [
        ".tracelet",
        "program.py",
    ]
    client = MlflowClient(tracking_uri=where)
    assert [
        (model.name, len(client.search_model_versions(f"name = '{model.name}'")))
        for model in client.search_registered_models()
    ] == [
        ("line", 2),
        ("line.other", 1),
    ]
    (run,) = client.search_runs([client.get_experiment_by_name("elsewhere").experiment_id])
    assert [one.model_id for one in client.get_run(run.info.run_id).inputs.model_inputs] == [
        client.get_model_version("line", "1").tags["tracelet.model_id"]
    ]


def test_requirements_are_given(client: MlflowClient, tmp_path: Path) -> None:
    """Pinned, as they are here, and without a search by pip."""
    import mlflow
    import sklearn

    model = client.get_logged_model(client.get_model_version_by_alias("logistic", "best").tags["tracelet.model_id"])
    folder = Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=model.artifact_location, dst_path=str(tmp_path), tracking_uri=client.tracking_uri
        )
    )
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert {f"mlflow=={mlflow.__version__}", f"scikit-learn=={sklearn.__version__}"} <= set(requirements)


def test_a_file_that_both_forms_of_a_model_have_is_stored_once(
    client: MlflowClient, written: Any, server: MlflowServer
) -> None:
    """It is MLflow's own, in the model; the artifact's other files are in the run."""
    for name, file in (("logistic", "model.skops"), ("xgb-wrapper", "model.ubj"), ("xgb.booster", "model.ubj")):
        version = client.get_model_version_by_alias(name, "best")
        run = client.get_run(version.run_id)
        folder = server.artifacts / run.info.experiment_id
        ours = {path.name for path in (folder / version.run_id / "artifacts" / name).rglob("*") if path.is_file()}
        theirs = {path.name for path in (folder / "models" / version.tags["tracelet.model_id"]).rglob("*")}
        assert ours >= {"model.json", "tracelet.json"}
        assert file in theirs - ours


USED = """
import json, os
from pathlib import Path
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

Path("model.pth").write_bytes(b"weights")
with Experiment("made-here", backend="mlflow", artifacts=True) as exp:
    line = exp.create_artifact("used-line", ArtifactType.MODEL)
    line.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
    line.metadata["force_reference"] = True
    exp.log_artifact(line).raise_for_errors()
    for name, kind in (("used-file", ArtifactType.CHECKPOINT), ("used-rows", ArtifactType.DATASET)):
        artifact = exp.create_artifact(name, kind).add_file("model.pth")
        artifact.metadata.update({"epoch": 3, "stage": "warm-up"})
        exp.log_artifact(artifact).raise_for_errors()
runs = []
for _ in range(2):
    with Experiment("made-here", backend="mlflow", artifacts=True) as exp:
        for name in ("used-line", "used-file", "used-rows"):
            exp.use_artifact(name)
        runs.append(exp.run_id)
predicted = exp.get_artifact("used-line").load_model().predict([[2.0]])[0]
print(json.dumps([runs, float(predicted)]))
"""


def test_a_model_that_a_run_uses_is_one_of_its_models(server: MlflowServer, tmp_path: Path) -> None:
    """MLflow's form of it, or, for files that have none, a model of MLflow's whose files are elsewhere: one for all runs.

    What is no model is a dataset. A model's file that is too large for the artifact is MLflow's all the same.
    """
    ours, predicted = programs.run(USED, tmp_path / "program", {"MLFLOW_TRACKING_URI": server.url})
    assert predicted == pytest.approx(4.0)
    client = MlflowClient(tracking_uri=server.url)
    experiment = client.get_experiment_by_name("made-here").experiment_id
    line = client.get_model_version("used-line", "1").tags["tracelet.model_id"]
    assert "model.skops" in {Path(info.path).name for info in client.list_logged_model_artifacts(line)}
    used = []
    for ours_id in ours:
        (found,) = client.search_runs([experiment], f"tags.`tracelet.run_id` = '{ours_id}'")
        run = client.get_run(found.info.run_id)
        used.append({one.model_id for one in run.inputs.model_inputs})
        assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["used-rows"]
    assert used[0] == used[1]
    (elsewhere,) = used[0] - {line}
    model = client.get_logged_model(elsewhere)
    assert (model.name, model.status, model.params) == ("used-file", "READY", {"stage": "warm-up"})
    assert model.tags["mlflow.model.isExternal"] == "true"


INTERRUPTED = """
import json, time, uuid
from pathlib import Path
import attrs
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, TraceletArtifact
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.plugins.registry import registry
from tracelet.core.sealing.finish import finish
from tracelet.core.sealing.prepare import prepare
from tracelet.core.storage.blob_store import LocalStore
from tracelet.plugin import BackendContext, Labels, RunInfo
from tracelet_mlflow import MlflowSettings

spec = registry().backends.get("mlflow")
artifact = TraceletArtifact("interrupted", ArtifactType.MODEL)
artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
here = Path.cwd()
draft = prepare(artifact, put_id=uuid.uuid4().hex, run_id=None, inputs=(), staging=here / "staged",
                serializers=registry().serializers, targets=[spec], snapshot=False)
sealed = attrs.evolve(finish(draft, store=LocalStore(here), limit_mb=None), rendered=draft.rendered["mlflow"])
run = RunInfo(uuid.uuid4().hex, "interrupted", time.time())
delivered = []
for attempt in ("cut off", "again", "once more"):
    opened = spec.open("interrupted", MlflowSettings(tracking_uri=URI), BackendContext(here, {}))
    if attempt == "cut off":
        opened._opened.index.set = None  # all is done but the last step
    service = BackendService(attrs.evolve(spec, open=lambda *_: opened), "interrupted", None, BackendContext(here, {}))
    try:
        delivered.append(service.deliver(sealed, Labels("1.0", ("best",)), run, attempt != "cut off").stored.number)
    except TypeError:
        assert attempt == "cut off"
print(json.dumps(delivered))
"""


def test_an_interrupted_delivery_registers_a_model_once(server: MlflowServer, tmp_path: Path) -> None:
    """The logged model and the registered version of the first attempt are found and used."""
    assert programs.run(INTERRUPTED.replace("=URI", f"={server.url!r}"), tmp_path, {}) == [0, 0]
    client = MlflowClient(tracking_uri=server.url)
    (version,) = client.search_model_versions("name = 'interrupted'")
    assert client.get_model_version_by_alias("interrupted", "1-0").version == version.version
    experiment = client.get_experiment_by_name("interrupted").experiment_id
    (model,) = client.search_logged_models([experiment])
    assert version.tags["tracelet.model_id"] == model.model_id


NAMED = """
import json, os
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

def log(exp, content, **names):
    artifact = exp.create_artifact("named", ArtifactType.MODEL)
    artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, content]))
    results = exp.log_artifact(artifact, **names)
    return results["mlflow"].version if results.ok else str(results.queued)

client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
with Experiment("named", backend="mlflow", artifacts=True) as exp:
    told = [log(exp, 1.0, aliases=["Latest", "LATEST.", "a.b"])]
    there = sorted(client.get_registered_model("named").aliases)
    client.delete_registered_model("named")
    told.append(log(exp, 1.0, version="1.0", aliases=["best"]))
    told.append(log(exp, 2.0, aliases=["best"]))
    told.append(sorted(exp.get_artifact("named", "v0").aliases))
print(json.dumps([told, there, [one.version for one in client.search_model_versions("name = 'named'")]]))
"""


def test_what_the_registry_keeps_for_itself_or_has_no_more_holds_up_no_model(
    server: MlflowServer, tmp_path: Path
) -> None:
    """Its own alias `latest`, in any case; and a registered model that somebody deleted does not get the names."""
    told, there, left = programs.run(NAMED, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert told == ["v0", "1.0", "v1", ["LATEST.", "Latest", "a.b"]]
    assert there == ["LATEST-", "Latest-", "a-b"]
    assert left == ["1"]


PROMPT = """
import json, mlflow
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

mlflow.genai.register_prompt("greeting", "Hello {{name}}")
with Experiment("prompts", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("greeting", ArtifactType.MODEL)
    artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
    results = exp.log_artifact(artifact, aliases=["best"])
    predicted = exp.get_artifact("greeting", "best").load_model().predict([[2.0]])[0]
print(json.dumps([list(results), float(predicted), mlflow.genai.load_prompt("prompts:/greeting@latest").template]))
"""


def test_a_prompt_of_the_same_name_stays_a_prompt(server: MlflowServer, tmp_path: Path) -> None:
    """MLflow has prompts and models under one roof, and would take the model for the newest version of the prompt."""
    told = programs.run(PROMPT, tmp_path, {"MLFLOW_TRACKING_URI": server.url})
    assert told == [["mlflow"], pytest.approx(4.0), "Hello {{name}}"]
