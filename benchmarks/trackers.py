"""Artifacts in every tracker, beside what its users would write: ``python benchmarks/trackers.py``.

Two comparisons have the same names everywhere. *Plain SDK* is the fewest lines that store the file, and promise no more
than that. *By hand* makes the promises that Tracelet makes, with the same SDK: the file's sha256 in a manifest beside it,
a number for the version, and an entry by which another process finds both by name. All wait until the bytes have arrived; only
Aim's own client sends the record of them behind.

MLflow and Aim are the real servers, and their stores on disk. W&B and ClearML are the real client with a stand-in server
on this machine, or offline.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import measuring
from files import MB, fresh_folder, sha256, write
from measuring import OURS, Line, Step, Way, beside, seconds, times, together
from places import PLACES, TITLES

PLAIN, HAND = "plain SDK", "by hand"

#: Stores a folder as the version with this number.
Store = Callable[[Path, int], object]


def manifest_of(folder: Path, number: int) -> str:
    """Write a manifest of a folder's files into it; return its text."""
    entries = [
        {"path": path.name, "size_bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    ]
    text = json.dumps({"name": "thing", "version": number, "files": entries})
    (folder / "manifest.json").write_text(text)
    return text


def only_file(folder: Path) -> str:
    """The path of a folder's file, if it has one; otherwise the folder's."""
    found = list(folder.iterdir())
    return str(found[0] if len(found) == 1 else folder)


@contextlib.contextmanager
def mlflow_plain() -> Iterator[Store]:
    import mlflow

    mlflow.set_experiment(f"plain-{time.time_ns()}")
    with mlflow.start_run():

        def store(folder: Path, number: int) -> None:
            path = only_file(folder)
            mlflow.log_artifacts(path, f"v{number}") if path == str(folder) else mlflow.log_artifact(path, f"v{number}")

        yield store


@contextlib.contextmanager
def mlflow_by_hand() -> Iterator[Store]:
    from mlflow import MlflowClient

    client = MlflowClient()
    run = client.create_run(client.create_experiment(f"by-hand-{time.time_ns()}")).info.run_id

    def store(folder: Path, number: int) -> None:
        manifest_of(folder, number)
        client.log_artifacts(run, str(folder), f"thing/v{number}")
        client.set_tag(run, f"v{number}", sha256(folder / "manifest.json"))

    yield store


@contextlib.contextmanager
def _aim_run() -> Iterator[object]:
    from aim import Run

    run = Run(repo=os.environ["TRACELET_AIM_REPO"], system_tracking_interval=None, capture_terminal_logs=False)
    run.set_artifacts_uri(Path("artifacts").absolute().as_uri())
    yield run
    run.close()


@contextlib.contextmanager
def aim_plain() -> Iterator[Store]:
    with _aim_run() as run:
        yield lambda folder, number: run.log_artifacts(str(folder), f"v{number}", block=True)  # type: ignore[attr-defined]


@contextlib.contextmanager
def aim_by_hand() -> Iterator[Store]:
    with _aim_run() as run:

        def store(folder: Path, number: int) -> None:
            text = manifest_of(folder, number)
            run.log_artifacts(str(folder), f"thing/v{number}", block=True)  # type: ignore[attr-defined]
            run["thing", f"v{number}"] = text  # type: ignore[index]
            # Its client sends behind; what is read has been sent.
            assert run["thing", f"v{number}"] == text  # type: ignore[index]

        yield store


@contextlib.contextmanager
def wandb_plain() -> Iterator[Store]:
    import wandb

    with wandb.init(project="plain") as run:

        def store(folder: Path, number: int) -> None:
            logged = run.log_artifact(only_file(folder), name="thing", type="config")
            if not run.offline:
                logged.wait()

        yield store


@contextlib.contextmanager
def wandb_by_hand() -> Iterator[Store]:
    import wandb

    with wandb.init(project="by-hand") as run:

        def store(folder: Path, number: int) -> None:
            text = manifest_of(folder, number)
            artifact = wandb.Artifact("thing", type="config", metadata={"manifest": text})
            artifact.add_dir(str(folder))
            logged = run.log_artifact(artifact)
            if not run.offline:
                logged.wait()

        yield store


@contextlib.contextmanager
def clearml_plain() -> Iterator[Store]:
    from clearml import Task

    task = Task.init("plain", "thing", auto_connect_frameworks=False, auto_resource_monitoring=False)
    yield lambda folder, number: task.upload_artifact(f"thing-{number}", only_file(folder), wait_on_upload=True)
    task.close()


@contextlib.contextmanager
def clearml_by_hand() -> Iterator[Store]:
    from clearml import Task

    def store(folder: Path, number: int) -> None:
        text = manifest_of(folder, number)
        # A task's artifacts overwrite each other by name, and are found by the task's tags.
        task = Task.create("by-hand", f"thing v{number}", task_type=Task.TaskTypes.custom)
        task.set_tags(["thing", f"v{number}"])
        task.upload_artifact("thing", str(folder), metadata={"manifest": text}, wait_on_upload=True)
        task.mark_completed()

    yield store


STORES: dict[str, dict[str, Callable[[], AbstractContextManager[Store]]]] = {
    PLAIN: {"mlflow": mlflow_plain, "aim": aim_plain, "wandb": wandb_plain, "clearml": clearml_plain},
    HAND: {"mlflow": mlflow_by_hand, "aim": aim_by_hand, "wandb": wandb_by_hand, "clearml": clearml_by_hand},
}


@contextlib.contextmanager
def by_the_sdk(how: str, backend: str) -> Iterator[Step]:
    names = itertools.count()
    with STORES[how][backend]() as store:

        def step(number: int, count: int, size: int) -> float:
            folder = fresh_folder(count, size)
            return seconds(lambda: store(folder, next(names)))

        yield step


@contextlib.contextmanager
def by_tracelet(backends: list[str]) -> Iterator[Step]:
    """Log a folder; or the same one as the first time again."""
    from tracelet import ArtifactType, Experiment

    with Experiment("by-tracelet", backend=backends, artifacts=True, routing="all") as exp:

        def log(folder: Path) -> None:
            exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_dir(folder)).raise_for_errors()

        def step(number: int, count: int, size: int, *, same: bool = False) -> float:
            folder = Path("fresh") if same and number else fresh_folder(count, size)
            return seconds(lambda: log(folder))

        yield step


@contextlib.contextmanager
def hashing(size: int) -> Iterator[Step]:
    source = write(Path("source.bin"), size)
    yield lambda number: seconds(lambda: sha256(source))


@contextlib.contextmanager
def getting_by_tracelet(backend: str, count: int, size: int) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("by-tracelet", backend=backend, artifacts=True) as exp:
        artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_dir(fresh_folder(count, size))
        exp.log_artifact(artifact).raise_for_errors()
    reader = Experiment("by-tracelet", backend=backend, artifacts=True)

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        # Nothing that was fetched before may be of use.
        shutil.rmtree(Path("tracelet", "downloads"), ignore_errors=True)
        return seconds(lambda: reader.get_artifact("thing").download("got"))

    yield step


@contextlib.contextmanager
def getting_by_mlflow(count: int, size: int, *, verified: bool) -> Iterator[Step]:
    """As its users write it; or with the hashes compared with the manifest's, too."""
    import mlflow

    folder = fresh_folder(count, size)
    manifest_of(folder, 0)
    mlflow.set_experiment(f"got-{time.time_ns()}")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "thing")

    def get() -> None:
        got = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="thing", dst_path="got")
        if verified:
            for entry in json.loads(Path(got, "manifest.json").read_text())["files"]:
                assert sha256(Path(got, entry["path"])) == entry["sha256"]

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        return seconds(get)

    yield step


