"""What a process takes at its beginning and its end: ``python benchmarks/processes.py``.

`start()`, the first thing that a process gets, with the imports that it needs for it, the second thing, the first thing that a
run gets after it has logged, and `stop()` while no tracker answers.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measuring
from files import write
from measuring import OURS, Line, Step, Way, at_most, seconds
from places import PLACES, TITLES

PLAIN = "plain SDK"
#: How long `stop()` may take in all, in seconds.
_STOP_TIMEOUT = 5.0
_WAITING = 10

_START = """
import sys, time
from tracelet import Experiment
exp = Experiment("bench", backend=sys.argv[1], artifacts=True)
began = time.perf_counter()
exp.start()
print(time.perf_counter() - began)
exp.stop()
"""

#: Programs that store `source.bin`, by who writes them, and programs that get it; these define `get`.
_STORE = {
    OURS: """
import sys
from tracelet import Experiment
with Experiment("bench", backend=sys.argv[1], artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("thing", "config").add_file("source.bin")).raise_for_errors()
print(0)
""",
    "mlflow": """
import mlflow
mlflow.set_experiment("plain")
with mlflow.start_run() as run:
    mlflow.log_artifact("source.bin")
open("run", "w").write(run.info.run_id)
""",
    "wandb": """
import wandb
with wandb.init(project="plain") as run:
    run.log_artifact("source.bin", name="thing", type="config").wait()
    open("run", "w").write(run.entity)
""",
    "clearml": """
from clearml import Task
task = Task.init("plain", "thing", auto_connect_frameworks=False, auto_resource_monitoring=False)
task.upload_artifact("thing", "source.bin", wait_on_upload=True)
open("run", "w").write(task.id)
task.close()
""",
}
_GET = {
    OURS: """
from tracelet import Experiment
exp = Experiment("bench", backend=sys.argv[1], artifacts=True)
def get(to):
    exp.get_artifact("thing").download(to)
""",
    "mlflow": """
import mlflow
def get(to):
    mlflow.artifacts.download_artifacts(run_id=open("run").read(), artifact_path="source.bin", dst_path=to)
""",
    "wandb": """
import wandb
def get(to):
    wandb.Api().artifact(open("run").read() + "/plain/thing:latest").download(to)
""",
    "clearml": """
from clearml import Task
def get(to):
    Task.get_task(open("run").read()).artifacts["thing"].get_local_copy()
""",
}
_TIMED = """
import sys, time
began = time.perf_counter()
{get}
get("got")
print(time.perf_counter() - began)
"""
#: It is the run that has logged which gets.
_GET_IN_A_RUN = """
import sys, time
from tracelet import Experiment
with Experiment("bench", backend=sys.argv[1], artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("thing", "config").add_file("source.bin")).raise_for_errors()
    began = time.perf_counter()
    exp.get_artifact("thing").download("got")
    took = time.perf_counter() - began
print(took)
"""
_DEAD = """
import sys, time
from tracelet import Experiment
exp = Experiment("bench", backend=["mlflow", "wandb", "clearml", "aim"], artifacts=True, routing="all")
exp.start()
for number in range(int(sys.argv[1])):
    exp.submit_artifact(exp.create_artifact(f"thing{number}", "config").add_object(number, "number"))
began = time.perf_counter()
exp.stop()
print(time.perf_counter() - began)
"""


def said_by(program: str, *arguments: str) -> str:
    """The last line that a program prints."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return (done.stdout.strip().splitlines() or [""])[-1]


@contextlib.contextmanager
def starting(backend: str) -> Iterator[Step]:
    yield lambda number: float(said_by(_START, backend))


@contextlib.contextmanager
def getting(who: str, backend: str) -> Iterator[Step]:
    """Get the first thing in a new process, or one more in this one."""
    write(Path("source.bin"), 1000)
    said_by(_STORE[who], backend)
    program = _TIMED.format(get=_GET[who])

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        return float(said_by(program, backend))

    yield step


