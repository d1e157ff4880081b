"""What is odd in MLflow is found, or told by name: Tracelet's own beside it, what is broken, gone or changed, and thousands of runs."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from servers import programs
from servers.faulty_proxy import FaultyProxy
from servers.mlflow_database import new_database
from servers.mlflow_server import MlflowServer
from tracelet.exceptions import ArtifactNotFound, BackendError, BackendUnavailable, IntegrityError, UnsafePath
from tracelet.plugin import ArtifactType, ForeignArtifact
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.driver import Driver
from tracelet_mlflow import tracelet_backends

# MLflow's own code, where it opens a database
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

Open = Callable[[str], BackendProcess]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the backends' processes."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def look(elsewhere: Path) -> Iterator[Open]:
    """Opens the backend of an MLflow in a process of its own, once."""
    (elsewhere / "tracelet").mkdir()
    opened: dict[str, tuple[Driver, BackendProcess]] = {}

    def open_it(uri: str) -> BackendProcess:
        if uri not in opened:
            environ = programs.clean_environment({"TRACELET_MLFLOW_TRACKING_URI": uri})
            driver = Driver(elsewhere, environ, next(iter(tracelet_backends())).environ)
            opened[uri] = driver, BackendProcess(driver, uuid.uuid4().hex, "mlflow", "x", elsewhere / "tracelet")
        return opened[uri][1]

    yield open_it
    for driver, _ in opened.values():
        driver.close()


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that no server serves."""
    return new_database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def experiment(client: MlflowClient, tmp_path: Path) -> Any:
    """An experiment of somebody's."""
    return client.get_experiment(client.create_experiment(f"theirs {uuid.uuid4().hex}", (tmp_path / "files").as_uri()))


def logged(client: MlflowClient, experiment: Any, **files: str) -> Any:
    """A run that has logged texts, by their paths; `__` is a folder, and each is a `.txt`."""
    run = client.create_run(experiment.experiment_id)
    for path, text in files.items():
        client.log_text(run.info.run_id, text, f"{path.replace('__', '/')}.txt")
    client.set_terminated(run.info.run_id)
    return client.get_run(run.info.run_id)