def _ways(backend: str, count: int, size: int) -> dict[str, Way]:
    what = {"count": count, "size": size}
    return {
        OURS: Way("trackers:by_tracelet", {"backends": [backend]}, what),
        PLAIN: Way("trackers:by_the_sdk", {"how": PLAIN, "backend": backend}, what),
        HAND: Way("trackers:by_the_sdk", {"how": HAND, "backend": backend}, what),
    }


def _two(place: str) -> Line:
    backend = place.partition("-")[0]
    what = {"count": 1, "size": 1000}
    ways = {
        OURS: Way("trackers:by_tracelet", {"backends": [backend, "local"]}, what),
        f"{backend} alone": Way("trackers:by_tracelet", {"backends": [backend]}, what),
        "local alone": Way("trackers:by_tracelet", {"backends": ["local"]}, what),
    }
    budget = measuring.Budget(
        "1.15 x the slower", lambda medians: 1.15 * max(medians[f"{backend} alone"], medians["local alone"])
    )
    title = f"{TITLES[place]} and `local` at once: 1 KB logged"
    return Line(f"{place}-two", title, ways, budget, PLACES[place], warm=3, rounds=21, quick_rounds=7)


def _many(place: str, count: int) -> Line:
    """Many small files. MLflow's own client sends them one after the other: there we have to be five times as fast."""
    backend = place.partition("-")[0]
    ratio = 0.2 if place == "mlflow-server" else 1.1
    title = f"{TITLES[place]}: {count:,} files of 1 KB logged"
    ways = _ways(backend, count, 1000)
    if place == "clearml-offline":
        # Offline its SDK can make one task at a time alone, and takes 10 s and more to end it: no way to have one for each version.
        del ways[HAND]
    return Line(f"{place}-many", title, ways, times(ratio, PLAIN), PLACES[place])


