"""What people logged with MLflow itself is found and fetched: every byte, version, alias and parameter of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from servers import programs
from servers.mlflow_database import new_database
from tracelet.exceptions import ArtifactNotFound
from tracelet.plugin import ForeignArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet_mlflow import tracelet_backends

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

HANDS = """
import hashlib, json, os
from pathlib import Path
import mlflow
from mlflow import MlflowClient

client = MlflowClient()

def written(root, contents):
    for path, text in contents.items():
        target = Path(root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())
    return root

def hashed(root):
    root = Path(root)
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()}

def model_files(model_id):
    # MLflow adds a file to what it downloads as `models:/…`.
    return hashed(mlflow.artifacts.download_artifacts(client.get_logged_model(model_id).artifact_location))
"""

#: What a team has in MLflow that has never heard of Tracelet.
PLAIN = (
    HANDS
    + """
import gzip
import numpy as np
from sklearn.linear_model import LinearRegression

def model(slope):
    return LinearRegression().fit([[0.0], [1.0]], [0.0, slope])

def logged(slope, name="model", **more):
    return mlflow.sklearn.log_model(model(slope), name=name, pip_requirements=["scikit-learn"], **more)

experiment = mlflow.set_experiment(NAME)
told = {"experiment": experiment.experiment_id, "runs": {}, "models": {}}

with mlflow.start_run(run_name="first") as run:
    told["runs"]["first"] = run.info.run_id
    mlflow.log_params({"lr": 0.1, "layers": "[1, 2]"})
    mlflow.log_metric("loss", 0.9, step=0)
    mlflow.log_metric("loss", 0.4, step=1)
    mlflow.set_tags({"team": "blue", "mlflow.note.content": "what it is about"})
    written("one", {"a.csv": "1,2", "deep/er/b.csv": "3,4", "50% of it.csv": "5", "empty.csv": "", "größe.csv": "6"})
    told["data of first"] = hashed("one")
    mlflow.log_artifacts("one", "data")
    mlflow.log_text("to do", "notes.txt")
    mlflow.log_artifacts(written("same", {"same": "all that is in here"}), "same")
    Path("log.gz").write_bytes(gzip.compress(b"line " * 1000, mtime=0))
    mlflow.log_artifact("log.gz")
    told["log.gz"] = hashlib.sha256(Path("log.gz").read_bytes()).hexdigest()
    mlflow.log_image(np.zeros((2, 2, 3), np.uint8), key="dog", step=3)
    source = "https://me:hidden@example.com/ones.npy"
    mlflow.log_input(mlflow.data.from_numpy(np.ones(3), source=source, name="ones"), context="training")
    told["models"]["first"] = logged(2.0, registered_model_name=NAME + "-lines").model_id

with mlflow.start_run(run_name="second") as run:
    told["runs"]["second"] = run.info.run_id
    written("two", {"a.csv": "1,2,3"})
    told["data of second"] = hashed("two")
    mlflow.log_artifacts("two", "data")
    told["models"]["second"] = logged(3.0, registered_model_name=NAME + "-lines").model_id
    told["models"]["third"] = logged(4.0, params={"depth": "7"}, model_type="line").model_id
    client.log_metric(run.info.run_id, "r2", 0.75, model_id=told["models"]["third"])
    # As models were kept before MLflow 3
    mlflow.sklearn.save_model(model(5.0), "saved", pip_requirements=["scikit-learn"])
    mlflow.log_artifacts("saved", "old")
    told["old"] = hashed("saved")
mlflow.register_model(f"runs:/{run.info.run_id}/old", NAME + "-veterans", tags={"age": "4"})

with mlflow.start_run(run_name="uses") as run:
    told["runs"]["uses"] = run.info.run_id
    client.log_inputs(run.info.run_id, models=[mlflow.entities.LoggedModelInput(told["models"][name]) for name in ("third", "first")])
    mlflow.log_text("<html></html>", "report.html")
    mlflow.log_text("to be done", "notes.txt")

with mlflow.start_run(run_name="nothing"):
    pass
with mlflow.start_run(run_name="trash") as run:
    mlflow.log_text("not wanted", "notes.txt")
client.delete_run(run.info.run_id)
try:
    with mlflow.start_run(run_name="broke") as run:
        told["runs"]["broke"] = run.info.run_id
        mlflow.log_text("as far as it came", "broken/at/last.log")
        raise KeyError
except KeyError:
    pass

