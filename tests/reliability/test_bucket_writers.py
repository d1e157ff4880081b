"""Many processes, each with threads, log one name to one bucket at once: none is lost, none is there twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from reliability.figures import Figures
from reliability.trials import PATIENCE
from servers.programs import clean_environment
from servers.s3_server import S3Server

#: Logs what is its own with some threads, when it is told to begin.
WRITER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tracelet import ArtifactType, Experiment

process, threads, each = map(int, sys.argv[1:])
with Experiment("many", backend="bucket", artifacts=True).start() as exp:
    print("ready", flush=True)
    sys.stdin.readline()

    def log(n):
        path = Path(f"{process}-{n}")
        path.write_bytes(f"{process} {n}".encode() * 100)
        artifact = exp.create_artifact("one-name", ArtifactType.CUSTOM).add_file(path, "it")
        results = exp.log_artifact(artifact)
        results.raise_for_errors()
        return results["bucket"].version

    with ThreadPoolExecutor(threads) as pool:
        print(json.dumps(list(pool.map(log, range(threads * each)))))
"""


def write(folder: Path, variables: dict[str, str], processes: int, threads: int, each: int) -> tuple[list[str], float]:
    """Let so many processes write at once; return the versions that they were told, and the seconds that it took."""
    begun = []
    for number in range(processes):
        home = folder / f"{processes}-{number}"
        home.mkdir()
        begun.append(
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(number), str(threads), str(each)],
                cwd=home,
                env={**variables, "TRACELET_DIR": str(home / "t")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for process in begun:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in begun]
    took = time.monotonic() - began
    assert [process.returncode for process in begun] == [0] * processes
    return [version for versions in told for version in versions], took


def test_many_writers_of_one_name_lose_nothing(tmp_path: Path, figures: Figures, long: bool) -> None:
    processes, threads, each = (16, 4, 4) if long else (3, 2, 2)
    count = processes * threads * each
    with S3Server("artifacts") as store:
        limits = {
            name: str(PATIENCE) for name in ("TRACELET_DEADLINE", "TRACELET_OPEN_TIMEOUT", "TRACELET_STOP_TIMEOUT")
        }
        variables = clean_environment({**store.environ, **limits, "TRACELET_BUCKET_URL": store.url("many")})
        alone, took_alone = write(
            tmp_path, {**variables, "TRACELET_BUCKET_URL": store.url("one")}, 1, 1, each * threads
        )
        told, took = write(tmp_path, variables, processes, threads, each)
        records = [key for key in store.listing() if "/versions/one-name/9" in key and key.startswith("many/")]
    assert sorted(alone, key=lambda version: int(version[1:])) == [f"v{number}" for number in range(each * threads)]
    assert sorted(told, key=lambda version: int(version[1:])) == [f"v{number}" for number in range(count)]
    assert len(records) == count
    figures.add(
        f"bucket (moto's S3): {processes} processes with {threads} threads each log one name",
        {
            "versions": count,
            "lost": 0,
            "twice": 0,
            "versions a second": f"{count / took:.1f}",
            "versions a second by one writer": f"{each * threads / took_alone:.1f}",
        },
    )
