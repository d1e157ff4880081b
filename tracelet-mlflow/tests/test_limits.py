"""Many versions, long manifests, cold databases, and claims by many at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servers import programs
from servers.mlflow_server import MlflowServer

COLD = """
import json
from tracelet import ArtifactType, Experiment
with Experiment("cold", backend="mlflow", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(SALT, "x")
    results = exp.log_artifact(artifact)
    left = exp.flush(600)
print(json.dumps([left, {name: str(error) for name, error in results.failed.items()}]))
"""

MLFLOW_ITSELF = """
import json, mlflow
from tracelet import ArtifactType, Experiment
mlflow.set_tracking_uri(URI)
with Experiment("cold", backend="mlflow", artifacts=True) as exp:
    with mlflow.start_run():
        mlflow.log_metric("x", 1.0)
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object("mixed", "x")
    exp.log_artifact(artifact).raise_for_errors()
print(json.dumps(0))
"""

LISTING = """
import json
from tracelet import Experiment
exp = Experiment("cold", backend="mlflow", artifacts=True)
print(json.dumps(sorted(a.version for a in exp.list_artifacts())))
"""


def test_four_programs_at_once_make_one_whole_database(tmp_path: Path) -> None:
    """And each gets a version of its own. MLflow by itself would have damaged the database for ever."""
    environ = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    begun = [programs.begin(COLD.replace("SALT", str(n)), tmp_path / str(n), environ) for n in range(4)]
    assert [programs.finish(process) for process in begun] == [[0, {}]] * 4
    assert programs.run(LISTING, tmp_path / "reader", environ) == ["v0", "v1", "v2", "v3"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["mlflow.db"]


def test_the_users_own_mlflow_may_make_the_database_meanwhile(tmp_path: Path) -> None:
    """The lane and the program open a cold database at the same moment."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert programs.run(MLFLOW_ITSELF.replace("URI)", f"{uri!r})"), tmp_path / "program", {}) == 0


LONG = """
import json, secrets
from pathlib import Path
from tracelet import ArtifactType, Experiment
for number in range(90):
    Path(f"{number}.txt").write_text(str(number) * 3)
with Experiment("long", backend="mlflow", artifacts=True) as exp:
    for version in range(2):
        artifact = exp.create_artifact("data", ArtifactType.DATASET, secrets.token_hex(10000))
        artifact.metadata["tag"] = "é" * 8001
        artifact.metadata["version"] = version
        for number in range(90):
            artifact.add_file(f"{number}.txt")
        exp.log_artifact(artifact).raise_for_errors()
print(json.dumps(exp.get_artifact("data").digest))
"""

LONG_READ = """
import json
from tracelet import Experiment
exp = Experiment("long", backend="mlflow", artifacts=True)
found = exp.get_artifact("data")
print(json.dumps([found.digest, len(found.description), len(found.metadata["tag"]), len(exp.list_artifacts())]))
"""


def test_no_value_is_cut_off(server: MlflowServer, tmp_path: Path) -> None:
    """A manifest too long for a tag is read from beside the files; MLflow cuts tags at 8,000 characters in silence."""
    from mlflow import MlflowClient

    environ = {"MLFLOW_TRACKING_URI": server.url}
    digest = programs.run(LONG, tmp_path / "writer", environ)
    assert programs.run(LONG_READ, tmp_path / "reader", environ) == [digest, 20000, 8001, 2]
    client = MlflowClient(tracking_uri=server.url)
    experiments = [client.get_experiment_by_name(name).experiment_id for name in ("long", "long.tracelet")]
    runs = client.search_runs(experiments)
    assert len(runs) == 3
    assert max(len(value) for run in runs for value in run.data.tags.values()) < 8000
    assert not any(
        "manifest" in json.loads(value) for run in runs for key, value in run.data.tags.items() if key in {"v0", "v1"}
    )


