"""Servers that are dead, slow or lie, and a disk that is full: calls end, and what was logged is there when the trouble has passed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliability.figures import Figures
from reliability.trials import PATIENCE, TRACELET
from reliability.victims import BREAKER, CRAMPED, LEAVER, PATIENT, READER, WRITER
from servers.faulty_proxy import FaultyProxy
from servers.mlflow_server import MlflowServer
from servers.programs import clean_environment

MODES = ["refused", "hang", "503", "slow", "reset", "corrupt"]
#: Seconds that a call to a backend may take. What is measured is how far beyond it a caller waits.
DEADLINE = 3.0


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    """A door before a real `mlflow server`."""
    with MlflowServer(tmp_path_factory.mktemp("server")) as server, FaultyProxy(server.process.port) as proxy:
        yield proxy


def environ(folder: Path, door: FaultyProxy, **more: str) -> dict[str, str]:
    own = {
        "TRACELET_DIR": str(folder / "t"),
        "TRACELET_BACKEND": "local,mlflow",
        "TRACELET_ROUTING": "all",
        "TRACELET_OPEN_TIMEOUT": str(PATIENCE),
        "MLFLOW_TRACKING_URI": door.url,
    }
    return clean_environment({**own, **more})


def read(folder: Path, door: FaultyProxy, experiment: str) -> subprocess.CompletedProcess[str]:
    """Read all that MLflow has, in a process and a folder of its own."""
    folder.mkdir()
    code = READER.replace('"kills"', json.dumps(experiment))
    command = [sys.executable, "-c", code, "mlflow"]
    variables = environ(folder, door, TRACELET_DEADLINE="60")
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("mode", MODES)
def test_calls_end_and_nothing_is_lost_when_a_server(
    tmp_path: Path, door: FaultyProxy, figures: Figures, long: bool, mode: str
) -> None:
    """It is well at first, fails while three artifacts are logged, and is well again."""
    experiment = f"faults-{mode}"
    limits = {"TRACELET_DEADLINE": str(DEADLINE), "TRACELET_STOP_TIMEOUT": str(2 * DEADLINE)}
    variables = environ(tmp_path, door, **limits)
    code = PATIENT.replace('"kills"', json.dumps(experiment))
    door.set("pass")
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n", program.communicate()
    door.set(mode)
    out, err = program.communicate("\n", timeout=PATIENCE)
    assert program.returncode == 0, err
    told = json.loads(out)
    assert all("local" in stored for stored in told["told"])
    door.set("pass")
    synced = subprocess.run(
        [TRACELET, "sync"], env=environ(tmp_path, door), capture_output=True, text=True, timeout=PATIENCE
    )
    print(synced.stdout, synced.stderr)
    assert synced.returncode == 0
    there = json.loads(read(tmp_path / "elsewhere", door, experiment).stdout)
    assert sorted(one["n"] for one in there) == [1, 2, 3, 4]
    assert all(one["whole"] for one in there)
    longest = max([*told["calls"], told["stop"]])
    # The machine may be busy; a call that hangs is not bounded by what it was allowed.
    assert longest < 20 * DEADLINE
    figures.add(
        f"`mlflow server`: {mode}",
        {"lost": 0, f"seconds for the longest call (deadline: {DEADLINE:.0f} seconds)": f"{longest:.1f}"},
    )


def test_what_is_changed_on_its_way_back_is_never_handed_out(
    tmp_path: Path, door: FaultyProxy, figures: Figures
) -> None:
    code = PATIENT.replace('"kills"', '"changed"')
    door.set("pass")
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ(tmp_path, door), input="\n", text=True, check=True
    )
    door.set("corrupt")
    done = read(tmp_path / "elsewhere", door, "changed")
    door.set("pass")
    if done.returncode == 0:
        assert all(one["whole"] for one in json.loads(done.stdout))
    else:
        assert [line for line in done.stderr.splitlines() if line.startswith("tracelet.exceptions.")]
    figures.add("answers of `mlflow server` changed on their way", {"wrong bytes handed out": 0})


@pytest.mark.long
def test_a_full_disk_loses_nothing_that_was_promised(tmp_path: Path, figures: Figures) -> None:
    """On a small filesystem of its own, which goes with the program."""
    disk = tmp_path / "disk"
    disk.mkdir()
    variables = clean_environment(
        {"TRACELET_DIR": str(disk / "t"), "TRACELET_BACKEND": "local", "TRACELET_LARGE_FILE_MB": "0.1"}
    )
    inside = 'mount -t tmpfs -o size=6m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", inside, "sh", str(disk), sys.executable, CRAMPED]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["left"] == 0
    assert {*told["stored"], *told["queued"]} <= set(told["whole"])
    assert len(told["whole"]) == told["there"]
    figures.add(
        "a disk of 6 MB that became full, and was cleared",
        {
            "stored": len(told["stored"]),
            "queued": len(told["queued"]),
            "refused with the reason": len(told["failed"]),
            "lost": 0,
        },
    )


def test_tracelets_own_files_may_be_damaged_anywhere(tmp_path: Path, figures: Figures, long: bool) -> None:
    """Whatever byte of them is changed or cut off: reading, `doctor`, `sync` and `gc` raise errors of ours at most."""
    place, whole = tmp_path / "t", tmp_path / "whole"
    variables = clean_environment(
        {"TRACELET_DIR": str(place), "TRACELET_BACKEND": "local", "TRACELET_LARGE_FILE_MB": "0.1"}
    )
    for code, first, ended in ((WRITER, "1", 0), (LEAVER, "7", -signal.SIGKILL)):
        command = [sys.executable, "-c", code, first, "6", str(tmp_path / "diary")]
        assert subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True).returncode == ended
    place.rename(whole)
    times = 600 if long else 25
    command = [sys.executable, "-c", BREAKER, str(times), str(whole)]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert not told["wrong"]
    figures.add(
        f"one of {told['files']} files of a tracelet directory damaged",
        {"times": times, "foreign errors": 0, "seconds of CPU for the longest": f"{told['longest']:.2f}"},
    )
