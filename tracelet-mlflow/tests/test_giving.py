"""Models that are copied from one MLflow to another are MLflow's own there, too, and none is loaded for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from servers import programs
from servers.mlflow_server import MlflowServer
from tracelet.plugin import BackendContext
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import open_backend

pytestmark = [
    # MLflow's own code, where it opens a database
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # and where it is imported
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

MAKE = """
import json, operator, os
import numpy as np
from pathlib import Path
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tracelet import Experiment

given = np.arange(40.0).reshape(-1, 1)

def distrusted():
    "Nobody loads it without trust."
    return make_pipeline(FunctionTransformer(operator.neg), LogisticRegression()).fit(given, given[:, 0] > 10)

def line():
    return LinearRegression().fit(given, 2 * given[:, 0])

with Experiment("models", backend="mlflow", artifacts=True) as exp:
    def log(name, *models, **names):
        artifact = exp.create_artifact(name, "model")
        for number, model in enumerate(models):
            artifact.add_model(model, "sklearn", given[:2], name=f"part-{number}" if number else "model")
        exp.log_artifact(artifact, **names).raise_for_errors()

    log("net", distrusted(), version="v1.2.0", aliases=["best"])
    log("line", line(), aliases=["best"])
    log("pair", StandardScaler().fit(given), distrusted())
    for name in ("lost", "cut", "deleted"):
        log(name, distrusted(), aliases=["best"])
    log("garbled", line())
    log("flipped", line())
    Path("weights.bin").write_bytes(b"weights")
    exp.log_artifact(exp.create_artifact("weights", "weights").add_file("weights.bin")).raise_for_errors()

os.environ["TRACELET_MLFLOW_REGISTER"] = "false"
with Experiment("models", backend="mlflow", artifacts=True) as exp:
    log("plain", distrusted(), aliases=["best"])
"""

COPY = """
import json
from tracelet import copy

results = copy("models", *NAMES, from_backend="mlflow", to_backend="mlflow",
               from_set={"tracking_uri": OLD}, to_set={"tracking_uri": NEW})
print(json.dumps({one.name: [one.outcome, one.why] for one in results.versions}))
"""

READ = """
import json
import mlflow, numpy as np
from tracelet import Experiment

given = np.array([[5.0], [35.0]])
signature = mlflow.models.get_model_info("models:/net@best").signature
own = Experiment("models", backend="mlflow", artifacts=True).get_artifact("net", "best")
print(json.dumps({
    "flavor": mlflow.sklearn.load_model("models:/net@best").predict(given).tolist(),
    "generic": mlflow.pyfunc.load_model("models:/net@v1-2-0").predict(given).tolist(),
    "inputs": [str(one.type) for one in signature.inputs],
    "outputs": [str(one.type) for one in signature.outputs],
    "line": mlflow.sklearn.load_model("models:/line@best").predict(given).tolist(),
    "scaler": mlflow.sklearn.load_model("models:/pair/1").transform(given).shape,
    "part": mlflow.sklearn.load_model("models:/pair.part-1/1").predict(given).tolist(),
    "garbled": mlflow.sklearn.load_model("models:/garbled/1").predict(given).tolist(),
    "whole": own.verify().ok,
    "trusted": own.load_model(trust=True).predict(given).tolist(),
}))
"""

COPIED = ["net", "line", "pair", "lost", "cut", "deleted", "garbled", "weights", "plain"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """Where the models were logged. Some of them are damaged there."""
    folder = tmp_path_factory.mktemp("old")
    with MlflowServer(folder) as started:
        programs.run(MAKE, folder / "maker", {"MLFLOW_TRACKING_URI": started.url})
        client = MlflowClient(tracking_uri=started.url)
        (files_of(started, client, "lost") / "model.pkl").unlink()
        (files_of(started, client, "cut") / "model.pkl").write_bytes(b"")
        (files_of(started, client, "garbled") / "MLmodel").write_text("flavors: 3")
        client.delete_logged_model(client.get_model_version("deleted", "1").tags["tracelet.model_id"])
        yield started


@pytest.fixture(scope="module")
def found(old: MlflowServer) -> dict[str, list[Any]]:
    """What MLflow's client finds of the models on the old server: see `told`."""
    return told(old)


