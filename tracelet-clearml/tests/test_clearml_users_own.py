"""A program that uses ClearML itself: its task is attached to, and nothing of it is disturbed or ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from servers import clearml_user, programs
from servers.clearml_hands import Hands, processes_with
from servers.clearml_server import ClearmlServer
from tracelet.plugin import Labels


def _environ(server: ClearmlServer, folder: Path) -> dict[str, str]:
    """A home of its own; ClearML's reporting without a process of its own, whose end takes ten seconds."""
    environ = {**server.environ(folder / "home"), "TRACELET_DIR": str(folder / "tracelet")}
    Path(environ["CLEARML_CONFIG_FILE"]).write_text("sdk.development.report_use_subprocess: false\n")
    return environ


BESIDE = """
import json, os, random, signal, sys, time
import numpy
from tracelet import ArtifactType, Experiment
EARLIER = KIND == "task first"
if EARLIER:
    from clearml import Task
    task = Task.init("users-project", "the user's", reuse_last_task_id=False)
random.seed(7); numpy.random.seed(7)
def state():
    return [
        repr(sys.excepthook), repr(signal.getsignal(signal.SIGINT)), repr(signal.getsignal(signal.SIGTERM)),
        repr(sys.stdout), repr(sys.stderr), hash(random.getstate()), numpy.random.get_state()[1].tolist(),
        sorted(key for key in os.environ if "CLEARML" in key),
    ]
before = state()
exp = Experiment(NAME, backend="clearml", artifacts=True)
exp.start()
for number in range(2):
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(number, "x")
    results = exp.log_artifact(artifact)
    assert results.ok, results
exp.stop()
same = state() == before
loaded = "clearml" in sys.modules
if not EARLIER:
    from clearml import Task
    task = Task.init("users-project", "the user's", reuse_last_task_id=False)
status = str(task.get_status())
from pathlib import Path
Path("own.txt").write_text("own")
task.upload_artifact("own", Path("own.txt").absolute(), wait_on_upload=True)
task.close()
print(json.dumps([same, loaded, status, task.id]))
"""


def test_the_users_task_gets_the_artifacts_and_goes_on(hands: Hands, tmp_path: Path, experiment: str) -> None:
    """No seed, no handler, no stream and no variable of the user's process is touched."""
    code = BESIDE.replace("NAME", repr(experiment)).replace("KIND", '"task first"')
    environ = _environ(hands.server, tmp_path)
    same, _, status, task = programs.run(code, tmp_path / "program", environ)
    assert same
    assert status == "in_progress"
    shown = hands.user.call(clearml_user.task_artifacts, task)
    assert {"data.v0", "data.v1", "own"} <= set(shown)
    assert hands.user.call(clearml_user.tasks, experiment) == []
    opened = hands.open(experiment)
    assert [one.version for one in opened.list("data")] == ["v1", "v0"]


def test_without_a_task_of_the_users_the_run_has_its_own(hands: Hands, tmp_path: Path, experiment: str) -> None:
    """And the user's process never loads the SDK; a task that begins later is the user's alone."""
    code = BESIDE.replace("NAME", repr(experiment)).replace("KIND", '"task last"')
    environ = _environ(hands.server, tmp_path)
    same, loaded, status, task = programs.run(code, tmp_path / "program", environ)
    assert (same, loaded, status) == (True, False, "in_progress")
    (own,) = hands.user.call(clearml_user.tasks, experiment)
    assert (own["status"], own["id"] == task) == ("completed", False)
    assert set(hands.user.call(clearml_user.task_artifacts, task)) == {"own"}


KILLED = """
import os, signal, time
from pathlib import Path
from tracelet import ArtifactType, Experiment
exp = Experiment(NAME, backend="clearml", artifacts=True)
exp.start()
artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
artifact.add_object(1, "x")
assert exp.log_artifact(artifact).ok
Path("logged").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_program_that_is_killed_leaves_a_failed_task_and_no_process(
    hands: Hands, tmp_path: Path, experiment: str
) -> None:
    """ClearML by itself shows such a task as running for ever."""
    environ = _environ(hands.server, tmp_path)
    process = programs.begin(KILLED.replace("NAME", repr(experiment)), tmp_path / "program", environ)
    process.communicate(timeout=600)
    began = time.monotonic()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "program" / "logged").exists()
    while processes_with(environ["TRACELET_DIR"]):
        assert programs.soon(time.monotonic() - began, 60), "something of the program is left"
        time.sleep(0.05)
    (task,) = hands.user.call(clearml_user.tasks, experiment)
    assert task["status"] == "failed"


@pytest.mark.parametrize("variable", ["CLEARML_PROC_MASTER_ID", "CLEARML_TASK_ID"])
def test_a_process_that_belongs_to_the_users_task_is_not_taken_for_it(
    hands: Hands, server: ClearmlServer, experiment: str, variable: str
) -> None:
    """ClearML marks the processes below its task so, and its SDK would go on in that task by itself."""
    (pattern,) = [hands.open(experiment).put(hands.samples.seal("seed", {"x": b"1"}))]
    key = pattern.locator["place"]["task"]
    value = f"{os.getpid()}:{key}" if "PROC" in variable else key
    opened = hands.open(experiment, f"below-{variable}", {variable: value})
    opened.put(hands.samples.seal("model", {"x": b"1"}), Labels("1.0"))
    opened.close()
    assert server.dump()["tasks"][key]["status"] == "in_progress"
    tasks = hands.user.call(clearml_user.tasks, experiment)
    assert sorted(task["status"] for task in tasks) == ["completed", "in_progress"]


IN_CODE = """
import json, os
from clearml import Task
Task.set_credentials(HOST, HOST, FILES, KEY, SECRET)
from tracelet import ArtifactType, Experiment
with Experiment(NAME, backend="clearml", artifacts=True) as exp:
    artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
    artifact.add_object(1, "x")
    print(json.dumps(exp.log_artifact(artifact)["clearml"].version))
