"""ClearML puts nothing into a task that has ended: what comes later finds its way, and nobody's status is lost."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from servers import clearml_user, programs
from servers.clearml_hands import Hands
from servers.clearml_server import ClearmlServer
from servers.clearml_tasks import SILENT
from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import ArtifactType

QUEUED = """
import json, os
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig
PACE = float(os.environ["TEST_PACE"])
task = None
if USERS:
    from clearml import Task
    task = Task.init("users-project", "will be over", reuse_last_task_id=False, auto_connect_frameworks=False)
exp = Experiment(NAME, backend="clearml", artifacts=True, config=ExperimentConfig(deadline=15 * PACE, stop_timeout=8 * PACE))
exp.start()
artifact = exp.create_artifact("late", ArtifactType(KIND))
Path("late.bin").write_bytes(b"late")
artifact.add_file("late.bin")
results = exp.log_artifact(artifact)
exp.stop()
if USERS:
    task.close()
print(json.dumps([list(results), list(results.queued), task.id if USERS else None]))
"""
SYNC = """
import json, sys
from tracelet.cli import main
sys.argv = ["tracelet", "sync"]
out, sys.stdout = sys.stdout, sys.stderr
try:
    code = main()
except SystemExit as ended:
    code = ended.code
print(json.dumps(code or 0), file=out)
"""


def _environ(server: ClearmlServer, folder: Path) -> dict[str, str]:
    environ = {**server.environ(folder / "home"), "TRACELET_DIR": str(folder / "tracelet")}
    Path(environ["CLEARML_CONFIG_FILE"]).write_text("sdk.development.report_use_subprocess: false\n")
    return environ


def _tasks(server: ClearmlServer, experiment: str) -> list[dict[str, Any]]:
    """The tasks that people see in the experiment's project, oldest first."""
    stored = server.dump()
    (project,) = [one["id"] for one in stored["projects"].values() if one["name"] == experiment]
    found = [one for one in stored["tasks"].values() if one["project"] == project]
    return sorted(found, key=lambda one: str(one["created"]))


def _keys(task: dict[str, Any]) -> list[str]:
    return [one["key"] for one in task["execution"]["artifacts"]]


class Late:
    """A run that has ended, and an artifact of it that could not be delivered."""

    def __init__(self, server: ClearmlServer, folder: Path, experiment: str) -> None:
        self.server = server
        self._folder = folder
        self._experiment = experiment
        self._environ = _environ(server, folder)

    def log(self, *, users: bool, kind: str = "custom") -> str:
        """Run the program; return the id of the task that its run had."""
        self.server.fail({"match": "files.POST", "kind": "503", "times": 1000})
        code = QUEUED.replace("NAME", repr(self._experiment)).replace("USERS", str(users)).replace("KIND", repr(kind))
        stored, queued, task = programs.run(code, self._folder / "program", self._environ)
        assert (stored, queued) == ([], ["clearml"])
        self.server.fail()
        self.server.calls(clear=True)
        return task or _tasks(self.server, self._experiment)[0]["id"]  # type: ignore[no-any-return]

    def sync(self) -> int:
        """Run ``tracelet sync``; return its exit code."""
        return programs.run(SYNC, self._folder / "sync", self._environ)  # type: ignore[no-any-return]


@pytest.fixture
def late(server: ClearmlServer, tmp_path: Path, experiment: str) -> Late:
    """A program that leaves something to deliver."""
    return Late(server, tmp_path, experiment)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("completed", "custom"), ("completed", "model"), ("failed", "custom"), ("stopped", "model")],
)
def test_an_ended_task_of_ours_is_opened_for_what_is_late_and_put_back(
    hands: Hands, server: ClearmlServer, late: Late, experiment: str, status: str, kind: str
) -> None:
    key = late.log(users=False, kind=kind)
    server.set_status(key, status)
    assert late.sync() == 0
    (task,) = _tasks(server, experiment)
    assert (task["id"], task["status"]) == (key, status)
    if kind == "model":
        assert [one["name"] for one in task["models"]["output"]] == ["late.v0"]
        (model,) = hands.user.call(clearml_user.models, experiment, "late")
        assert list(model["content"].values()) == [b"late"]
    else:
        assert _keys(task) == ["late.v0"]
    assert [one.version for one in hands.open(experiment).list("late")] == ["v0"]
    names = [call["name"] for call in server.calls()]
    assert names.count("tasks.started") == 1
    assert names.count("files.POST") == 1