def folder_of(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def words(elsewhere: Path) -> str:
    """What the backends' processes have warned of."""
    return "".join(path.read_text() for path in elsewhere.glob("stderr-*.log"))


def names(found: Any) -> list[str]:
    return [one.name for one in found]


def content(opened: BackendProcess, found: ForeignArtifact, tmp_path: Path) -> dict[str, bytes]:
    return opened.foreign_content(found, tmp_path / uuid.uuid4().hex)


# -- Tracelet's own

BOTH = """
import json, mlflow, os
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

client = MlflowClient()
mlflow.set_experiment("both")
with mlflow.start_run() as run:
    mlflow.log_text("theirs", "report/theirs.txt")
    with Experiment("both", backend="mlflow", artifacts=True) as exp:
        report = exp.create_artifact("report", ArtifactType.REPORT).add_object("ours", "x")
        uri = exp.log_artifact(report)["mlflow"].uri
        line = exp.create_artifact("line", ArtifactType.MODEL)
        line.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
        exp.log_artifact(line, aliases=["best"]).raise_for_errors()
        plain = exp.create_artifact("plain", ArtifactType.MODEL).add_object(1, "x")
        exp.log_artifact(plain).raise_for_errors()
        exp.use_artifact("plain")
        exp.use_artifact("report")
    mlflow.log_text("theirs, too", "report/v3/note.txt")
client.copy_model_version("models:/line/1", "copy")
MORE = '''
import json, os
from tracelet import ArtifactType, Experiment
with Experiment("both", backend="mlflow", artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("data", ArtifactType.CUSTOM).add_object(1, "x")).raise_for_errors()
print(json.dumps(0))
'''
import subprocess, sys
subprocess.run([sys.executable, "-c", MORE], check=True, env={**os.environ, "MLFLOW_RUN_ID": ""})
(own,) = [one for one in client.search_runs([run.info.experiment_id]) if one.info.run_id != run.info.run_id]
client.log_text(own.info.run_id, "logged later by hand", "by-hand.txt")
print(json.dumps([run.info.run_id, uri]))
"""


def test_what_tracelet_stored_is_left_out(tmp_path: Path, uri: str, look: Open) -> None:
    """Of a run that both have used, only what its user logged is found; a place that is Tracelet's own is told to be that."""
    run_id, stored = programs.run(BOTH, tmp_path / "program", {"MLFLOW_TRACKING_URI": uri})
    opened = look(uri)
    hand, report = opened.discover("both")
    assert (hand.name, report.name) == ("by-hand.txt", "report")
    assert content(opened, hand, tmp_path) == {"by-hand.txt": b"logged later by hand"}
    assert content(opened, report, tmp_path) == {"theirs.txt": b"theirs", "v3/note.txt": b"theirs, too"}
    assert "datasets" not in report.metadata
    assert report.inputs == ()
    client = MlflowClient(tracking_uri=uri)
    (model,) = [one for one in client.search_logged_models([hand_experiment(client)]) if one.name == "line"]
    for place in ("both.tracelet", "models:/line", "models:/line@best", "models:/copy/1", f"models:/{model.model_id}"):
        with pytest.raises(ArtifactNotFound, match="Tracelet's own"):
            opened.discover(place)
    for place in (stored, f"runs:/{run_id}/line"):
        with pytest.raises(ArtifactNotFound, match="A place is"):
            opened.discover(place)


def hand_experiment(client: MlflowClient) -> str:
    return str(client.get_experiment_by_name("both").experiment_id)


# -- versions of models


def test_a_model_in_a_run_is_one_by_its_folder_and_comes_by_its_registered_name(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, look: Open
) -> None:
    """As MLflow 2 kept it. A folder that holds more than the model is an artifact besides. A deleted run takes no registered model with it."""
    run = logged(client, experiment, model__weights="1", parts__inner__weights="2", parts__beside="3")
    again = logged(client, experiment, model__weights="4")
    for one, path in ((run, "model"), (run, "parts/inner"), (again, "model")):
        client.log_text(one.info.run_id, "flavors: {}", f"{path}/MLmodel")
    client.create_registered_model("nets")
    for one, path in ((run, "model"), (run, "parts/inner")):
        client.create_model_version("nets", f"{one.info.artifact_uri}/{path}", one.info.run_id)
    opened = look(uri)
    found = opened.discover(experiment.name)
    assert [(one.name, one.kind, one.version) for one in found] == [
        ("model", "folder of a run", ""),
        ("nets", "registered model", "1"),
        ("nets", "registered model", "2"),
        ("parts", "folder of a run", ""),
    ]
    assert [one.type for one in found] == [ArtifactType.MODEL] * 3 + [ArtifactType.CUSTOM]
    assert content(opened, found[0], tmp_path)["weights.txt"] == b"4"
    assert content(opened, found[2], tmp_path) == {"MLmodel": b"flavors: {}", "weights.txt": b"2"}
    client.delete_run(run.info.run_id)
    assert [one.version for one in opened.discover(experiment.name)] == ["", "1", "2"]
    with pytest.raises(ArtifactNotFound, match="was deleted"):
        opened.discover(f"runs:/{run.info.run_id}")


def test_a_folder_with_other_kinds_of_files_in_each_run_is_one_name(
    uri: str, client: MlflowClient, experiment: Any, look: Open
) -> None:
    """Of no type in particular, for a name has one type."""
    run = logged(client, experiment)
    client.log_text(run.info.run_id, "1,2", "out/a.csv")
    logged(client, experiment, out__notes="x")
    assert [(one.name, one.type) for one in look(uri).discover(experiment.name)] == [("out", ArtifactType.CUSTOM)] * 2


def test_a_version_is_what_mlflow_says_where_its_files_are_elsewhere(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, elsewhere: Path, look: Open
) -> None:
    """In a place that no client of MLflow can read it is a reference. One that cannot be read now is told, and costs no other."""
    run = logged(client, experiment, notes="x", here__weights="1")
    client.create_registered_model("net")
    sources = [
        "hub://team/net",
        "s3://no-such-bucket/net",
        f"runs:/{run.info.run_id}/here",
        f"{run.info.artifact_uri}/gone",
    ]
    for source in sources:
        client.create_model_version("net", source, run.info.run_id)
    opened = look(uri)
    found = {one.version or one.name: one for one in opened.discover(experiment.name)}
    assert set(found) == {"1", "2", "3", "4", "notes.txt"}
    assert [reference.uri for reference in found["1"].references] == ["hub://team/net"]
    assert content(opened, found["3"], tmp_path) == {"weights.txt": b"1"}
    assert (found["4"].files, found["4"].references) == ((), ())
    assert "version 2 of the registered model 'net'" in words(elsewhere)
    assert found["2"].kind == "registered model that cannot be read"
    with pytest.raises(ArtifactNotFound, match="version 2 of the registered model 'net' could not be read"):
        content(opened, found["2"], tmp_path)
    with pytest.raises(BackendError):
        opened.discover("models:/net/2")


def test_a_version_that_was_not_finished_is_told_and_its_files_come_by_their_own_name(
    uri: str, client: MlflowClient, experiment: Any, elsewhere: Path, look: Open
) -> None:
    """It may not be whole: what the run has is all that is sure."""
    run = logged(client, experiment, model__weights="1")
    client.create_registered_model("waiting")
    client.create_model_version("waiting", f"{run.info.artifact_uri}/model", run.info.run_id)
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE model_versions SET status = 'PENDING_REGISTRATION' WHERE name = 'waiting'")
    database.close()
    assert names(look(uri).discover(experiment.name)) == ["model"]
    assert "version 1 of the registered model 'waiting' is left out" in words(elsewhere)


# -- files


def test_names_that_mlflow_itself_refuses_come_and_names_that_no_artifact_has_are_told(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, elsewhere: Path, look: Open
) -> None:
    """Whoever writes into the folder of a run chooses names as he likes."""
    run = logged(client, experiment, data__plain="1")
    data = folder_of(run) / "data"
    odd = {"C#.txt": b"2", "a%20b.txt": b"3", "what?.txt": b"4", " space .txt": b"5"}
    for name, text in odd.items():
        (data / name).write_bytes(text)
    (data / "back\\slash.txt").write_bytes(b"6")
    (folder_of(run) / "tracelet.json").write_bytes(b"7")
    opened = look(uri)
    (found,) = opened.discover(experiment.name)
    assert content(opened, found, tmp_path) == {"plain.txt": b"1", **odd}
    assert "back\\\\slash.txt" in words(elsewhere)
    assert "tracelet.json" in words(elsewhere)


def test_a_link_that_leads_out_of_a_run_is_not_followed(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, look: Open
) -> None:
    """What a run's folder points at is no part of it."""
    run = logged(client, experiment, data__plain="1")
    (tmp_path / "secret.txt").write_text("not yours")
    (folder_of(run) / "data" / "link.txt").symlink_to(tmp_path / "secret.txt")
    opened = look(uri)
    (found,) = opened.discover(experiment.name)
    with pytest.raises(UnsafePath, match="leads out of it"):
        content(opened, found, tmp_path)


def test_what_went_or_changed_since_it_was_listed_is_an_error(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, look: Open
) -> None:
    """MLflow knows sizes, and no checksums."""
    run = logged(client, experiment, data__a="12", data__b="34")
    opened = look(uri)
    (found,) = opened.discover(experiment.name)
    (folder_of(run) / "data" / "b.txt").write_bytes(b"345")
    with pytest.raises(IntegrityError, match=r"b\.txt .* 3 bytes"):
        content(opened, found, tmp_path)
    (folder_of(run) / "data" / "b.txt").unlink()
    with pytest.raises(ArtifactNotFound, match="is gone from"):
        content(opened, found, tmp_path)
    assert [file.path for file in opened.discover(experiment.name)[0].files] == ["a.txt"]


def test_a_folder_that_cannot_be_read_costs_no_other_run(
    tmp_path: Path, uri: str, client: MlflowClient, experiment: Any, elsewhere: Path, look: Open
) -> None:
    """It is listed as what cannot be read; where there is nothing else, it is the error."""
    broken = logged(client, experiment, data__a="1")
    opened = look(uri)
    (folder_of(broken) / "data" / "around").symlink_to(folder_of(broken) / "data")
    (folder_of(broken) / "outside").symlink_to("/")
    with pytest.raises(BackendError):
        opened.discover(experiment.name)
    whole = logged(client, experiment, data__a="2")
    lost, found = sorted(opened.discover(experiment.name), key=lambda one: one.name == "data")
    assert found.run is not None
    assert found.run.id == whole.info.run_id
    assert (lost.name, lost.kind) == (broken.info.run_name, "run that cannot be read")
    with pytest.raises(ArtifactNotFound, match=broken.info.run_id):
        content(opened, lost, tmp_path)
    assert broken.info.run_id in words(elsewhere)


# -- imported

IMPORT = """
import json, tracelet
from tracelet import Experiment

def moved(place):
    done = tracelet.import_from("mlflow", place, to_backend="local", experiment="moved", from_set={"tracking_uri": URI})
    return sorted([one.name, one.outcome, one.error and str(one.error)] for one in done.versions)

first, second = moved(NAME), moved(NAME)
kept = Experiment("moved", backend="local", artifacts=True)
net = kept.get_artifact("imported-net", "Best")
data = kept.get_artifact("data", "v1")
print(json.dumps([first, second, net.metadata, (net.download("net") / "weights.txt").read_text(),
                  (data.download("data") / "a.txt").read_text(), data.metadata["run"]["parameters"]]))
"""


def test_it_is_imported_once(tmp_path: Path, uri: str, client: MlflowClient, experiment: Any) -> None:
    """With its order, its aliases, and the run that made it; a second import finds it all there."""
    first = logged(client, experiment, data__a="1", model__weights="2")
    second = logged(client, experiment, data__a="3")
    client.log_param(second.info.run_id, "lr", 0.5)
    client.create_registered_model("imported-net")
    client.create_model_version("imported-net", f"{first.info.artifact_uri}/model", first.info.run_id)
    client.set_registered_model_alias("imported-net", "Best", 1)
    code = IMPORT.replace("URI", repr(uri)).replace("NAME", repr(experiment.name))
    once, again, metadata, weights, data, parameters = programs.run(code, tmp_path / "program", {})
    names_of = ["data", "data", "imported-net"]
    assert once == [[name, "copied", None] for name in names_of]
    assert again == [[name, "skipped", None] for name in names_of]
    assert metadata["imported_from"].startswith(f"{uri}#models:/imported-net/1?created=")
    assert metadata["run"]["id"] == first.info.run_id
    assert (weights, data, parameters) == ("2", "3", {"lr": "0.5"})


# -- many, and a server that is away


def test_thousands_of_runs_are_all_found(uri: str, client: MlflowClient, experiment: Any, look: Open) -> None:
    """More of them than MLflow gives in one answer; also more logged models."""
    run = logged(client, experiment, notes="x")
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
        others = ", ".join("?1" if name == "run_uuid" else name for name in columns)
        copy = f"INSERT INTO runs SELECT {others} FROM runs WHERE run_uuid = ?2"
        database.executemany(copy, [(f"{number:032x}", run.info.run_id) for number in range(1100)])
    database.close()
    for number in range(101):
        model = client.create_logged_model(experiment.experiment_id, name=f"m{number}")
        client.finalize_logged_model(model.model_id, "READY")
    found = look(uri).discover(experiment.name)
    assert names(found).count("notes.txt") == 1101
    assert len({one.address for one in found}) == 1101 + 101


def test_listing_takes_few_requests_and_fetches_nothing(server: MlflowServer, look: Open) -> None:
    """For each run that has files two, however many those are, and one for each of its folders. Four are asked of them all."""
    client = MlflowClient(tracking_uri=server.url)
    experiment = client.get_experiment(client.create_experiment("counted"))
    for _ in range(5):
        logged(client, experiment, data__a="1", data__b="2", top="3", other="4")
    with FaultyProxy(server.process.port) as proxy:
        opened = look(proxy.url)
        before = len(proxy.requests)
        found = opened.discover("counted")
        asked = proxy.requests[before:]
        assert len(found) == 15
        assert len([line for line in asked if "/mlflow-artifacts/artifacts?" in line]) == 5 * 2
        assert not [line for line in asked if "/mlflow-artifacts/artifacts/" in line]
        assert len(asked) == 5 * 3 + 4, asked


def test_a_server_that_is_away_is_no_empty_list(server: MlflowServer, tmp_path: Path, look: Open) -> None:
    """Neither where it is asked what there is, nor where a file is fetched."""
    client = MlflowClient(tracking_uri=server.url)
    logged(client, client.get_experiment(client.create_experiment("away")), data__a="12345" * 100)
    with FaultyProxy(server.process.port) as proxy:
        opened = look(proxy.url)
        (found,) = opened.discover("away")
        for mode in ("refused", "503"):
            proxy.set(mode)
            with pytest.raises(BackendUnavailable):
                opened.discover("away")
            with pytest.raises(BackendUnavailable):
                content(opened, found, tmp_path)
        proxy.set("pass")
        assert content(opened, found, tmp_path) == {"a.txt": b"12345" * 100}


def test_where_nothing_was_ever_stored_there_is_no_place(tmp_path: Path, look: Open) -> None:
    """And looking makes no database."""
    with pytest.raises(ArtifactNotFound, match="nothing was ever stored"):
        look(f"sqlite:///{tmp_path / 'mlflow.db'}").discover("theirs")
    assert not (tmp_path / "mlflow.db").exists()