@contextlib.contextmanager
def getting_in_a_run(backend: str) -> Iterator[Step]:
    """Log something in a new process, and get it in the same run."""
    write(Path("source.bin"), 1000)

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        return float(said_by(_GET_IN_A_RUN, backend))

    yield step


@contextlib.contextmanager
def getting_more(who: str, backend: str) -> Iterator[Step]:
    """Get things in a process that has got one."""
    write(Path("source.bin"), 1000)
    said_by(_STORE[who], backend)
    sys.argv[1] = backend
    names: dict[str, Any] = {"sys": sys}
    exec(_GET[who], names)
    yield lambda number: seconds(lambda: names["get"](uuid.uuid4().hex))


@contextlib.contextmanager
def stopping() -> Iterator[Step]:
    """Stop while no tracker answers, and see that everything waits in the outbox."""

    def step(number: int) -> float:
        before = waiting()
        took = float(said_by(_DEAD, str(_WAITING)))
        more = waiting() - before
        assert more >= _WAITING, f"{more} of {_WAITING} artifacts wait"
        return took

    yield step


def waiting() -> int:
    return len(list(Path("tracelet", "outbox").rglob("*.json")))


@contextlib.contextmanager
def nobody_answers(folder: Path) -> Iterator[dict[str, str]]:
    """Addresses on this machine at which nothing listens."""
    url = "http://127.0.0.1:9"
    yield {
        "MLFLOW_TRACKING_URI": url,
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": "0" * 40,
        **{f"CLEARML_{what}_HOST": url for what in ("API", "WEB", "FILES")},
        "CLEARML_API_ACCESS_KEY": "nobody",
        "CLEARML_API_SECRET_KEY": "nobody",
        "CLEARML_CONFIG_FILE": "{own}/clearml.conf",
        "TRACELET_AIM_REPO": "aim://127.0.0.1:9",
        "HOME": "{own}",
        "TRACELET_STOP_TIMEOUT": str(_STOP_TIMEOUT),
    }


def lines(*, quick: bool) -> list[Line]:
    places = {"local": measuring.nowhere, **{name: PLACES[name] for name in PLACES if not name.endswith("-offline")}}
    titles = {"local": "`local`", **TITLES}
    found = [
        Line(
            f"start-{name}",
            f"{titles[name]}: `start()`",
            {OURS: Way("processes:starting", {"backend": name.partition("-")[0]})},
            at_most(0.05),
            place,
        )
        for name, place in places.items()
    ]
    for name in ("local", "mlflow-server", "wandb-server", "clearml-server", "aim-disk"):
        backend = name.partition("-")[0]
        for which, function, more in (
            ("first", "getting", "the first 1 KB that a process gets, with its imports"),
            ("next", "getting_more", "the next 1 KB that it gets"),
        ):
            ways = {OURS: Way(f"processes:{function}", {"who": OURS, "backend": backend})}
            if backend in _GET:
                ways[PLAIN] = Way(f"processes:{function}", {"who": backend, "backend": backend})
            warm = 0 if which == "first" else 1
            found.append(Line(f"get-{which}-{name}", f"{titles[name]}: {more}", ways, None, places[name], warm=warm))
    for name in ("mlflow-disk", "mlflow-server"):
        ways = {OURS: Way("processes:getting_in_a_run", {"backend": "mlflow"})}
        title = f"{titles[name]}: the first 1 KB that a run gets after it has logged"
        found.append(Line(f"get-in-a-run-{name}", title, ways, None, places[name], warm=0))
    title = f"`stop()` with {_WAITING} artifacts while MLflow, W&B, ClearML and Aim are dead, none lost"
    ways = {OURS: Way("processes:stopping")}
    found.append(Line("stop-dead", title, ways, at_most(_STOP_TIMEOUT), nobody_answers, warm=0))
    return found


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