mlflow.create_external_model(name="agent")
mlflow.initialize_logged_model(name="unfinished")
client.set_registered_model_alias(NAME + "-lines", "champion", 2)
client.set_registered_model_alias(NAME + "-lines", "Fallback", 1)
client.update_model_version(NAME + "-lines", 2, "the better one")
client.update_registered_model(NAME + "-lines", "straight ones")
client.copy_model_version(f"models:/{NAME}-lines/1", NAME + "-in-production")
told["images"] = hashed(mlflow.artifacts.download_artifacts(run_id=told["runs"]["first"], artifact_path="images"))
told["files"] = {name: model_files(model_id) for name, model_id in told["models"].items()}
print(json.dumps(told))
"""
)


@attrs.frozen
class Place:
    """An MLflow, the environment of who uses it, and what was logged there."""

    environ: dict[str, str]
    uri: str
    told: Any
    tracelet: BackendProcess
    folder: Path

    def words(self) -> str:
        """What the backend's process has warned of."""
        return "".join(path.read_text() for path in (self.folder / "elsewhere").glob("stderr-*.log"))

    def found(self, place: str = "plain") -> list[ForeignArtifact]:
        return list(self.tracelet.discover(place))

    def hashes(self, found: ForeignArtifact) -> dict[str, str]:
        got = self.tracelet.foreign_content(found, self.folder / uuid.uuid4().hex)
        return {path: hashlib.sha256(content).hexdigest() for path, content in got.items()}


