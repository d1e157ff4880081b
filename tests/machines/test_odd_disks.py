"""Disks that two machines mount: what they lack is told, and where they lack nothing that is needed all holds, whoever the users are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from machines.odd_disks import OddDisks
from machines.places import HERE, Machine, needs

SHARED = {"TRACELET_DIR": f"{HERE}/tracelet"}
BUCKET = {"TRACELET_BUCKET_URL": f"file://{HERE}/bucket", "TRACELET_BACKEND": "bucket"}
#: It logs and submits ten versions each of two names, while somebody else does the same.
WRITES = """
import sys
from pathlib import Path
from tracelet import ArtifactType, Experiment
with Experiment("both", artifacts=True) as exp:
    print("up", flush=True)
    sys.stdin.readline()
    promises, seen = [], []
    for number in range(10):
        def new(name):
            return exp.create_artifact(name, ArtifactType.CONFIG).add_object([sys.argv[1], number], "o")
        seen += [one.version for one in exp.log_artifact(new("logged"), aliases=["newest", f"{sys.argv[1]}-{number}"]).values()]
        promises.append(exp.submit_artifact(new("submitted")))
    exp.flush()
    taken = [promise.result(60) for promise in promises]
    assert not any(one.failed for one in taken), taken
print(len(seen))
"""
TALLY = """
import collections, json
from tracelet import Experiment
exp = Experiment("both", artifacts=True)
found = exp.list_artifacts()
print(json.dumps([
    sorted(collections.Counter(one.name for one in found).items()),
    len({(one.name, one.version) for one in found}),
    len({one.digest for one in found}),
    all(one.verify().ok for one in found),
    len({exp.get_artifact("logged", f"{who}-{number}").version for who in ("one", "other") for number in range(10)}),
]))
"""
LOGS = """
from tracelet import ArtifactType, Experiment
with Experiment("one", artifacts=True) as exp:
    results = exp.log_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object(1, "o"), aliases=["best"])
    print(results)
"""


@pytest.fixture(autouse=True)
def _root() -> None:
    needs("unshare", "nsenter", "setpriv", "ip", "hostname")


def open_to_a_group(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o2770)
    os.chown(folder, 0, 100)


def wait_for_a_second_to_pass_on(machine: Machine) -> None:
    """Have the view of a machine forget what it believes."""
    machine.run(["sleep", "1.1"])


@pytest.mark.parametrize("lacks", ["", "locks,fractions"])
@pytest.mark.parametrize("environ", [{}, BUCKET], ids=["local", "bucket"])
def test_two_users_of_a_group_on_two_machines_log_to_one_disk_at_once(
    tmp_path: Path, lacks: str, environ: dict[str, str]
) -> None:
    with OddDisks(tmp_path / "disk", lacks, seconds=1.0) as disks:
        for name in ("tracelet", "bucket"):
            open_to_a_group(tmp_path / "disk" / "all" / name)
        with (
            Machine("one", shared=disks.view(), uid=1000) as one,
            Machine("other", shared=disks.view(), uid=1001) as other,
        ):
            known = {**SHARED, **environ}
            children = [machine.begin(WRITES, known, machine.name) for machine in (one, other)]
            for child in children:
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            for child in children:
                out, err = child.communicate(timeout=300)
                assert (child.returncode, out) == (0, "10\n"), err
            # What was acknowledged may wait in the outbox.
            one.tracelet("sync", environ=known)
            for machine in (one, other):
                # What is there by now may not be seen before what was seen of its name is forgotten.
                wait_for_a_second_to_pass_on(machine)
                assert json.loads(machine.python(TALLY, known)) == [
                    [["logged", 20], ["submitted", 20]],
                    40,
                    20,
                    True,
                    20,
                ]
                machine.tracelet("sync", environ=known)
                machine.tracelet("gc", "--older-than", "1h", environ=known)
                assert json.loads(machine.python(TALLY, known))[1] == 40


def test_a_tracelet_directory_without_hard_links_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with OddDisks(tmp_path / "disk", "links") as disks, Machine("one", shared=disks.view()) as one:
        said = one.run([*one.program, LOGS], SHARED, code=1)
        assert "ConfigError" in said
        assert "has no hard links" in said
        assert "set TRACELET_DIR to a folder on a disk of each machine's own" in said
        written = [path for path in (tmp_path / "disk" / "all").rglob("*") if path.is_file()]
        assert written == []
        for command, code in (("gc", 2), ("doctor", 1)):
            assert "has no hard links" in one.tracelet(command, code=code, environ=SHARED)


def test_what_waits_in_a_directory_that_came_to_such_a_disk_is_left_there_and_told(tmp_path: Path) -> None:
    with OddDisks(tmp_path / "disk", "links") as disks, Machine("one", shared=disks.view()) as one:
        away = {"TRACELET_BACKEND": "bucket", "TRACELET_BUCKET_URL": "file:///away/bucket"}
        one.run([*one.program, LOGS], away)
        one.run(["cp", "-r", ".tracelet", f"{HERE}/tracelet"])
        said = one.tracelet("sync", code=2, environ={**SHARED, **away})
        assert "has no hard links" in said
        assert len(list((tmp_path / "disk" / "all" / "tracelet" / "outbox").rglob("*.json"))) == 1


def test_a_bucket_without_hard_links_is_refused(tmp_path: Path) -> None:
    with OddDisks(tmp_path / "disk", "links") as disks, Machine("one", shared=disks.view()) as one:
        assert "its filesystem has no hard links" in one.run([*one.program, LOGS], BUCKET)
        assert not list((tmp_path / "disk" / "all").rglob("*-v0.json"))