"""


CAPTURING = """
import json
import joblib, numpy, torch
from clearml import OutputModel, Task
from sklearn.linear_model import LogisticRegression
from tracelet import Experiment

x = numpy.linspace(0, 1, 24).reshape(8, 3)
exp = Experiment("beside", artifacts=True, automagic_artifacts=ON).start()
task = Task.init("users-project", "saving", reuse_last_task_id=False, output_uri=True)
model, net = LogisticRegression().fit(x, x[:, 0] > 0.5), torch.nn.Linear(3, 1)
torch.save(net.state_dict(), "net.pt")
joblib.dump(model, "sorter.joblib", compress=True)
task.upload_artifact("pickled", model, wait_on_upload=True)
OutputModel(task, name="handed over").update_weights("net.pt", auto_delete_file=False, async_enable=False)
exp.stop()
task.flush(wait_for_uploads=True)
task.reload()
outputs = sorted((one.name, one.url.rpartition("/")[2]) for one in task.models["output"])
taken = [outputs, sorted(task.artifacts), str(task.get_status())]
task.close()
print(json.dumps([taken, sorted([one.name, one.version, one.type.value] for one in exp.list_artifacts())]))
"""


def test_what_clearml_takes_of_saves_is_the_same_with_capture_and_captured_once(hands: Hands, tmp_path: Path) -> None:
    """Its task wraps the functions that save, and uploads a pickled model from a temporary folder of its own."""
    (off, nothing), (on, stored) = (
        programs.run(
            CAPTURING.replace("=ON", f"={on}"), tmp_path / f"program-{on}", _environ(hands.server, tmp_path / str(on))
        )
        for on in (False, True)
    )
    assert on == off
    outputs, artifacts, status = on
    assert ["handed over", "net.pt"] in outputs
    assert len(outputs) > 1
    assert [artifacts, status] == [["pickled"], "in_progress"]
    assert nothing == []
    assert stored == [["net-weights", "v0", "weights"], ["sorter-model", "v0", "model"]]


def test_credentials_that_the_users_code_sets_are_used(hands: Hands, tmp_path: Path, experiment: str) -> None:
    environ = _environ(hands.server, tmp_path)
    code = IN_CODE.replace("NAME", repr(experiment))
    for word, variable in (
        ("HOST", "CLEARML_API_HOST"),
        ("FILES", "CLEARML_FILES_HOST"),
        ("KEY", "CLEARML_API_ACCESS_KEY"),
        ("SECRET", "CLEARML_API_SECRET_KEY"),
    ):
        code = code.replace(word, repr(environ.pop(variable)))
    del environ["CLEARML_WEB_HOST"]
    assert programs.run(code, tmp_path / "program", environ) == "v0"
    assert [one.version for one in hands.open(experiment).list()] == ["v0"]


ON_A_TERMINAL = """
import os
from tracelet import ArtifactType, Experiment, ExperimentConfig
PACE = float(os.environ["TEST_PACE"])
exp = Experiment("terminal", backend="clearml", artifacts=True, config=ExperimentConfig(deadline=8 * PACE, stop_timeout=4))
exp.start()
artifact = exp.create_artifact("data", ArtifactType.CUSTOM)
artifact.add_object(1, "x")
results = exp.log_artifact(artifact)
exp.stop()
print([str(error) for error in results.queued.values()])
"""


def test_nothing_is_asked_on_a_terminal(server: ClearmlServer, tmp_path: Path) -> None:
    """Where there are no credentials the program goes on, and is told what to set."""
    environ = {**_environ(server, tmp_path), "CLEARML_API_ACCESS_KEY": "", "CLEARML_API_SECRET_KEY": ""}
    began = time.monotonic()
    shown = programs.on_a_terminal(["-c", ON_A_TERMINAL], tmp_path, environ, 30)
    assert programs.soon(time.monotonic() - began, 30)
    assert b"CLEARML_API_ACCESS_KEY" in shown
    assert not processes_with(environ["TRACELET_DIR"])
