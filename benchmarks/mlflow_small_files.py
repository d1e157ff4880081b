"""1,000 files of 1 KB over HTTP: Tracelet beside the SDK's own `log_artifacts`, in turn, to one real server.

    python benchmarks/mlflow_small_files.py [--files 1000] [--rounds 5]

Prints one JSON object: medians in seconds and their ratio. Both clients are warm: what is measured is a call.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.mlflow_server import MlflowServer
from tracelet import ArtifactType, Experiment


def write_files(folder: Path, count: int) -> Path:
    """Fill a new folder with files that nobody stored before."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:05}.bin").write_bytes(os.urandom(1024))
    return folder


def by_the_sdk(url: str, folders: list[Path]) -> list[float]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=url)
    run = client.create_run(client.create_experiment("by-the-sdk")).info.run_id
    client.log_text(run, "warm", "warm.txt")
    times = []
    for number, folder in enumerate(folders):
        began = time.perf_counter()
        client.log_artifacts(run, str(folder), f"many/v{number}")
        times.append(time.perf_counter() - began)
    return times


def by_tracelet(url: str, folders: list[Path], directory: Path) -> list[float]:
    os.environ.update(TRACELET_DIR=str(directory), TRACELET_MLFLOW_TRACKING_URI=url, TRACELET_DEADLINE="300")
    times = []
    with Experiment("by-tracelet", backend="mlflow", artifacts=True) as exp:
        warm = exp.create_artifact("many", ArtifactType.DATASET).add_object(0, "warm")
        exp.log_artifact(warm).raise_for_errors()
        for folder in folders:
            began = time.perf_counter()
            artifact = exp.create_artifact("many", ArtifactType.DATASET).add_dir(folder)
            exp.log_artifact(artifact).raise_for_errors()
            times.append(time.perf_counter() - began)
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with MlflowServer(folder / "server") as server:
            theirs, ours = [], []
            folders = [write_files(folder / str(number), chosen.files) for number in range(2 * chosen.rounds)]
            half = chosen.rounds // 2
            # One between two halves of the other, for the machine is not always as fast.
            ours += by_tracelet(server.url, folders[: chosen.rounds - half], folder / "tracelet")
            theirs += by_the_sdk(server.url, folders[chosen.rounds : 2 * chosen.rounds])
            ours += by_tracelet(server.url, folders[chosen.rounds - half : chosen.rounds], folder / "tracelet")
    sdk, tracelet = statistics.median(theirs), statistics.median(ours)
    print(
        json.dumps(
            {
                "files": chosen.files,
                "rounds": chosen.rounds,
                "sdk_median_s": round(sdk, 3),
                "tracelet_median_s": round(tracelet, 3),
                "ratio": round(sdk / tracelet, 1),
                "sdk_s": [round(one, 3) for one in theirs],
                "tracelet_s": [round(one, 3) for one in ours],
            }
        )
    )


if __name__ == "__main__":
    main()
