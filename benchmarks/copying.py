"""Copying versions from the embedded backend to another directory, and to a real MLflow server: how fast, and in how much memory.

    python benchmarks/copying.py [--versions 50] [--mb 4] [--to local mlflow]

Copies so many versions, and ten times as many, and prints one JSON object: for each the rates, and the peak of resident memory of
the command and of its largest lane; and how long 5,000 versions and 20 GB take at the rates of the larger one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.mlflow_server import MlflowServer
from tracelet import ArtifactType, Experiment

TRACELET = str(Path(sys.executable).with_name("tracelet"))


def log(experiment: str, directory: Path, versions: int, size: int) -> None:
    """Log versions of five names, each with a file that nothing else has."""
    source = directory / "it"
    with Experiment(experiment, backend="local", artifacts=True, dir=directory) as exp:
        for number in range(versions):
            source.write_bytes(os.urandom(size))
            artifact = exp.create_artifact(f"name{number % 5}", ArtifactType.CHECKPOINT).add_file(source)
            exp.log_artifact(artifact).raise_for_errors()


def peaks_below(root: int, peaks: dict[int, float]) -> None:
    """Note the most memory in MB that a process and those it began have had so far."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            if "VmHWM" in status:
                peaks[pid] = int(status.partition("VmHWM:")[2].split()[0]) / 1000
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())


def copied(arguments: list[str]) -> tuple[float, dict[str, float]]:
    """Run a copy to its end; return the seconds, and the peaks of the command and of the largest lane."""
    peaks: dict[int, float] = {}
    began = time.perf_counter()
    with subprocess.Popen([TRACELET, "copy", *arguments], stdout=subprocess.DEVNULL) as command:
        while command.poll() is None:
            peaks_below(command.pid, peaks)
            time.sleep(0.05)
        took = time.perf_counter() - began
    assert command.returncode == 0
    own = peaks.pop(command.pid)
    return took, {"command_mb": round(own), "largest_lane_mb": round(max(peaks.values(), default=0.0))}


def measured(folder: Path, target: str, versions: int, size: int) -> dict[str, Any]:
    """Copy so many versions; what it takes to begin and end is told by a second copy, which has nothing to do."""
    experiment, directory = f"copied-{versions}", folder / f"here-{versions}"
    arguments = [experiment, "--from", "local", "--to", target, "--dir", str(directory)]
    arguments += ["--to-dir", str(folder / f"there-{versions}-{target}")]
    took, memory = copied(arguments)
    again, _ = copied(arguments)
    return {
        "versions": versions,
        "seconds": round(took, 1),
        "versions_a_second": round(versions / took, 1),
        "mb_a_second": round(versions * size / took / 1e6, 1),
        "seconds_again": round(again, 1),
        **memory,
    }


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--versions", type=int, default=50)
    options.add_argument("--mb", type=float, default=4.0)
    options.add_argument("--to", nargs="+", default=["local", "mlflow"], choices=["local", "mlflow"])
    chosen = options.parse_args()
    size = int(chosen.mb * 1e6)
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "server").mkdir()
        for versions in (chosen.versions, 10 * chosen.versions):
            directory = folder / f"here-{versions}"
            directory.mkdir()
            log(f"copied-{versions}", directory, versions, size)
        with MlflowServer(folder / "server") as server:
            os.environ["MLFLOW_TRACKING_URI"] = server.url
            for target in chosen.to:
                told[target] = [
                    measured(folder, target, versions, size) for versions in (chosen.versions, 10 * chosen.versions)
                ]
                shutil.rmtree(folder / f"there-{10 * chosen.versions}-{target}", ignore_errors=True)
    for rows in told.values():
        larger = rows[-1]
        larger["minutes_of_5000_versions"] = round(5000 / larger["versions_a_second"] / 60, 1)
        larger["minutes_of_20_gb"] = round(20_000 / larger["mb_a_second"] / 60, 1)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
