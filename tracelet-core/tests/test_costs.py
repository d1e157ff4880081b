"""What calls cost that does not depend on the machine: files opened, made, named and deleted, bytes, and how often the disk is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import elsewhere

#: Counts what a program does to files, on all its threads. A file that is open already and becomes a stream is counted once.
COUNTING = """
import os, sys
from pathlib import Path
from collections import Counter
from tracelet import ArtifactType, Experiment
from tracelet.core.system import durability, files

#: Some systems have no such call, and the disk of this one may be busy: it is counted in any case.
durability._can_all_at_once = lambda folder: True
durability._waiting_bytes = lambda: 0
durability._sync = lambda descriptor: asked.update(["syncfs"])
asked, fsync = Counter(), os.fsync

def synced(descriptor):
    asked["fsync"] += 1
    fsync(descriptor)

def see(event, arguments):
    if event == "open" and isinstance(arguments[0], int):
        return
    if event in {"open", "os.mkdir", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.link", "subprocess.Popen"}:
        asked[event.removeprefix("os.")] += 1

os.fsync = synced
sys.addaudithook(see)

def made(*contents, name="thing"):
    artifact = exp.create_artifact(name, ArtifactType.DATASET)
    for number, content in enumerate(contents):
        file = Path("data", name, f"{number}.bin")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (1e9, 1e9))
        artifact.add_file(file)
    return artifact

def cost(call):
    asked.clear()
    call()
    return dict(sorted(asked.items()))

#: A filesystem that shares blocks copies nothing.
files._clone = lambda source, target: False

def moved(call):
    # How often the process, with all its threads, has read and written the 4 MB that it is about (proc_pid_io(5)).
    def so_far():
        rows = (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return {name: int(count) for name, count in rows if name in {"rchar", "wchar"}}
    before = so_far()
    call()
    after = so_far()
    return {what: round((after[name] - before[name]) / 4e6, 1) for name, what in (("rchar", "read"), ("wchar", "written"))}

exp = Experiment("costs", artifacts=True).start()
# What a first put makes is there, also the folders of all blobs.
for first in range(256):
    Path(f".tracelet/local/blobs/sha256/{first:02x}").mkdir(parents=True, exist_ok=True)
for number in range(3):
    assert exp.log_artifact(made(b"before %d" % number)).ok
"""


#: Leaves drafts, of which none is hashed.
LEFT = """
for number in range({count}):
    exp._artifact_manager._process.sealer.add = lambda path: None
    exp.submit_artifact(made(b"left %d" % number, name="left"))
answer("left")
sys.stdout.flush()
os._exit(0)
"""
#: What another process pays to queue them.
QUEUED = """
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.maintenance import queueing
from tracelet.core.plugins.registry import registry
from tracelet.settings import TraceletSettings
outbox = Outbox(Path(".tracelet").resolve())
queueing._AT_ONCE = 1
found = cost(lambda: queueing.queue_drafts(Path(".tracelet").resolve(), TraceletSettings(), registry(), outbox))
answer([len(list(outbox.everything())), {what: found.get(what, 0) for what in ("fsync", "syncfs")}])
"""

#: Each cost by its name.
COSTS = """
small, again, many = made(bytes(1000)), made(bytes(1000)), made(*(b"%d" % number for number in range(300)), name="many")
costs = {"small": cost(lambda: exp.log_artifact(small)), "again": cost(lambda: exp.log_artifact(again))}
costs["many"] = cost(lambda: exp.log_artifact(many))
costs["many again"] = cost(lambda: exp.log_artifact(many))
few = made(*(b"few %d" % number for number in range(30)), name="few")
costs["few"] = cost(lambda: exp.log_artifact(few))
for name in ("few", "many"):
    logged = exp.get_artifact(name)
    costs[f"get {name}"] = cost(lambda: logged.download(f"got {name}"))
costs["find"] = cost(lambda: exp.get_artifact("many"))
large = made(bytes(4_000_000), name="large")
costs["large"] = moved(lambda: exp.log_artifact(large))
costs["large again"] = moved(lambda: exp.log_artifact(large))
logged = exp.get_artifact("large")
costs["large got"] = moved(lambda: logged.download("got large"))
later = made(bytes(4_000_001), name="large")
costs["large submitted"] = moved(lambda: exp.submit_artifact(later))
costs["large delivered"] = moved(exp.flush)
exp.stop()
answer(costs)
"""


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = elsewhere(COUNTING + COSTS, cwd=tmp_path_factory.mktemp("costs"))
    return found


Costs = dict[str, dict[str, int]]


def test_a_small_file_in_local_waits_for_the_disk_four_times(costs: Costs) -> None:
    """For its bytes, their name, the manifest, and the manifest's name. The folder that is made notes the digest."""
    small = costs["small"]
    assert small == {"fsync": 4, "link": 1, "mkdir": 1, "open": 13, "remove": 1, "rename": 5}


def test_the_same_content_again_writes_nothing(costs: Costs) -> None:
    assert costs["again"] == {"open": 6, "scandir": 2}
    # One more for each file: it is read.
    assert costs["many again"] == {"open": 305, "scandir": 2}


def test_many_files_wait_for_the_disk_as_often_as_a_few(costs: Costs) -> None:
    """For all bytes, for all their names, and for the manifest as ever. Each file is read twice and written once."""
    few, many = costs["few"], costs["many"]
    assert {what: few[what] for what in ("fsync", "syncfs")} == {"fsync": 2, "syncfs": 2}
    grown = {what: (many[what] - few[what]) / 270 for what in few}
    assert {what: times for what, times in grown.items() if times} == {"open": 3, "rename": 1}


def test_a_file_that_is_got_is_opened_three_times_and_makes_no_folder_of_its_own(costs: Costs) -> None:
    """In the store, in the folder aside, and to be hashed there; then it gets its name."""
    few, many = costs["get few"], costs["get many"]
    grown = {what: (many[what] - few[what]) / 270 for what in few}
    assert {what: times for what, times in grown.items() if times} == {"open": 3, "rename": 1}


def test_the_bytes_of_a_large_file_are_read_twice_and_written_once(costs: Costs) -> None:
    """To be hashed and to be copied; the same content again is only hashed. What is got is copied, and hashed where it is then."""
    assert costs["large"] == {"read": 2, "written": 1}
    assert costs["large again"] == {"read": 1, "written": 0}
    assert costs["large got"] == {"read": 2, "written": 1}


def test_what_is_submitted_is_written_once_and_hashed_behind(costs: Costs) -> None:
    """The caller waits for a copy, which becomes the blob."""
    assert costs["large submitted"] == {"read": 1, "written": 1}
    assert costs["large delivered"] == {"read": 1, "written": 0}


def test_finding_a_version_opens_its_pointer_and_its_manifest(costs: Costs) -> None:
    assert costs["find"] == {"open": 4, "scandir": 2}


def test_drafts_that_a_dead_process_left_wait_for_the_disk_together(tmp_path: Path) -> None:
    """For the bytes of all, their names, the deliveries, and the names of those."""
    assert elsewhere(COUNTING + LEFT.format(count=60), cwd=tmp_path) == "left"
    without_a_run = COUNTING.partition("exp = ")[0]
    # However busy the machine is, one thread takes all of them at once.
    alone = """
from tracelet.core.delivery import drafts
from tracelet.core.maintenance import queueing
drafts._SOME_SECONDS, queueing._AT_ONCE = 600.0, 1
"""
    assert elsewhere(without_a_run + alone + QUEUED, cwd=tmp_path) == [60, {"fsync": 1, "syncfs": 3}]
