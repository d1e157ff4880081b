"""The command `tracelet`, here or in a process of its own, and programs that log and then end in one way or another."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pacing import at_this_pace, pace
from watching import lane_processes

from tracelet.cli import main

COMMAND = str(Path(sys.executable).with_name("tracelet"))
#: Seconds, on a quiet machine.
LIMITS = {"deadline": 5.0, "open_timeout": 20.0, "stop_timeout": 5.0}
#: Long ago, for whatever has an age.
OLD = time.time() - 30 * 86400

_PROLOGUE = """
import os, sys, time
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig, TraceletArtifact
from tracelet.core.system.processes import current

def artifact(name, text="content", kind=ArtifactType.CONFIG):
    Path(f"{name}.txt").write_text(text)
    return TraceletArtifact(name, kind).add_file(f"{name}.txt")

def experiment(*backend, name="trials", **config):
    config = {"deadline": 5.0, "stop_timeout": 5.0, "routing": "all"} | config
    pace = float(os.environ["TEST_PACE"])
    config |= {limit: config[limit] * pace for limit in ("deadline", "open_timeout", "stop_timeout") if limit in config}
    return Experiment(name, backend=list(backend or ("scripted",)), artifacts=True, config=ExperimentConfig(**config))
"""


def environment(**variables: str) -> dict[str, str]:
    limits = {f"TRACELET_{name.upper()}": str(seconds) for name, seconds in at_this_pace(LIMITS).items()}
    return {**os.environ, **limits, "TEST_PACE": str(pace()), "COLUMNS": "200", **variables}


def begin(*arguments: str, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
    """Start the command."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen([COMMAND, *arguments], env=dict(env or environment()), text=True, **pipes)


def run(*arguments: str, code: int = 0, apart: bool = False, **variables: str) -> str:
    """Run the command to its end; return what it wrote on stdout, or, where it failed by an error, on stderr.

    It runs in this process unless it is to be ``apart``, as it has to be where other plugins are to be found.
    """
    if apart or "PYTHONPATH" in variables:
        out, err, ended = _run_apart(arguments, variables)
    else:
        out, err, ended = _run_here(arguments, variables)
    assert ended == code, (out, err)
    assert "Traceback" not in err
    return out or err


def run_both(*arguments: str, code: int = 0, **variables: str) -> tuple[str, str]:
    """Run the command to its end in this process; return what it wrote on stdout, and on stderr."""
    out, err, ended = _run_here(arguments, variables)
    assert ended == code, (out, err)
    return out, err


def on_a_terminal(*arguments: str, answer: str) -> tuple[str, int]:
    """Run the command with a terminal as its stdin, where somebody answers; return all that it wrote, and its exit code."""
    ours, theirs = os.openpty()
    running = begin(*arguments, stdin=theirs, stderr=subprocess.STDOUT)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    said, _ = running.communicate(timeout=180)
    os.close(ours)
    return said, running.returncode


def _run_apart(arguments: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, str, int]:
    command = [COMMAND, *arguments]
    done = subprocess.run(command, env=environment(**variables), text=True, capture_output=True, timeout=180)
    return done.stdout, done.stderr, done.returncode


def _run_here(arguments: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, str, int]:
    out, err = io.StringIO(), io.StringIO()
    library, delivery = logging.getLogger("tracelet"), logging.getLogger("tracelet.delivery")
    handlers, level = library.handlers[:], delivery.level
    try:
        with (
            mock.patch.dict(os.environ, environment(**variables), clear=True),
            mock.patch.object(sys, "argv", ["tracelet", *arguments]),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    finally:
        library.handlers[:] = handlers
        delivery.setLevel(level)
    return out.getvalue(), err.getvalue(), int(ended.value.code or 0)


def run_json(*arguments: str, code: int = 0, apart: bool = False, **variables: str) -> dict[str, Any]:
    """Run the command with --json; return what it wrote on stdout, which must be JSON and nothing else."""
    told: dict[str, Any] = json.loads(run(*arguments, "--json", code=code, apart=apart, **variables))
    return told


def program(text: str, *, code: int = 0, cwd: Path | None = None, **variables: str) -> str:
    """Run a Python program to its end, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PROLOGUE + textwrap.dedent(text)],
        cwd=cwd,
        env=environment(**variables),
        text=True,
        capture_output=True,
        timeout=180,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def begin_program(text: str, *, stderr: int = subprocess.PIPE, **variables: str) -> subprocess.Popen[str]:
    """Start a Python program that says `ready` and waits for a line on stdin when it is where the test wants it."""
    started = subprocess.Popen(
        [sys.executable, "-c", _PROLOGUE + textwrap.dedent(text)],
        env=environment(**variables),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    assert started.stdout is not None
    line = started.stdout.readline()
    assert line == "ready\n", (line, started.communicate())
    return started


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.02)


def leave_drafts(folder: Path, **texts: str) -> Path:
    """Have a killed process leave a draft of each of these artifacts; return its tracelet directory."""
    program(
        f"""
        exp = experiment("local").start()
        exp._artifact_manager._process.sealer.add = lambda path: None
        for name, text in {texts!r}.items():
            exp.submit_artifact(artifact(name, text))
        os.kill(os.getpid(), 9)
        """,
        code=-9,
        cwd=folder,
    )
    return folder / ".tracelet"


def age(folder: Path) -> None:
    """Make everything in a folder look as if nobody had touched it for a month."""
    for path in [*folder.rglob("*")][::-1]:
        os.utime(path, (OLD, OLD), follow_symlinks=False)


def plugin(folder: Path, name: str, source: str) -> None:
    """Put a distribution with one module, which is its plugin, into a folder."""
    (folder / f"{name}-2.0.dist-info").mkdir(parents=True)
    (folder / f"{name}-2.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (folder / f"{name}-2.0.dist-info" / "entry_points.txt").write_text(f"[tracelet]\n{name} = {name}\n")
    (folder / f"{name}.py").write_text(textwrap.dedent(source))


#: Logs three artifacts while the backend is away, so that they wait in the outbox.
LEAVE_THREE = """
with experiment() as exp:
    for name in ("one", "two", "three"):
        assert "scripted" in exp.log_artifact(artifact(name, name * 100)).queued
"""

#: Logs two versions of one name and one of another, to two backends.
STORE_THREE = """
with experiment("local", "scripted") as exp:
    exp.log_artifact(artifact("thing", "first"), version="1.0", aliases=["best"])
    exp.log_artifact(artifact("thing", "second"))
    big = artifact("model", "weights", ArtifactType.MODEL)
    big.metadata["loss"] = float("nan")
    exp.log_artifact(big.add_object({"a": 1}, "numbers").add_reference("file:///etc/hostname"))
"""


def die_before_hashing(backends: str) -> None:
    """Let a process die when its snapshot is in the outbox, and before anything is hashed."""
    with no_lanes_after():
        program(
            f"""
            exp = experiment({backends}).start()
            exp._artifact_manager._process.sealer.add = lambda path: None
            exp.submit_artifact(artifact("snapshot", "as it was"))
            Path("snapshot.txt").write_text("as it became")
            # A lane that is only being started would not be seen to end.
            while {{one.lane.state.value for one in exp._artifact_manager._process.couriers.values()}} != {{"ready"}}:
                time.sleep(0.01)
            os._exit(9)
            """,
            code=9,
        )


@contextmanager
def no_lanes_after() -> Iterator[None]:
    """Whatever lanes are begun in this block end soon after it."""
    before = set(lane_processes())
    yield
    wait_until(lambda: set(lane_processes()) <= before, 15)
