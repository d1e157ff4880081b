"""Small artifacts in every tracker, beside the same job by hand with its SDK: ``python benchmarks/trackers.py``.

    python benchmarks/trackers.py [--only aim-disk,mlflow-server] [--times 20] [--rounds 3]

By hand means one file of 1 KB, a manifest of it, and an entry by which a later process finds both. MLflow and Aim are
the real servers; W&B and ClearML the real client and a stand-in server. Rounds of both alternate, each in a process of
its own; the first calls of each do not count. Prints one line a tracker: medians in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers import programs
from servers.aim_server import AimServer
from servers.clearml_server import ClearmlServer
from servers.mlflow_server import MlflowServer
from servers.wandb_server import wandb_server

#: Calls that are made before any is timed.
_WARM = 3

Step = Callable[[int], object]


def write(name: str) -> Path:
    """Write a file of 1 KB that nobody stored before."""
    path = Path(name)
    path.write_bytes(os.urandom(1024))
    # Older than the clock's tick, as a file is that was written before the last epoch.
    os.utime(path, (time.time() - 60, time.time() - 60))
    return path


def manifest_of(number: int) -> str:
    """Write a file and its manifest; return the manifest's text."""
    path = write("weights.bin")
    entry = {"path": path.name, "size_bytes": 1024, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    text = json.dumps({"name": "thing", "version": number, "files": [entry]})
    Path("manifest.json").write_text(text)
    return text


@contextlib.contextmanager
def mlflow_by_hand() -> Iterator[Step]:
    from mlflow import MlflowClient

    client = MlflowClient()
    run = client.create_run(client.create_experiment(f"by-hand-{time.time_ns()}")).info.run_id

    def step(number: int) -> None:
        text = manifest_of(number)
        client.log_artifact(run, "weights.bin", f"thing/v{number}")
        client.log_artifact(run, "manifest.json", f"thing/v{number}")
        client.set_tag(run, f"v{number}", text)

    yield step


@contextlib.contextmanager
def aim_by_hand() -> Iterator[Step]:
    from aim import Run

    run = Run(repo=os.environ["TRACELET_AIM_REPO"], system_tracking_interval=None, capture_terminal_logs=False)
    run.set_artifacts_uri(Path("artifacts").absolute().as_uri())

    def step(number: int) -> None:
        text = manifest_of(number)
        run.log_artifact("weights.bin", f"thing/v{number}/weights.bin", block=True)
        run.log_artifact("manifest.json", f"thing/v{number}/manifest.json", block=True)
        run["thing", f"v{number}"] = json.loads(text)

    yield step
    run.close()


@contextlib.contextmanager
def wandb_by_hand() -> Iterator[Step]:
    import wandb

    run = wandb.init(project="by-hand")

    def step(number: int) -> None:
        text = manifest_of(number)
        artifact = wandb.Artifact("thing", type="config", metadata=json.loads(text))
        artifact.add_file("weights.bin")
        artifact.add_file("manifest.json")
        run.log_artifact(artifact).wait()

    yield step
    run.finish()


@contextlib.contextmanager
def clearml_by_hand() -> Iterator[Step]:
    from clearml import Task

    def step(number: int) -> None:
        text = manifest_of(number)
        # A task's artifacts overwrite each other by name, and are found by the task's tags.
        task = Task.create("by-hand", f"thing v{number}", task_type=Task.TaskTypes.custom)
        task.set_tags(["thing", f"v{number}"])
        task.upload_artifact("weights", "weights.bin", metadata=json.loads(text), wait_on_upload=True)
        task.upload_artifact("manifest", "manifest.json", wait_on_upload=True)
        task.mark_completed()

    yield step


@contextlib.contextmanager
def by_tracelet(backends: list[str]) -> Iterator[tuple[Step, Step]]:
    from tracelet import ArtifactType, Experiment

    with Experiment("by-tracelet", backend=backends, artifacts=True, routing="all") as exp:

        def step(number: int) -> None:
            artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_file(write("weights.bin"))
            exp.log_artifact(artifact).raise_for_errors()

        def same(number: int) -> None:
            artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_file("weights.bin")
            exp.log_artifact(artifact).raise_for_errors()

        yield step, same


BY_HAND = {"mlflow": mlflow_by_hand, "aim": aim_by_hand, "wandb": wandb_by_hand, "clearml": clearml_by_hand}


def timed(step: Step, times: int) -> list[float]:
    """Take a step so many times; return how long each took, in seconds."""
    for number in range(_WARM):
        step(-1 - number)
    took = []
    for number in range(times):
        began = time.perf_counter()
        step(number)
        took.append(time.perf_counter() - began)
    return took


def child(who: str, backend: str, times: int) -> None:
    """What the processes that are measured do."""
    if who == "hand":
        with BY_HAND[backend]() as step:
            print("\n" + json.dumps({"new": timed(step, times)}))
        return
    with by_tracelet(backend.split("+")) as (step, same):
        print("\n" + json.dumps({"new": timed(step, times), "same": timed(same, times)}))


@contextlib.contextmanager
def mlflow_on_disk(folder: Path) -> Iterator[dict[str, str]]:
    yield {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}


@contextlib.contextmanager
def mlflow_served(folder: Path) -> Iterator[dict[str, str]]:
    with MlflowServer(folder) as server:
        yield {"MLFLOW_TRACKING_URI": server.url}


@contextlib.contextmanager
def aim_on_disk(folder: Path) -> Iterator[dict[str, str]]:
    yield {"TRACELET_AIM_REPO": str(folder)}


@contextlib.contextmanager
def aim_served(folder: Path) -> Iterator[dict[str, str]]:
    with AimServer(folder) as server:
        yield {"TRACELET_AIM_REPO": server.address}


@contextlib.contextmanager
def wandb_served(folder: Path) -> Iterator[dict[str, str]]:
    with wandb_server(folder) as server:
        yield server.environ(folder / "home")


@contextlib.contextmanager
def clearml_served(folder: Path) -> Iterator[dict[str, str]]:
    with ClearmlServer(folder) as server:
        yield server.environ(folder / "home")


PLACES = {
    "mlflow-disk": mlflow_on_disk,
    "mlflow-server": mlflow_served,
    "aim-disk": aim_on_disk,
    "aim-server": aim_served,
    "wandb-server": wandb_served,
    "clearml-server": clearml_served,
}


def measure(place: str, folder: Path, times: int, rounds: int) -> None:
    """Measure one tracker, and print its line."""
    backend = place.partition("-")[0]
    script = f"import runpy, sys; sys.argv = ['trackers', '--child', '{{}}', '{{}}', '{times}']; "
    script += f"runpy.run_path({str(Path(__file__).absolute())!r}, run_name='__main__')"
    found: dict[str, list[float]] = {"hand": [], "new": [], "same": [], "two": []}
    with PLACES[place](folder) as environ:
        for number in range(rounds):
            home = folder / f"round-{number}"
            variables = {**environ, "TRACELET_DIR": str(home / "tracelet"), "TRACELET_DEADLINE": "60"}
            found["hand"] += programs.run(script.format("hand", backend), home / "hand", variables)["new"]
            ours = programs.run(script.format("tracelet", backend), home / "ours", variables)
            found["new"] += ours["new"]
            found["same"] += ours["same"]
            found["two"] += programs.run(script.format("tracelet", f"{backend}+local"), home / "two", variables)["new"]
    hand, new, same, two = (1000 * statistics.median(found[key]) for key in ("hand", "new", "same", "two"))
    print(
        f"{place:<16}{hand:>9.1f}{new:>10.1f}{new / hand:>8.2f}{same:>10.1f}{two:>14.1f}{two / new:>8.2f}", flush=True
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join(PLACES), help="trackers, with commas between them")
    options.add_argument("--times", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child:
        child(chosen.child[0], chosen.child[1], int(chosen.child[2]))
        return
    print(f"{'':<16}{'by hand':>9}{'tracelet':>10}{'ratio':>8}{'again':>10}{'with local':>14}{'ratio':>8}")
    for place in chosen.only.split(","):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            measure(place, Path(name), chosen.times, chosen.rounds)


if __name__ == "__main__":
    main()
