"""The `tracelet` command: its start, and many deliveries that wait: ``python benchmarks/commands.py``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import measuring
from files import write
from measuring import OURS, Line, Step, Way, at_most, seconds, times

TRACELET = str(Path(sys.executable).with_name("tracelet"))
#: Submits artifacts, and is killed with most of them in the outbox.
_KILLED = """
import os, signal, sys
from tracelet import ArtifactType, Experiment
exp = Experiment("waiting", artifacts=True)
exp.start()
for number in range(int(sys.argv[1])):
    exp.submit_artifact(exp.create_artifact("it", ArtifactType.CONFIG).add_object({"number": number, "run": sys.argv[2]}, "it"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextlib.contextmanager
def starting(arguments: list[str]) -> Iterator[Step]:
    """Run a command that has little to do, in a folder with one artifact."""
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", artifacts=True) as exp:
        artifact = exp.create_artifact("it", ArtifactType.CONFIG).add_file(write(Path("source.bin"), 1000))
        exp.log_artifact(artifact).raise_for_errors()

    def run() -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    yield lambda number: seconds(run)


@contextlib.contextmanager
def syncing(count: int) -> Iterator[Step]:
    """Deliver what a killed program left; what it had delivered itself is made up for in proportion."""

    def step(number: int) -> float:
        subprocess.run([sys.executable, "-c", _KILLED, str(count), str(number)], check=False, capture_output=True)
        said: list[bytes] = []

        def sync() -> None:
            said.append(subprocess.run([TRACELET, "sync", "--json"], check=True, capture_output=True).stdout)

        took = seconds(sync)
        delivered = len(json.loads(said[0])["delivered"])
        assert delivered > count / 2, f"only {delivered} of {count} waited"
        return took * count / delivered

    yield step


@contextlib.contextmanager
def logging(count: int) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("waiting", artifacts=True) as exp:

        def log(number: int) -> None:
            for each in range(count):
                artifact = exp.create_artifact("it", ArtifactType.CONFIG)
                exp.log_artifact(artifact.add_object({"number": each, "run": number}, "it")).raise_for_errors()

        yield lambda number: seconds(lambda: log(number))


def lines(*, quick: bool) -> list[Line]:
    bare = Way("commands:starting", {"arguments": ["-c", "pass"]})
    commands = {"sync": ["sync"], "ls": ["ls", "bench"], "get": ["get", "bench", "it"]}
    found = [
        Line(
            f"command-{name}",
            f"`tracelet {name}`, with little to do",
            {OURS: Way("commands:starting", {"arguments": [TRACELET, *arguments]}), "bare Python": bare},
            at_most(0.15),
        )
        for name, arguments in commands.items()
    ]
    count = 100 if quick else 1_000
    ways = {OURS: Way("commands:syncing", {"count": count}), "log_artifact": Way("commands:logging", {"count": count})}
    title = f"{count:,} deliveries of a killed program, sent by `tracelet sync`"
    found.append(Line("command-waiting", title, ways, times(1, "log_artifact"), environ={"TRACELET_BACKEND": "local"}))
    return found


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