@pytest.fixture(scope="module", params=["server", "database", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Behind a server; in a database beside a folder; and in a bucket that clients use themselves."""
    folder = tmp_path_factory.mktemp("plain")
    environ = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    if request.param == "database":
        uri = new_database(folder / "program")
    else:
        uri = request.getfixturevalue("server" if request.param == "server" else "s3_server").url
    if request.param == "bucket":
        environ |= request.getfixturevalue("bucket").environ
    environ["MLFLOW_TRACKING_URI"] = uri
    told = programs.run(PLAIN.replace("NAME", "'plain'"), folder / "program", environ, 600)
    with open_elsewhere(folder / "elsewhere", environ) as opened:
        yield Place(environ, uri, told, opened, folder)


class open_elsewhere:
    """The backend in a process and a folder of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        (folder / "tracelet").mkdir(parents=True)
        self.driver = Driver(folder, programs.clean_environment(environ), next(iter(tracelet_backends())).environ)
        self.opened = BackendProcess(self.driver, uuid.uuid4().hex, "mlflow", "another", folder / "tracelet")

    def __enter__(self) -> BackendProcess:
        return self.opened

    def __exit__(self, *error: object) -> None:
        self.opened.close()
        self.driver.close()


def rows(found: list[ForeignArtifact]) -> list[tuple[str, ...]]:
    """What each is, in a line."""
    return [
        (one.kind, one.name, one.version, one.type.value, one.run.name if one.run else "", *one.aliases)
        for one in found
    ]


EXPERIMENT = [
    ("logged model", "agent", "", "model", ""),
    ("folder of a run", "broken", "", "custom", "broke"),
    ("folder of a run", "data", "", "dataset", "first"),
    ("folder of a run", "data", "", "dataset", "second"),
    ("folder of a run", "images", "", "image", "first"),
    ("file of a run", "log.gz", "", "custom", "first"),
    ("logged model", "model", "", "model", "second"),
    ("file of a run", "notes.txt", "", "custom", "first"),
    ("file of a run", "notes.txt", "", "custom", "uses"),
    ("registered model", "plain-in-production", "1", "model", "first"),
    ("registered model", "plain-lines", "1", "model", "first", "Fallback"),
    ("registered model", "plain-lines", "2", "model", "second", "champion"),
    ("registered model", "plain-veterans", "1", "model", "second"),
    ("file of a run", "report.html", "", "report", "uses"),
    ("folder of a run", "same", "", "custom", "first"),
]


def test_an_experiment_has_its_files_models_and_registered_versions(place: Place) -> None:
    """Oldest first. Runs of one experiment make versions of one name; a deleted run is left out, and one that failed is not.

    What is registered comes under the name that it is registered by, and not once more as what it was registered from.
    """
    found = place.found()
    assert rows(found) == EXPERIMENT
    assert len({one.address for one in found}) == len(found)
    assert {one.experiment for one in found} == {"plain"}
    assert all(one.address.startswith(f"{place.uri}#") for one in found)
    assert place.found(place.told["experiment"]) == found
    assert "the logged model 'unfinished'" in place.words()


def test_every_byte_comes_back(place: Place) -> None:
    """Whatever the names of files, and how deep they lie: also a folder's only file that has the folder's name."""
    told = place.told
    files, text = told["files"], lambda content: hashlib.sha256(content.encode()).hexdigest()
    expected = {
        ("broken", "broke"): {"at/last.log": text("as far as it came")},
        ("data", "first"): told["data of first"],
        ("data", "second"): told["data of second"],
        ("images", "first"): told["images"],
        ("log.gz", "first"): {"log.gz": told["log.gz"]},
        ("model", "second"): files["third"],
        ("notes.txt", "first"): {"notes.txt": text("to do")},
        ("notes.txt", "uses"): {"notes.txt": text("to be done")},
        ("plain-in-production", "first"): files["first"],
        ("plain-lines", "first"): files["first"],
        ("plain-lines", "second"): files["second"],
        ("plain-veterans", "second"): told["old"],
        ("report.html", "uses"): {"report.html": text("<html></html>")},
        ("same", "first"): {"same": text("all that is in here")},
    }
    found = [one for one in place.found() if one.run is not None]
    assert {(one.name, one.run.name): place.hashes(one) for one in found if one.run} == expected
    assert all(set(expected[one.name, one.run.name]) == {file.path for file in one.files} for one in found if one.run)


def test_what_is_known_of_it_comes_with_it(place: Place) -> None:
    """The run with its parameters and last metrics, its data without credentials, what the model is, and from which it was made."""
    told = place.told
    found = {(one.name, one.run.name if one.run else ""): one for one in place.found()}
    first, second = found["data", "first"], found["data", "second"]
    assert first.run is not None
    assert attrs.asdict(first.run) == {
        "id": told["runs"]["first"],
        "name": "first",
        "parameters": {"lr": "0.1", "layers": "[1, 2]"},
        "metrics": {"loss": 0.4},
    }
    assert first.metadata["run_status"] == "FINISHED"
    assert first.metadata["run_description"] == "what it is about"
    assert first.metadata["run_tags"]["team"] == "blue"
    (dataset,) = first.metadata["datasets"]
    assert (dataset["name"], dataset["context"]) == ("ones", "training")
    assert dataset["digest"]
    assert "hidden" not in str(first)
    assert found["broken", "broke"].metadata["run_status"] == "FAILED"
    assert first.created_at < second.created_at
    model = found["model", "second"]
    assert {"model_type": "line", "params": {"depth": "7"}, "metrics": {"r2": 0.75}}.items() <= model.metadata.items()
    assert model.address == f"{place.uri}#models:/{told['models']['third']}"
    assert set(found["report.html", "uses"].inputs) == {model.address, found["plain-lines", "first"].address}
    lines = found["plain-lines", "second"]
    assert lines.description == "the better one"
    assert lines.metadata["registered_model"]["description"] == "straight ones"
    assert lines.metadata["logged_model"]["model_id"] == told["models"]["second"]
    assert found["plain-veterans", "second"].metadata["tags"] == {"age": "4"}


def test_a_run_a_path_a_model_and_a_version_are_places_too(place: Place) -> None:
    """With the same address wherever it was found."""
    told, every = place.told, place.found()
    first, second = told["runs"]["first"], told["runs"]["second"]

    def at(text: str) -> list[ForeignArtifact]:
        return place.found(text)

    of_first = [one for one in every if one.run and one.run.name == "first"]
    assert at(f"runs:/{first}") == of_first
    assert at(f"runs:/{first}/data") == [one for one in of_first if one.name == "data"]
    (deep,) = at(f"runs:/{first}/data/deep")
    assert (deep.name, [file.path for file in deep.files]) == ("deep", ["er/b.csv"])
    assert place.hashes(deep) == {"er/b.csv": told["data of first"]["deep/er/b.csv"]}
    (file,) = at(f"runs:/{first}/data/a.csv")
    assert place.hashes(file) == {"a.csv": told["data of first"]["a.csv"]}
    lines = [one for one in every if one.name == "plain-lines"]
    assert at("models:/plain-lines") == lines
    assert at("models:/plain-lines/1") == lines[:1]
    assert at("models:/plain-lines@champion") == lines[1:]
    assert at("models:/plain-lines/latest") == lines[1:]
    assert at(f"models:/{told['models']['third']}") == [one for one in every if one.name == "model"]
    logged = at(f"models:/{told['models']['first']}") + at(f"runs:/{second}/model")
    assert [one.metadata["model_id"] for one in logged] == [
        told["models"][name] for name in ("first", "second", "third")
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("plian", "Near it: 'plain'"),
        ("4711", "models:/NAME@ALIAS"),
        ("", "experiment's name"),
        ("runs:/", "runs:/RUN_ID"),
        ("runs:/0123456789abcdef0123456789abcdef", "no run"),
        ("runs:/FIRST/dat", "Near it: 'data'"),
        ("models:/plain-line", "Near it: 'plain-lines'"),
        ("models:/plain-lines/3", "versions 1, 2, and the aliases Fallback, champion"),
        ("models:/plain-lines@winner", "versions 1, 2"),
        ("models:/plain-lines@", "models:/NAME@ALIAS"),
        ("models:/m-0123456789abcdef0123456789abcdef", "no registered model"),
        ("models:/", "models:/NAME"),
    ],
)
def test_a_place_that_is_not_there_is_an_error(place: Place, text: str, hint: str) -> None:
    """It says which kinds of place there are, and what is like it."""
    with pytest.raises(ArtifactNotFound, match="A place is an experiment's name") as told:
        place.found(text.replace("FIRST", place.told["runs"]["first"]))
    assert hint in str(told.value)
