"""What programs log that use ClearML's own SDK and nothing else: called in a process of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _folder(content: Mapping[str, bytes]) -> Path:
    root = Path("made") / uuid.uuid4().hex
    root.mkdir(parents=True)
    for path, data in content.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root.absolute()


@contextmanager
def _task(project: str, name: str, output_uri: str | bool = True) -> Iterator[Any]:
    from clearml import Task

    task = Task.init(
        project, name, reuse_last_task_id=False, output_uri=output_uri, auto_connect_frameworks=False,
        auto_resource_monitoring=False, auto_connect_streams=False, auto_connect_arg_parser=False,
    )  # fmt: skip
    yield task
    task.close()


def train(project: str, name: str, number: int) -> dict[str, Any]:
    """One run with parameters, metrics, artifacts of several kinds, and models; return the ids and what was uploaded."""
    import pandas
    from clearml import OutputModel

    weights, parts = b"weights %d" % number, {"model.pt": b"w%d" % number, "config/c.json": b"{}"}
    plots = {"a.txt": b"a%d" % number, "deep/b.txt": b"b"}
    with _task(project, name) as task:
        task.add_tags(["night"])
        task.connect({"lr": 0.5, "layers": number})
        for step in range(3):
            task.get_logger().report_scalar("loss", "train", value=1.0 / (step + 1) + number, iteration=step)
        task.get_logger().report_single_value("accuracy", 0.75)
        task.upload_artifact("scores", {"top": number}, metadata={"rows": 3}, wait_on_upload=True)
        task.upload_artifact("table", pandas.DataFrame({"x": [number, 2]}), wait_on_upload=True)
        task.upload_artifact("plots", _folder(plots), wait_on_upload=True)
        task.upload_artifact("a file", _folder({"näme x.yaml": b"x: %d" % number}) / "näme x.yaml", wait_on_upload=True)
        task.upload_artifact("far", "s3://bucket/elsewhere.bin")
        net = OutputModel(
            task=task, name="net", framework="PyTorch", tags=["best"], comment="it classifies",
            label_enumeration={"cat": 1}, config_dict={"depth": 3},
        )  # fmt: skip
        net.set_metadata("owner", "me", "str")
        net.update_weights(
            str(_folder({"net.pt": weights}) / "net.pt"),
            auto_delete_file=False,
            async_enable=False,
            update_comment=False,
        )
        pack = OutputModel(task=task, name="pack")
        pack.update_weights_package(weights_path=str(_folder(parts)), async_enable=False, auto_delete_file=False)
        found = {"task": str(task.id), "net": str(net.id), "pack": str(pack.id)}
    return {**found, "weights": weights, "parts": parts, "plots": plots}


def upload_file(project: str, key: str, content: bytes, name: str = "x.bin") -> str:
    """A task with one file as an artifact; return the task's id."""
    with _task(project, f"uploads {key}") as task:
        task.upload_artifact(key, _folder({name: content}) / name, wait_on_upload=True)
        return str(task.id)


def fine_tune(project: str, model: str, dataset: str) -> str:
    """A run that uses a model and a dataset, and makes a model of them; return the new one's id."""
    from clearml import Dataset, InputModel, OutputModel

    with _task(project, "fine tuning") as task:
        task.connect(InputModel(model_id=model))
        Dataset.get(dataset_id=dataset, alias="train")
        made = OutputModel(task=task, name="tuned")
        made.update_weights(
            str(_folder({"tuned.pt": b"tuned"}) / "tuned.pt"), auto_delete_file=False, async_enable=False
        )
        return str(made.id)


def register_model(project: str, uri: str) -> str:
    """A model whose file somebody has elsewhere; return its id."""
    from clearml import OutputModel

    with _task(project, "registers") as task:
        made = OutputModel(task=task, name="elsewhere")
        made.update_weights(register_uri=uri)
        return str(made.id)


def dataset(
    project: str,
    name: str,
    content: Mapping[str, bytes],
    *,
    version: str,
    parents: Sequence[str] = (),
    removed: Sequence[str] = (),
    links: Sequence[str] = (),
    finished: bool = True,
) -> str:
    """A version of a dataset; return its id."""
    from clearml import Dataset

    made = Dataset.create(
        dataset_name=name, dataset_project=project, dataset_tags=["raw"], parent_datasets=list(parents),
        dataset_version=version, description="the training set",
    )  # fmt: skip
    for path in removed:
        made.remove_files(path)
    folder = _folder(content)
    if content:
        made.add_files(str(folder))
    for link in links:
        made.add_external_files(link)
    made.set_metadata({"rows": len(content)}, metadata_name="facts", ui_visible=False)
    made.upload(show_progress=False, preview=False)
    shutil.rmtree(folder)
    if finished:
        made.finalize()
    return str(made.id)


def move(project: str, name: str, parent: str, content: Mapping[str, bytes]) -> str:
    """A version of a dataset that is what a folder holds by now; return its id."""
    from clearml import Dataset

    made = Dataset.create(dataset_name=name, dataset_project=project, parent_datasets=[parent])
    made.sync_folder(str(_folder(content)))
    made.upload(show_progress=False, preview=False)
    made.finalize()
    return str(made.id)


def archive(task_id: str) -> None:
    """Put a task into the archive, as its page does."""
    from clearml import Task

    Task.get_task(task_id=task_id).set_archived(True)


def many_tasks(project: str, count: int, content: bytes) -> None:
    """So many tasks with an artifact each, of one key, that were made one after the other."""
    import hashlib

    from clearml.backend_api.session.client import APIClient

    key = upload_file(project, "pattern", content)
    client = APIClient()
    task = client.tasks.get_by_id(key)
    (entry,) = task.execution.artifacts
    one = {"key": "part", "type": "custom", "uri": entry.uri, "hash": hashlib.sha256(content).hexdigest()}
    for number in range(count):
        execution = {"artifacts": [{**one, "content_size": len(content), "timestamp": 1}]}
        client.tasks.create(name=f"number {number}", type="training", project=task.project, execution=execution)
