"""Tracelet, the trackers' own SDKs and a plain copy as ways of `growth.py`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from files import fresh_folder, write
from growth_peers import in_processes, in_threads
from timing import GrowthStep, growing, rate, seconds, storing

TRACELET = str(Path(sys.executable).with_name("tracelet"))


@contextlib.contextmanager
def versions(backend: str) -> Iterator[GrowthStep]:
    """Log on under one name."""
    from tracelet import ArtifactType, Experiment

    with Experiment("many", backend=backend, artifacts=True) as exp:
        reader = Experiment("many", backend=backend, artifacts=True)

        def log(number: int) -> None:
            artifact = exp.create_artifact("thing", ArtifactType.DATASET)
            exp.log_artifact(artifact.add_file(write(Path("source.bin"), 100))).raise_for_errors()

        yield growing(
            log, lambda number: reader.get_artifact("thing").download("got"), lambda: len(reader.list_artifacts())
        )


@contextlib.contextmanager
def names() -> Iterator[GrowthStep]:
    """Log a new name each time."""
    from tracelet import ArtifactType, Experiment

    with Experiment("many", artifacts=True) as exp:
        reader = Experiment("many", artifacts=True)

        def log(number: int) -> None:
            artifact = exp.create_artifact(f"name{number}", ArtifactType.DATASET)
            exp.log_artifact(artifact.add_file(write(Path("source.bin"), 100))).raise_for_errors()

        yield growing(
            log,
            lambda number: reader.get_artifact(f"name{number}").download("got"),
            lambda: len(reader.list_artifacts()),
        )


@contextlib.contextmanager
def mlflow_versions() -> Iterator[GrowthStep]:
    """A folder for each version in the artifacts of one run."""
    import mlflow

    mlflow.set_experiment(f"plain-{time.time_ns()}")
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        last = 0

        def log(number: int) -> None:
            nonlocal last
            last = number
            mlflow.log_artifact(str(write(Path("source.bin"), 100)), f"thing/v{number}")

        yield growing(
            log,
            lambda number: mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path=f"thing/v{last}", dst_path="got"
            ),
            lambda: len(client.list_artifacts(run.info.run_id, "thing")),
        )


@contextlib.contextmanager
def stored(count: int, size: int) -> Iterator[GrowthStep]:
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", artifacts=True) as exp:
        reader = Experiment("bench", artifacts=True)

        def log(folder: Path) -> None:
            artifact = exp.create_artifact("data", ArtifactType.DATASET)
            exp.log_artifact(artifact.add_dir(folder)).raise_for_errors()

        def get() -> Path:
            return Path(reader.get_artifact("data").download("got"))

        def forget() -> None:
            reader.get_artifact("data").delete(force=True)
            shutil.rmtree("got")

        # The first calls import what the others need.
        log(fresh_folder(1, 10))
        get()
        forget()
        yield storing(log, get, forget, count=count, size=size)


@contextlib.contextmanager
def copied(count: int, size: int) -> Iterator[GrowthStep]:
    def forget() -> None:
        shutil.rmtree("copies")
        shutil.rmtree("got")

    yield storing(
        lambda folder: shutil.copytree(folder, "copies"),
        lambda: Path(shutil.copytree("copies", "got")),
        forget,
        count=count,
        size=size,
    )


#: The order in which they are added.
BACKENDS = ("local", "mlflow", "wandb", "clearml", "aim")


@contextlib.contextmanager
def into_backends(n: int) -> Iterator[GrowthStep]:
    from tracelet import ArtifactType, Experiment

    with Experiment("at-once", backend=BACKENDS[:n], artifacts=True, routing="all") as exp:

        def log(folder: Path) -> None:
            results = exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_dir(folder))
            results.raise_for_errors()

        log(fresh_folder(1, 1000))

        def step(number: int) -> dict[str, float]:
            folder = fresh_folder(1, 1000)
            return {"log": seconds(lambda: log(folder))}

        yield step


@contextlib.contextmanager
def into_sdks(n: int) -> Iterator[GrowthStep]:
    """One after the other, in one process; a plain copy for `local`."""
    # It imports much, which is not to be in the other ways' memory.
    from trackers import STORES

    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(STORES["plain SDK"][name]()) for name in BACKENDS[1:n]]

        def log(folder: Path, number: int) -> None:
            shutil.copytree(folder, Path("copies", str(number)))
            for store in stores:
                store(folder, number)

        log(fresh_folder(1, 1000), -1)

        def step(number: int) -> dict[str, float]:
            folder = fresh_folder(1, 1000)
            return {"log": seconds(lambda: log(folder, number))}

        yield step


@contextlib.contextmanager
def threads(total: int) -> Iterator[GrowthStep]:
    from tracelet import ArtifactType, Experiment

    with Experiment("at-once", artifacts=True) as exp:

        def log(name: str, count: int) -> None:
            for number in range(count):
                path = write(Path(f"{name}-{number}"), 1000)
                exp.log_artifact(exp.create_artifact(name, ArtifactType.DATASET).add_file(path)).raise_for_errors()

        yield lambda number, n: rate(total, lambda: in_threads(n, total, log))


#: A process that logs its share when it is told to, and says so.
_ONE = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from files import write
from tracelet import Experiment
with Experiment("at-once", artifacts=True) as exp:
    for order in sys.stdin:
        for number in range(int(order)):
            path = write(Path(sys.argv[1] + "-" + str(number)), 1000)
            exp.log_artifact(exp.create_artifact(sys.argv[1], "dataset").add_file(path)).raise_for_errors()
        print("done", file=sys.stderr, flush=True)
"""


@contextlib.contextmanager
def processes(total: int) -> Iterator[GrowthStep]:
    program = _ONE.format(here=str(Path(__file__).parent))
    yield lambda number, n: in_processes(n, total, program)


#: How many are submitted more.
_MORE = 9
#: Submits so many while `local` cannot be written, says what the start and a submit took, and is killed.
_SUBMIT = """
import json, os, signal, statistics, sys, time
from tracelet import Experiment
exp = Experiment("waiting", artifacts=True)
began = time.perf_counter()
exp.start()
took = {"start": time.perf_counter() - began}
submits = []
for number in range(int(sys.argv[1])):
    began = time.perf_counter()
    exp.submit_artifact(exp.create_artifact("it", "config").add_object([number, os.getpid()], "it"))
    submits.append(time.perf_counter() - began)
took["submit"] = statistics.median(submits)
print(json.dumps(took), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextlib.contextmanager
def outbox(n: int) -> Iterator[GrowthStep]:
    """A program submits; the next one starts, and submits more; `tracelet sync` delivers all."""
    folder = Path(os.environ["TRACELET_DIR"])
    folder.mkdir()

    def submit(count: int) -> dict[str, float]:
        done = subprocess.run([sys.executable, "-c", _SUBMIT, str(count)], capture_output=True, text=True, check=False)
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return took

    def step(number: int) -> dict[str, float]:
        kept = folder / "kept"
        # Its folder is no folder: nothing can be delivered.
        if (folder / "local").is_dir():
            (folder / "local").rename(kept)
        (folder / "local").touch()
        if n:
            submit(n)
        took = submit(_MORE)
        (folder / "local").unlink()
        if kept.exists():
            kept.rename(folder / "local")
        said: list[bytes] = []

        def sync() -> None:
            said.append(subprocess.run([TRACELET, "sync", "--json"], check=True, capture_output=True).stdout)

        took["sync"] = seconds(sync)
        delivered = len(json.loads(said[0])["delivered"])
        assert delivered == n + _MORE, f"{delivered} of {n + _MORE} were delivered"
        return took

    yield step