@pytest.fixture(scope="module")
def unlike(old: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether the old server gives the form of a model in which a byte changed that the artifact has as well."""
    folder = tmp_path_factory.mktemp("unlike")
    backend = open_backend("models", MlflowSettings(tracking_uri=old.url), BackendContext(folder, {}))
    stored = backend.find("flipped", "v0")
    assert stored is not None
    (folder / "whole").mkdir()
    assert backend.fetch_rendered(stored, folder / "whole")
    shared = files_of(old, MlflowClient(tracking_uri=old.url), "flipped") / "model.skops"
    content = shared.read_bytes()
    shared.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (folder / "flipped").mkdir()
    return backend.fetch_rendered(stored, folder / "flipped")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path_factory.mktemp("new")) as started:
        yield started


@pytest.fixture(scope="module")
def copied(
    old: MlflowServer,
    new: MlflowServer,
    found: dict[str, list[Any]],
    unlike: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[str]]:
    """What became of each version. The old server has ended by then."""
    code = f"NAMES, OLD, NEW = {COPIED!r}, {old.url!r}, {new.url!r}\n{COPY}"
    result: dict[str, list[str]] = programs.run(code, tmp_path_factory.mktemp("copying"), {})
    old.process.kill()
    return result


def files_of(server: MlflowServer, client: MlflowClient, name: str) -> Path:
    """The folder of a registered model's files on the server's disk."""
    version = client.get_model_version(name, "1")
    experiment = client.get_run(version.run_id).info.experiment_id
    return server.artifacts / experiment / "models" / version.tags["tracelet.model_id"] / "artifacts"


def told(server: MlflowServer) -> dict[str, list[Any]]:
    """Of each whole model: its type, flavors and signature, and every file but `MLmodel`, with its bytes."""
    client = MlflowClient(tracking_uri=server.url)
    result = {}
    for name in ("net", "line", "pair", "pair.part-1"):
        folder = files_of(server, client, name)
        model = Model.load(folder / "MLmodel")
        logged = client.get_logged_model(model.model_id)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "MLmodel"
        }
        assert (logged.status, model.run_id) == ("READY", logged.source_run_id)
        result[name] = [logged.model_type, model.flavors, model.signature, model.model_size_bytes, files]
    return result


def test_a_model_that_nobody_loads_without_trust_is_mlflows_own_on_the_new_server(
    copied: dict[str, list[str]], new: MlflowServer, tmp_path: Path
) -> None:
    """By its flavor, in general, by its aliases, with its signature, and each of several in one artifact."""
    assert [copied[name] for name in ("net", "line", "pair", "weights")] == [["copied", ""]] * 4
    read = programs.run(READ, tmp_path, {"MLFLOW_TRACKING_URI": new.url})
    assert read == {
        "flavor": [False, True],
        "generic": [False, True],
        "inputs": ["float64"],
        "outputs": ["bool"],
        "line": [pytest.approx(10.0), pytest.approx(70.0)],
        "scaler": [2, 1],
        "part": [False, True],
        "garbled": [pytest.approx(10.0), pytest.approx(70.0)],
        "whole": True,
        "trusted": [False, True],
    }


def test_flavor_signature_requirements_and_every_file_are_those_of_the_old_server(
    copied: dict[str, list[str]], found: dict[str, list[Any]], new: MlflowServer
) -> None:
    assert told(new) == found


def test_a_file_that_both_forms_have_is_stored_once_on_the_new_server_too(
    copied: dict[str, list[str]], new: MlflowServer
) -> None:
    client = MlflowClient(tracking_uri=new.url)
    version = client.get_model_version("line", "1")
    theirs = files_of(new, client, "line")
    ours = new.artifacts / client.get_run(version.run_id).info.experiment_id / version.run_id / "artifacts" / "line"
    assert (theirs / "model.skops").is_file()
    names = {path.name for path in ours.rglob("*") if path.is_file()}
    assert "model.json" in names
    assert "model.skops" not in names


@pytest.mark.parametrize("name", ["lost", "cut", "deleted", "plain"])
def test_where_mlflows_form_is_lost_or_was_not_wanted_the_version_comes_over_with_its_files(
    copied: dict[str, list[str]], new: MlflowServer, name: str
) -> None:
    """They are registered, and a line says how the model becomes MLflow's own."""
    outcome, why = copied[name]
    assert outcome == "copied"
    assert why.startswith("the model 'model' is there as files: with trust it is loaded, and made mlflow's own")
    version = MlflowClient(tracking_uri=new.url).get_model_version_by_alias(name, "best")
    assert version.tags["tracelet.model"] == ""


def test_where_mlflows_form_is_damaged_a_model_is_loaded_that_can_be(copied: dict[str, list[str]]) -> None:
    assert copied["garbled"] == ["copied", ""]


def test_a_form_with_other_bytes_than_the_artifact_has_is_not_given(unlike: bool) -> None:
    assert not unlike