MANY_VERSIONS = """
import json, time
from mlflow import MlflowClient
from mlflow.entities import RunTag
from tracelet import ArtifactType, Experiment

exp = Experiment("versions", backend="mlflow", artifacts=True)
with exp:
    artifact = exp.create_artifact("data-0", ArtifactType.DATASET)
    artifact.add_object(1, "x")
    exp.log_artifact(artifact).raise_for_errors()
client = MlflowClient(tracking_uri=URI)
index = client.get_experiment_by_name("versions.tracelet").experiment_id
(first,) = client.search_runs([index], "tags.`tracelet.name` = 'data-0'")
record = first.data.tags["v0"]
for name in range(1, 11):
    kind = "model" if name == 10 else "dataset"
    run = client.create_run(index, tags={"tracelet.name": f"data-{name}", "tracelet.type": kind}).info.run_id
    for start in range(0, 1000, 100):
        client.log_batch(run, tags=[RunTag(f"v{number}", record) for number in range(start, start + 100)])
exp = Experiment("versions", backend="mlflow", artifacts=True)
exp.get_artifact("data-0")
times = []
for call in (lambda: exp.list_artifacts(), lambda: exp.list_artifacts(ArtifactType.MODEL), lambda: exp.get_artifact("data-0", "v0")):
    began = time.monotonic()
    found = call()
    times.append([time.monotonic() - began, len(found) if isinstance(found, list) else 1])
print(json.dumps(times))
"""


@pytest.mark.parametrize("kind", ["database", "server"])
def test_ten_thousand_versions_are_listed_by_a_few_requests(
    kind: str, server: MlflowServer, uri: str, tmp_path: Path
) -> None:
    """In seconds; and a name among them is found at once."""
    uri = server.url if kind == "server" else uri
    times = programs.run(MANY_VERSIONS.replace("=URI", f"={uri!r}"), tmp_path / "program", {"MLFLOW_TRACKING_URI": uri})
    (everything, count), _, (one, _) = times
    assert count == 10_001
    assert programs.soon(everything, 20)
    assert programs.soon(one, 1)


BOTH = """
import json
from tracelet import ArtifactType, Experiment

def log(exp, content):
    artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_object(content, "x")
    result = exp.log_artifact(artifact)["mlflow"]
    return [result.version, result.created]

one, other = (Experiment("both", backend="mlflow", artifacts=True).start() for _ in range(2))
print(json.dumps([log(*step) for step in (
    (one, "a"), (one, "b"), (other, "c"), (one, "c"), (one, "d"), (other, "c"), (other, "c"), (one, "e"),
)]))
one.stop()
other.stop()
"""


def test_two_that_log_one_name_in_turn_see_what_the_other_one_has_logged(server: MlflowServer, tmp_path: Path) -> None:
    """Though neither asks for all versions before it logs another one."""
    told = programs.run(BOTH, tmp_path / "program", {"MLFLOW_TRACKING_URI": server.url})
    assert told == [
        *(["v0", True], ["v1", True], ["v2", True], ["v2", False]),
        *(["v3", True], ["v4", True], ["v4", False], ["v5", True]),
    ]


ONE_DAMAGED = """
import base64, json, zlib
from mlflow import MlflowClient
from tracelet import ArtifactType, Experiment
from tracelet.exceptions import IntegrityError

exp = Experiment("versions", backend="mlflow", artifacts=True)
with exp:
    for number in range(3):
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(number, "x")).raise_for_errors()
client = MlflowClient(tracking_uri=URI)
index = client.get_experiment_by_name("versions.tracelet").experiment_id
(run,) = client.search_runs([index], "tags.`tracelet.name` = 'data'")
sound = run.data.tags["v1"]
plain = json.loads(sound)
text = zlib.decompress(base64.b64decode(plain["manifest"])).decode()
absurd = text.replace('"size_bytes": 1', '"size_bytes": 1' + "0" * 400)
assert absurd != text
packed = base64.b64encode(zlib.compress(absurd.encode())).decode()
told = []
exp = Experiment("versions", backend="mlflow", artifacts=True)
for record in (json.dumps({**plain, "manifest": packed}), "5", "[" * 5000, '{"digest": ' + "9" * 5000 + "}"):
    client.set_tag(run.info.run_id, "v1", record)
    try:
        exp.list_artifacts()
    except IntegrityError as error:
        told.append([str(error)[:20], [one.version for one in error.answers]])
    try:
        exp.get_artifact("data", "v1")
    except IntegrityError as error:
        told[-1].append(type(error).__name__)
    told[-1].append(exp.get_artifact("data", "latest").version)
    told[-1].append(exp.get_artifact("data", "sha256:" + exp.get_artifact("data", "v0").digest).version)
print(json.dumps(told))
"""


def test_one_damaged_record_hides_no_other_version(uri: str, tmp_path: Path) -> None:
    told = programs.run(ONE_DAMAGED.replace("=URI", f"={uri!r}"), tmp_path / "program", {"MLFLOW_TRACKING_URI": uri})
    assert told == [["mlflow: 'data' v1: a", ["v2", "v0"], "IntegrityError", "v2", "v0"]] * 4