@pytest.mark.parametrize("status", ["published", "closed"])
def test_beside_a_published_task_of_ours_there_is_a_new_one(
    server: ClearmlServer, late: Late, experiment: str, status: str
) -> None:
    key = late.log(users=False)
    server.set_status(key, status)
    assert late.sync() == 0
    old, new = _tasks(server, experiment)
    assert (old["id"], old["status"], _keys(old)) == (key, status, [])
    assert (new["status"], new["parent"], _keys(new)) == ("completed", key, ["late.v0"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "custom") for status in ("completed", "failed", "stopped", "published", "queued")),
        ("completed", "model"),
        ("completed", "dataset"),
    ],
)
def test_an_ended_task_of_the_users_is_never_touched(
    hands: Hands, server: ClearmlServer, late: Late, experiment: str, status: str, kind: str
) -> None:
    """The run gets a task of its own, which names the user's, and is listed below it."""
    key = late.log(users=True, kind=kind)
    server.set_status(key, status)
    before = server.dump()["tasks"][key]
    assert late.sync() == 0
    assert server.dump()["tasks"][key] == before
    (task,) = _tasks(server, experiment)
    assert (task["status"], task["parent"]) == ("completed", key)
    assert key in task["comment"]
    assert "will be over" in task["comment"]
    (found,) = hands.open(experiment).list("late")
    if kind == "custom":
        assert _keys(task) == ["late.v0"]
    if kind == "model":
        assert [one["model"] for one in task["models"]["output"]] == [found.locator["place"]["entity"]]
    if kind == "dataset":
        assert server.dump()["tasks"][found.locator["place"]["entity"]]["parent"] == task["id"]


CLOSED = """
import json
from clearml import Task
from tracelet import ArtifactType, Experiment
task = Task.init("users-project", "closed early", reuse_last_task_id=False, auto_connect_frameworks=False)
with Experiment(NAME, backend="clearml", artifacts=True) as exp:
    for number in range(3):
        artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
        artifact.add_object(number, "x")
        assert exp.log_artifact(artifact).ok
        if number == 0:
            task.close()
print(json.dumps(task.id))
"""


def test_a_run_goes_on_when_the_user_closes_their_task(server: ClearmlServer, tmp_path: Path, experiment: str) -> None:
    key = programs.run(CLOSED.replace("NAME", repr(experiment)), tmp_path / "program", _environ(server, tmp_path))
    assert _keys(server.dump()["tasks"][key]) == ["data.v0"]
    (task,) = _tasks(server, experiment)
    assert (task["status"], task["parent"], _keys(task)) == ("completed", key, ["data.v1", "data.v2"])


@pytest.mark.parametrize("kind", ["custom", "model", "dataset"])
def test_a_task_of_ours_that_the_watchdog_stopped_goes_on(
    hands: Hands, server: ClearmlServer, experiment: str, kind: str
) -> None:
    """ClearML stops what it has not heard of for two hours, such as a run that trains for long."""
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("data", {"x": b"1"}, type=ArtifactType(kind)))
    (task,) = _tasks(server, experiment)
    server.forget(task["id"])
    sealed = hands.samples.seal("data", {"x": b"2"}, type=ArtifactType(kind))
    opened.put(sealed)
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"2"}
    assert [one["status"] for one in _tasks(server, experiment)] == ["in_progress"]
    server.forget(task["id"])
    opened.close()
    (task,) = _tasks(server, experiment)
    assert task["status"] == "completed"
    assert len(_keys(task)) + len(task["models"]["output"]) == (0 if kind == "dataset" else 2)


