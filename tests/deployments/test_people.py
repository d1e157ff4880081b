"""Several people on one MLflow with passwords, where not everybody may change what others have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from deployments.places import Deployment
from servers import programs

LOG = """
import json
from pathlib import Path
from sklearn.linear_model import LinearRegression
from tracelet import ArtifactType, Experiment

Path("weights.bin").write_text(WHO)
with Experiment(EXPERIMENT, backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("classifier", ArtifactType.MODEL).add_file("weights.bin")
    artifact.add_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]))
    results = exp.log_artifact(artifact, aliases=["best"])
error = results.queued.get("mlflow")
print(json.dumps([list(results), type(error).__name__, str(error)]))
"""

READ = """
import json
from tracelet import Experiment
exp = Experiment(EXPERIMENT, backend="mlflow", artifacts=True)
print(json.dumps([[one.version, one.open("weights.bin").read().decode()] for one in exp.list_artifacts()]))
"""

MANAGE = """
import json, time
from pathlib import Path
from tracelet.plugin import BackendContext
from tracelet_mlflow import MlflowSettings
from tracelet_mlflow.backend import open_backend
backend = open_backend(EXPERIMENT, MlflowSettings(), BackendContext(Path.cwd(), {}))
users = [one.version for one in backend.used_by("f" * 64)]
freed = list(backend.collect(time.time() + 3600))
print(json.dumps([EXPERIMENT in backend.experiments(), users, freed]))
"""

DELIVER = """
import json
from tracelet import Experiment
with Experiment(EXPERIMENT, backend="mlflow", artifacts=True) as exp:
    left = exp.flush(600)
print(json.dumps(left))
"""


def asked(place: Deployment, path: str, content: dict[str, Any]) -> None:
    """Ask the server for something as its administrator."""
    login = (place.environ["MLFLOW_TRACKING_USERNAME"], place.environ["MLFLOW_TRACKING_PASSWORD"])
    requests.post(f"{place.server.url}/api/{path}", json=content, auth=login, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def people(with_passwords: Deployment) -> dict[str, dict[str, str]]:
    """The environment of each: they may read what others have made, and change what is their own."""
    found = {}
    for name in ("alice", "bob"):
        password = f"a-long-password-of-{name}"
        asked(with_passwords, "2.0/mlflow/users/create", {"username": name, "password": password})
        login = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
        found[name] = {**with_passwords.environ, **login}
    return found


def logged(people: dict[str, dict[str, str]], who: str, experiment: str, folder: Path) -> Any:
    environ = {**people[who], "TRACELET_DIR": str(folder / who / "tracelet"), "TRACELET_STOP_TIMEOUT": "5"}
    return programs.run(LOG.replace("WHO", repr(who)).replace("EXPERIMENT", repr(experiment)), folder / who, environ)


def test_a_registered_model_of_somebody_else_stands_in_nobodys_way(
    with_passwords: Deployment, people: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """Two give their artifacts the same name, each in an experiment of their own: the registry belongs to the first."""
    for who in ("alice", "bob"):
        assert logged(people, who, f"of-{who}", tmp_path)[0] == ["mlflow"]
        told = programs.run(READ.replace("EXPERIMENT", repr(f"of-{who}")), tmp_path / f"{who}-reads", people[who])
        assert told == [["v0", who]]
    login = (with_passwords.environ["MLFLOW_TRACKING_USERNAME"], with_passwords.environ["MLFLOW_TRACKING_PASSWORD"])
    place = f"{with_passwords.server.url}/api/2.0/mlflow/model-versions/search"
    found = requests.get(place, {"filter": "name = 'classifier'"}, auth=login, timeout=60).json()["model_versions"]
    assert len(found) == 1


def test_who_may_only_read_reads_and_is_told_what_is_missing(
    with_passwords: Deployment, people: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To log needs EDIT on the experiment and on its index; then what waited is stored."""
    assert logged(people, "alice", "guarded", tmp_path)[0] == ["mlflow"]
    name, read = repr("guarded"), tmp_path / "reads"
    assert programs.run(READ.replace("EXPERIMENT", name), read, people["bob"]) == [["v0", "alice"]]
    stored, kind, message = logged(people, "bob", "guarded", tmp_path)
    assert (stored, kind) == ([], "BackendAuthError")
    assert "needs EDIT on the experiment and on its index" in message
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, with_passwords.environ[variable])
    client = MlflowClient(tracking_uri=with_passwords.server.url)
    for title in ("guarded", "guarded.tracelet"):
        experiment = client.get_experiment_by_name(title).experiment_id
        granted = {"resource_type": "experiment", "resource_id": experiment, "permission": "EDIT"}
        asked(with_passwords, "3.0/mlflow/users/permissions/grant", {"username": "bob", **granted})
    environ = {**people["bob"], "TRACELET_DIR": str(tmp_path / "bob" / "tracelet")}
    assert programs.run(DELIVER.replace("EXPERIMENT", name), tmp_path / "later", environ) == 0
    assert programs.run(READ.replace("EXPERIMENT", name), read, people["alice"]) == [["v1", "bob"], ["v0", "alice"]]


def test_who_may_only_read_asks_what_is_stored_and_notes_and_clears_nothing(
    with_passwords: Deployment, people: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier release has noted no inputs: then all versions are looked at, by core as well, until somebody may note them."""
    assert logged(people, "alice", "kept", tmp_path)[0] == ["mlflow"]
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(variable, with_passwords.environ[variable])
    client = MlflowClient(tracking_uri=with_passwords.server.url)
    index = client.get_experiment_by_name("kept.tracelet").experiment_id
    (versions,) = client.search_runs([index], "tags.`tracelet.name` = 'classifier'")
    client.delete_experiment_tag(index, "tracelet.inputs")
    client.log_param(versions.info.run_id, "v1", "an-interrupted-put")
    environ, program = people["bob"], MANAGE.replace("EXPERIMENT", repr("kept"))
    assert programs.run(program, tmp_path / "manages", environ) == [True, ["v0"], []]
    assert "tracelet.inputs" not in client.get_experiment(index).tags
    assert "left/v1" not in client.get_run(versions.info.run_id).data.tags
    assert programs.run(program, tmp_path / "manages", people["alice"])[:2] == [True, ["v0"]]
    assert client.get_experiment(index).tags["tracelet.inputs"] == "true"
    assert client.get_run(versions.info.run_id).data.tags["left/v1"] == "cleared"
