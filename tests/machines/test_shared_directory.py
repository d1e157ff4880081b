"""A directory that two machines share: each leaves alone what the other is at, and what a filesystem lacks is told."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from machines.places import HERE, Machine, needs

SHARED = {"TRACELET_DIR": f"{HERE}/tracelet"}
#: It submits, captures and puts, and all of that waits until a line comes, with a backend that is away and a store that is.
AT_WORK = """
import json, os, sys, threading, time
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.capture.processor import CaptureProcessor

gate = threading.Event()
def gated(kind, name):
    was = getattr(kind, name)
    setattr(kind, name, lambda *args, **kw: (gate.wait(), was(*args, **kw))[1])
gated(Sealer, "_work")
gated(CaptureProcessor, "process")
Path("saved").mkdir()
with Experiment("run", artifacts=True, watch_filesystem=True, artifact_watch_dirs=["saved"]) as exp:
    promise = exp.submit_artifact(exp.create_artifact("a", ArtifactType.CONFIG).add_object({"a": 1}, "o"))
    Path("saved/late.json").write_text('{"b": 2}')
    while not any(b"late.json" in path.read_bytes() for path in Path(os.environ["TRACELET_DIR"]).glob("captured/*/*.jsonl")):
        time.sleep(0.01)
    print("up", flush=True)
    sys.stdin.readline()
    gate.set()
    result = promise.result(60)
    exp.flush()
print(json.dumps([[a.version for a in result.values()], exp.stats()]))
"""
FINDS = """
import json
from tracelet import Experiment
exp = Experiment("run", artifacts=True)
print(json.dumps(sorted([one.name, one.version, one.verify().ok] for one in exp.list_artifacts())))
"""
DAYS = 3 * 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    needs("unshare", "nsenter", "setpriv", "ip", "hostname")
    made = tmp_path / "shared"
    made.mkdir()
    made.chmod(0o777)
    return made


def grow_old(folder: Path) -> None:
    """Have everything look as if nobody had touched it for days."""
    then = time.time() - DAYS
    for above, names, files in os.walk(folder, topdown=False):
        for name in (*names, *files):
            os.utime(Path(above, name), (then, then))


# A container may have the name of its machine, and numbers its processes anew.
@pytest.mark.parametrize("name", ["one", "other"])
def test_what_a_process_of_one_machine_is_at_is_left_alone_by_sync_and_gc_of_another_one(
    folder: Path, name: str
) -> None:
    with Machine("one", shared=folder) as one, Machine(name, shared=folder) as other:
        child = one.begin(AT_WORK, SHARED)
        grow_old(folder)
        assert "its process is on one: sync there" in other.tracelet("sync", code=1, environ=SHARED)
        other.tracelet("gc", "--older-than", "1h", environ=SHARED)
        out, err = child.communicate("go\n", timeout=120)
        assert child.returncode == 0, err
        versions, stats = json.loads(out)
        assert versions == ["v0"]
        assert "failed" not in stats["capture"], stats
        assert json.loads(other.python(FINDS, SHARED)) == [["a", "v0", True], ["late-config", "v0", True]]


def test_what_a_machine_left_that_is_gone_another_one_delivers_when_it_is_told_so(folder: Path) -> None:
    with Machine("one", shared=folder) as one, Machine("other", shared=folder) as other:
        one.begin(AT_WORK, SHARED)
        one.end()
        other.tracelet("sync", code=1, environ=SHARED)
        other.tracelet("sync", "--gone", "one", environ=SHARED)
        assert json.loads(other.python(FINDS, SHARED)) == [["a", "v0", True], ["late-config", "v0", True]]