def _of(place: str, count: int, large: int) -> list[Line]:
    backend = place.partition("-")[0]
    mb = f"{large // MB} MB"
    hashed = {"sha256": Way("trackers:hashing", {"size": large})}
    again = Way("trackers:by_tracelet", {"backends": [backend]}, {"count": 1, "size": large, "same": True})
    return [
        Line(
            f"{place}-1kb",
            f"{TITLES[place]}: 1 KB logged",
            _ways(backend, 1, 1000),
            times(1.2, HAND),
            PLACES[place],
            warm=3,
            rounds=21,
            quick_rounds=7,
        ),
        _many(place, count),
        Line(
            f"{place}-large",
            f"{TITLES[place]}: {mb} logged",
            {**_ways(backend, 1, large), **hashed},
            together(PLAIN, "sha256"),
            PLACES[place],
        ),
        Line(
            f"{place}-again",
            f"{TITLES[place]}: the same {mb} again",
            {OURS: again, **hashed},
            beside("sha256", 0.05),
            PLACES[place],
        ),
        _two(place),
    ]


def lines(*, quick: bool) -> list[Line]:
    count, large = (200, 100 * MB) if quick else (1000, 500 * MB)
    served = [place for place in PLACES if not place.endswith("-offline")]
    found = [line for place in served for line in _of(place, count, large)]
    got = {
        OURS: Way("trackers:getting_by_tracelet", {"backend": "mlflow", "count": count, "size": 1000}),
        PLAIN: Way("trackers:getting_by_mlflow", {"count": count, "size": 1000, "verified": False}),
        HAND: Way("trackers:getting_by_mlflow", {"count": count, "size": 1000, "verified": True}),
    }
    title = f"{TITLES['mlflow-server']}: {count:,} files of 1 KB got, verified"
    found.append(Line("mlflow-server-get", title, got, times(1.1, PLAIN), PLACES["mlflow-server"]))
    offline = [place for place in PLACES if place not in served]
    found += [attrs.evolve(_many(place, count), budget=times(1.5, PLAIN)) for place in offline]
    environ = {"TRACELET_ON_LARGE": "upload", "TRACELET_DEADLINE": "600"}
    return [attrs.evolve(line, environ=environ) for line in found]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