def test_the_server_hears_of_a_run_that_puts_nothing_into_its_task(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """Datasets are tasks of their own: by them alone the run's would be silent."""
    opened = hands.open(experiment)
    opened.start()
    (task,) = _tasks(server, experiment)
    for number in range(3):
        opened.put(hands.samples.seal("set", {"x": b"%d" % number}, type=ArtifactType.DATASET))
    assert _tasks(server, experiment)[0]["last_update"] > task["last_update"]
    opened.close()


def test_a_task_that_somebody_published_stays_published_when_the_run_ends(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    opened = hands.open(experiment)
    opened.put(hands.samples.seal("data", {"x": b"1"}))
    (task,) = _tasks(server, experiment)
    server.set_status(task["id"], "published")
    opened.close()
    assert [one["status"] for one in _tasks(server, experiment)] == ["published"]


@pytest.mark.parametrize("kind", ["custom", "model"])
@pytest.mark.parametrize("status", ["completed", "failed", "stopped", "published"])
def test_a_task_that_ends_while_the_bytes_are_on_their_way_is_looked_at_again(
    hands: Hands, server: ClearmlServer, experiment: str, status: str, kind: str
) -> None:
    """Once, and without sending the bytes again."""
    opened = hands.open(experiment)
    opened.start()
    (task,) = _tasks(server, experiment)
    server.calls(clear=True)
    server.fail({"match": "files.POST", "kind": "becomes", "task": task["id"], "status": status})
    sealed = hands.samples.seal("data", {"x": b"1"}, type=ArtifactType(kind))
    stored = opened.put(sealed)
    assert [call["name"] for call in server.calls()].count("files.POST") == 1
    assert hands.content(hands.open(experiment, "reader"), sealed) == {"x": b"1"}
    first, *others = _tasks(server, experiment)
    holder = others[0] if status == "published" else first
    assert stored.locator["place"]["task"] == holder["id"]
    assert [*_keys(holder), *(one["name"] for one in holder["models"]["output"])] == ["data.v0"]
    assert first["status"] == ("in_progress" if status == "stopped" else status)
    assert len(others) == (status == "published")
    opened.close()


def test_a_task_whose_status_never_holds_still_is_given_up(
    hands: Hands, server: ClearmlServer, experiment: str
) -> None:
    """It is tried twice, and waits then like all else that fails."""
    opened = hands.open(experiment)
    opened.start()
    (task,) = _tasks(server, experiment)
    match = {"match": "add_or_update_artifacts", "task": task["id"], "times": 1000}
    server.fail({**match, "kind": "becomes", "status": "completed"})
    server.calls(clear=True)
    with pytest.raises(Exception, match="does not let the task be changed"):
        opened.put(hands.samples.seal("data", {"x": b"1"}))
    assert [call["name"] for call in server.calls()].count("tasks.add_or_update_artifacts") == 2
    server.fail()
    assert opened.find("data") is None
    opened.close()


@pytest.mark.parametrize("match", ["tasks.add_or_update_artifacts", "tasks.failed"])
def test_a_status_is_put_back_though_the_write_or_the_putting_back_fails(
    hands: Hands, server: ClearmlServer, experiment: str, match: str
) -> None:
    """A task that was left open says what it was; whoever opens it next puts it back."""
    run = uuid.uuid4().hex
    first = hands.open(experiment, run=run)
    first.start()
    first.close(failed=True)
    opened = hands.open(experiment, "later", run=run)
    opened.start()
    sealed = hands.samples.seal("data", {"x": b"1"})
    server.fail({"match": match, "kind": "503", "times": 1000})
    with pytest.raises(BackendUnavailable):
        opened.put(sealed)
    server.fail()
    if match != "tasks.failed":
        assert [one["status"] for one in _tasks(server, experiment)] == ["failed"]
    opened.close()
    last = hands.open(experiment, "last", run=run)
    last.deliver(sealed, again=True)
    last.close()
    (task,) = _tasks(server, experiment)
    assert (task["status"], _keys(task)) == ("failed", ["data.v0"])


def test_why_a_task_was_stopped_is_still_told_after_it_was_opened(
    server: ClearmlServer, late: Late, experiment: str
) -> None:
    key = late.log(users=False)
    server.set_status(key, "in_progress")
    server.forget(key)
    assert late.sync() == 0
    (task,) = _tasks(server, experiment)
    assert (task["status"], task["status_reason"], task["status_message"]) == ("stopped", SILENT, SILENT)
    assert _keys(task) == ["late.v0"]


@pytest.mark.parametrize("kind", ["custom", "model"])
def test_a_deleted_version_is_no_longer_listed_by_an_ended_task_of_ours(
    hands: Hands, server: ClearmlServer, experiment: str, kind: str
) -> None:
    opened = hands.open(experiment)
    stored = opened.put(hands.samples.seal("data", {"x": b"1"}, type=ArtifactType(kind)))
    opened.close()
    other = hands.open(experiment, "reader")
    other.delete(stored)
    assert other.list() == []
    (task,) = _tasks(server, experiment)
    assert (task["status"], _keys(task), task["models"]["output"]) == ("completed", [], [])


USERS = """
import json
from clearml import Task
from tracelet import ArtifactType, Experiment
task = Task.init("users-project", "over", reuse_last_task_id=False, auto_connect_frameworks=False)
with Experiment(NAME, backend="clearml", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(1, "x")
    assert exp.log_artifact(artifact).ok
task.close()
print(json.dumps(task.id))
"""


def test_what_a_task_of_the_users_still_lists_after_a_deletion_is_told(
    hands: Hands, server: ClearmlServer, tmp_path: Path, experiment: str
) -> None:
    """The record and the bytes are gone; the entry cannot be taken out of a task that has ended."""
    key = programs.run(USERS.replace("NAME", repr(experiment)), tmp_path / "program", _environ(server, tmp_path))
    before = server.dump()["tasks"][key]
    opened = hands.open(experiment, "deleter")
    (stored,) = opened.list("data")
    opened.delete(stored)
    assert opened.list() == []
    assert server.dump()["tasks"][key] == before
    assert f"the ClearML task {key} still lists it" in hands.said("deleter")
    (blob,) = stored.locator["place"]["blobs"]
    assert not (server.files / blob["uri"].removeprefix(server.files_url).lstrip("/")).exists()


@pytest.mark.parametrize("kind", ["custom", "model", "dataset"])
def test_what_an_ended_run_used_is_noted_in_its_task(
    hands: Hands, server: ClearmlServer, experiment: str, kind: str
) -> None:
    run = uuid.uuid4().hex
    opened = hands.open(experiment, run=run)
    stored = opened.put(hands.samples.seal("used", {"x": b"1"}, type=ArtifactType(kind)))
    opened.close()
    later = hands.open(experiment, "later", run=run)
    later.record_input(stored)
    (task,) = _tasks(server, experiment)
    noted = [one["name"] for one in task["models"]["input"]]
    noted += [name for section in task["hyperparams"].values() for name in section]
    assert (task["status"], noted) == ("completed", ["used v0"])
    later.close()
