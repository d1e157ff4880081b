"""What somebody does who has ClearML's own SDK and nothing else: called in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def _tree(folder: str | Path) -> dict[str, bytes]:
    """What a local copy holds; a single file has the cache's own mark before its name."""
    root = Path(folder)
    if root.is_file():
        return {root.name.partition(".")[2]: root.read_bytes()}
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def task_artifacts(task_id: str) -> dict[str, dict[str, Any]]:
    """Everything that a task's page shows of its artifacts, and their bytes where the SDK gets them."""
    from clearml import Task

    found = {}
    for key, one in Task.get_task(task_id=task_id).artifacts.items():
        content = _tree(one.get_local_copy(force_download=True)) if one.url.startswith("http://127.0.0.1") else None
        found[key] = {"url": one.url, "size": one.size, "metadata": one.metadata, "preview": one.preview}
        found[key] |= {"content": content, "hash": one.hash}
    return found


def every_task() -> list[str]:
    """The names of all tasks there are, of every project, as the SDK lists them."""
    from clearml import Task

    return [str(one.name) for one in Task.get_tasks()]


def page(task_id: str) -> str:
    """The address of a task's page, as the SDK prints it."""
    from clearml import Task

    return str(Task.get_task(task_id=task_id).get_output_log_web_page())


def tasks(project: str) -> list[dict[str, Any]]:
    """The tasks of a project, as the SDK lists them."""
    from clearml import Task

    found = Task.get_tasks(project_name=project)
    return [{"id": one.id, "name": one.name, "status": str(one.status), "tags": list(one.get_tags())} for one in found]


def models(project: str, name: str) -> list[dict[str, Any]]:
    """The models of a name, newest first, with their bytes."""
    from clearml import Model

    found = Model.query_models(project_name=project, model_name=name)
    return [
        {
            "id": one.id,
            "url": one.url,
            "framework": one.framework,
            "tags": list(one.tags or []),
            "comment": one.comment,
            "metadata": {key: item["value"] for key, item in one.get_all_metadata().items()},
            "content": _tree(one.get_local_copy(force_download=True)),
        }
        for one in found
    ]


def dataset(project: str, name: str, version: str) -> dict[str, Any]:
    """A dataset, got as ClearML's documentation says."""
    from clearml import Dataset

    found = Dataset.get(dataset_project=project, dataset_name=name, dataset_version=version)
    parents = [Dataset.get(dataset_id=one).version for one in found._get_parents()]
    return {
        "id": found.id,
        "version": found.version,
        "final": found.is_final(),
        "parents": parents,
        "metadata": found.get_metadata(),
        "content": _tree(found.get_local_copy()),
        "own": sorted(path for path, entry in found.file_entries_dict.items() if entry.parent_dataset_id == found.id),
    }


def _client() -> Any:
    from clearml.backend_api.session.client import APIClient

    return APIClient()


def _project(name: str) -> str:
    (found,) = _client().projects.get_all(name=f"^{re.escape(name)}$", search_hidden=True)
    return str(found.id)


def rename_project(name: str, new: str) -> None:
    """Give a project another name, as its page does."""
    _client().projects.update(project=_project(name), name=new)


def archive_project(name: str) -> None:
    """Put a project into the archive, as its page does."""
    _client().projects.update(project=_project(name), system_tags=["archived"])


def delete_project(name: str, *, contents: bool) -> None:
    """Delete a project, and what is in it or not, as its page does."""
    _client().projects.delete(project=_project(name), force=True, delete_contents=contents)


def edit_task(key: str, **fields: Any) -> None:
    """Change a task's fields, whatever its status."""
    _client().tasks.edit(task=key, force=True, **fields)


def delete_task(key: str) -> None:
    """Delete a task."""
    _client().tasks.delete(task=key, force=True)


def publish_model(key: str) -> None:
    """Publish a model, as its page does."""
    _client().models.edit(model=key, ready=True)


def begin_model(project: str, name: str, uri: str) -> None:
    """Make a model whose file is not there yet, as the SDK does before it uploads it."""
    _client().models.create(name=name, uri=uri, project=_project(project), ready=False)


def tags_to_choose(project: str) -> dict[str, list[str]]:
    """The tags that the web application gives people to choose from: in a project, and everywhere; and those for machines."""
    client, key = _client(), _project(project)
    told = [*client.projects.get_task_tags(projects=[key]).tags, *client.projects.get_model_tags(projects=[key]).tags]
    answer = client.session.send_request("organization", "get_tags", json={"include_system": True}).json()["data"]
    return {"project": told, "everywhere": answer["tags"], "system": answer["system_tags"]}


_HANDLES: dict[str, Any] = {}


def upload(task_id: str, key: str) -> None:
    """Upload to a task, always from one handle, which sends all that it ever uploaded again each time."""
    from clearml import Task

    Path("mine").write_text(key)
    handle = _HANDLES.setdefault(task_id, None) or Task.get_task(task_id=task_id)
    _HANDLES[task_id] = handle
    assert handle.upload_artifact(key, Path("mine").absolute(), wait_on_upload=True)


def import_session(archive: Path) -> dict[str, dict[str, Any]]:
    """Send an offline session to the server as ClearML's users do; return the artifacts of the task that came of it."""
    from clearml import Task

    key = Task.import_offline_session(str(archive))
    assert key is not None
    return task_artifacts(key)


def add_artifact(task_id: str, entry: dict[str, Any]) -> None:
    """Put an entry into a task, as any program can."""
    _client().tasks.add_or_update_artifacts(task=task_id, artifacts=[entry], force=True)


def make_public(name: str) -> None:
    """Show a project to everybody on the server, as those of ClearML's examples are."""
    _client().projects.make_public(ids=[_project(name)])


def make_project(name: str) -> None:
    """Make a project, as its page does."""
    _client().projects.create(name=name, description="")


def child_of(dataset_id: str, project: str, name: str) -> str:
    """Make a dataset that adds a file to another one; return its id."""
    from clearml import Dataset

    made = Dataset.create(dataset_project=project, dataset_name=name, parent_datasets=[dataset_id])
    Path("added.txt").write_text("added")
    made.add_files("added.txt")
    made.finalize(auto_upload=True)
    return str(made.id)


def content_of(dataset_id: str) -> dict[str, bytes]:
    """The files of a dataset."""
    from clearml import Dataset

    return _tree(Dataset.get(dataset_id=dataset_id).get_local_copy())
