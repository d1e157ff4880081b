"""What people logged with a tracker's own SDK is Tracelet's after one command: every byte, version and alias of it.

MLflow's real server and an Aim repository; for W&B and ClearML the real client and a stand-in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from copying.places import Places

#: What each program below logs: two versions of `rows` and of `net`, with bytes that it tells by their sha256.
HEAD = """
import hashlib, json
from pathlib import Path

def written(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()

def two(number):
    rows = written(f"{number}/rows/rows.csv", f"a,b\\n{number},2\\n")
    net = written(f"{number}/net/net.onnx", f"weights {number}")
    return rows, net, {"rows": {"rows.csv": sha256(rows)}, "net": {"net.onnx": sha256(net)}}
"""
LOG = {
    "mlflow": """
import mlflow
told = []
mlflow.set_experiment("plain")
client = mlflow.MlflowClient()
client.create_registered_model("net")
for number in range(2):
    with mlflow.start_run() as run:
        rows, net, files = two(number)
        mlflow.log_param("lr", number)
        mlflow.log_metric("loss", 0.5)
        mlflow.log_artifacts(str(rows.parent), "rows")
        mlflow.log_artifacts(str(net.parent), "weights")
        client.create_model_version("net", f"{run.info.artifact_uri}/weights", run.info.run_id)
        told.append(files)
client.set_registered_model_alias("net", "best", "1")
print(json.dumps(told))
""",
    "wandb": """
import wandb
told = []
for number in range(2):
    with wandb.init(project="plain", config={"lr": number}) as run:
        rows, net, files = two(number)
        run.log({"loss": 0.5})
        data = wandb.Artifact("rows", "dataset")
        data.add_file(str(rows))
        run.log_artifact(data).wait()
        model = wandb.Artifact("net", "model")
        model.add_file(str(net))
        run.log_artifact(model, aliases=["best"] if number == 0 else []).wait()
        told.append(files)
print(json.dumps(told))
""",
    "clearml": """
from clearml import Dataset, OutputModel, Task
told = []
for number in range(2):
    task = Task.init("plain", f"train {number}", reuse_last_task_id=False, auto_connect_frameworks=False,
                     auto_resource_monitoring=False, output_uri=True)
    rows, net, files = two(number)
    task.connect({"lr": number})
    task.get_logger().report_scalar("loss", "train", 0.5, 1)
    task.upload_artifact("rows", str(rows), wait_on_upload=True)
    model = OutputModel(task, name="net")
    model.update_weights(str(net), auto_delete_file=False, async_enable=False)
    task.flush(wait_for_uploads=True)
    task.close()
    told.append(files)
print(json.dumps(told))
""",
    "aim": """
import os
import aim
told = []
for number in range(2):
    run = aim.Run(repo=os.environ["TRACELET_AIM_REPO"], experiment="plain", system_tracking_interval=None)
    run.set_artifacts_uri(Path(os.environ["TRACELET_AIM_REPO"], "files").as_uri())
    rows, net, files = two(number)
    run["lr"] = number
    run.track(0.5, name="loss")
    run.log_artifacts(str(rows.parent), name="rows", block=True)
    run.log_artifacts(str(net.parent), name="net", block=True)
    run.close()
    told.append(files)
print(json.dumps(told))
""",
}
READ = """
import hashlib, json
from tracelet import Experiment

told = {}
for one in Experiment("plain", artifacts=True).list_artifacts()[::-1]:
    folder = one.download()
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
             for path in folder.rglob("*") if path.is_file()}
    run = one.metadata["run"]
    told.setdefault(one.name, []).append([files, list(one.aliases), str(run["parameters"]), one.verify().ok])
print(json.dumps(told))
"""
ALIASES = {"mlflow": ["best"], "wandb": ["best"], "clearml": [], "aim": []}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(tmp_path_factory.mktemp("places"), stack)


def command(places: Places, user: str, *arguments: str) -> dict[str, Any]:
    begun = places.command(user, "import", *arguments, "--json")
    out, err = begun.communicate(timeout=1200)
    assert begun.returncode == 0, out[-3000:] + err[-6000:]
    answer: dict[str, Any] = json.loads(out)
    return answer


@pytest.mark.parametrize("tracker", LOG)
def test_every_byte_version_and_alias_of_a_tracker_is_accounted_for(places: Places, tracker: str) -> None:
    logged = places.run(f"user-of-{tracker}", HEAD + LOG[tracker])
    importer = f"importer-from-{tracker}"
    listed = command(places, importer, tracker, "plain", "--list")["found"]
    # ClearML knows the files of a model only when it has fetched them.
    known = [(one["name"], len(one["files"]) if one["files_known"] else 1) for one in listed]
    assert sorted(known) == [
        ("net", 1),
        ("net", 1),
        ("rows", 1),
        ("rows", 1),
    ]
    imported = command(places, importer, tracker, "plain", "--to", "local")
    assert sorted((one["name"], one["target"], one["outcome"]) for one in imported["versions"]) == [
        (name, f"v{number}", "copied") for name in ("net", "rows") for number in range(2)
    ]
    stored = places.run(importer, READ)
    for name in ("rows", "net"):
        assert [files for files, *_ in stored[name]] == [one[name] for one in logged]
        assert [whole for *_, whole in stored[name]] == [True, True]
    assert [aliases for _, aliases, *_ in stored["net"]] == [ALIASES[tracker], []]
    assert all(str(number) in parameters for number, (_, _, parameters, _) in enumerate(stored["rows"]))
    again = command(places, importer, tracker, "plain", "--to", "local")
    assert {one["outcome"] for one in again["versions"]} == {"skipped"}
    assert places.run(importer, READ) == stored
