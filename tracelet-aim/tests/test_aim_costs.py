"""What one put costs in Aim that does not depend on the machine; and that a database kept open for it is in nobody's way."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path
from typing import Any

from servers.aim_programs import HANDS
from servers.aim_server import AimServer

#: Keeps a catalogue open until somebody else waits for it, however slow the machine is.
FOR_EVER = """
from tracelet_aim import kept
kept._IDLE = kept._LONGEST = 3600.0
"""
#: Counts the databases that are opened, the waits for a database's log, and those for files.
COUNTING = """
from collections import Counter
from tracelet_aim import disk
asked, fsync, Plain = Counter(), os.fsync, disk.RocksContainer

class Watched:
    def __init__(self, db):
        self._db = db
    def __getattr__(self, name):
        return getattr(self._db, name)
    def flush_wal(self, sync=False):
        asked["log synced" if sync else "log written"] += 1
        self._db.flush_wal(sync)

class Counted(Plain):
    def __init__(self, path, read_only=False, **more):
        super().__init__(path, read_only=read_only, **more)
        asked["opened to read" if read_only else "opened to write"] += 1
    @property
    def db(self):
        return Watched(super().db)

def synced(file):
    asked["fsync"] += 1
    fsync(file)

disk.RocksContainer, os.fsync = Counted, synced

def cost(call):
    asked.clear()
    call()
    return dict(sorted(asked.items()))
"""
#: Puts as core does: first it looks for the newest version, and later it recalls that.
PUT = """
def first(backend, content):
    assert backend.recall("model") is None and backend.find("model", "latest") is None
    assert backend.put(seal(content), Labels(None, ())).number == 0
def following(backend, content):
    known = backend.recall("model")
    assert backend.put_next(seal(content), Labels(None, ())).number == known.number + 1
"""


def test_a_put_on_disk_opens_no_database_and_waits_once_for_its_log(hands: Any) -> None:
    """The first one opens the catalogue. Its three other waits are for the file, for the manifest and for their names."""
    costs = hands(
        f"""{FOR_EVER}{COUNTING}{PUT}
backend = begun()
costs = [cost(lambda: first(backend, "1")), cost(lambda: following(backend, "2")), cost(lambda: following(backend, "3"))]
costs.append(cost(lambda: backend.find("model", "latest")))
print(json.dumps(costs))
"""
    )
    following = {"fsync": 3, "log synced": 1}
    assert costs == [
        {"fsync": 3, "log synced": 1, "opened to write": 1},
        following,
        following,
        {},
    ]


def test_a_following_put_through_a_server_opens_the_database_twice(program: Any, server: AimServer) -> None:
    """Twice the turn is looked at, and once taken and given back; two readings and a claim; four values are the version.

    The server has the database open only for that, and for nobody who is killed during the upload.
    """
    costs, folders = program(
        f"""{HANDS}{PUT}
import requests
from collections import Counter
asked, request = Counter(), requests.Session.request

def counted(session, method, url, **more):
    body = more.get("json") or {{}}
    asked[body.get("method_name") or body.get("resource_type") or url.rstrip("/").split("/")[-2]] += 1
    return request(session, method, url, **more)

requests.Session.request = counted
backend = open_backend("costs", AimSettings(repo={server.address!r}), BackendContext(Path.cwd()))
backend.start(RunInfo("one", "costs", 1.0))
first(backend, "1")
asked.clear()
following(backend, "2")
told = dict(asked)
other = open_backend("costs", AimSettings(repo={server.address!r}), BackendContext(Path.cwd()))
other.start(RunInfo("two", "costs", 1.0))
assert other.put(seal("3"), Labels(None, ())).number == 2
assert backend.put_next(seal("4"), Labels(None, ())) is None, "another one was faster"
assert backend.put(seal("4"), Labels(None, ())).number == 3
runs = {{one.hash for each in (backend, other) for one in each._runs._open.values()}}
folders = sorted(path.name for path in Path({str(server.folder)!r}).glob(".aim/tracelet/artifacts/*/model/*") if path.parents[1].name in runs)
print(json.dumps([told, folders]))
other.stop(failed=False)
backend.stop(failed=False)
"""
    )
    assert folders == ["v0", "v1", "v2", "v3"], "what came too late is not left behind"
    assert costs == {
        "TreeView": 2,
        "keys_eager": 4,
        "collect": 3,
        "set": 7,
        "__delitem__": 2,
        "release-resource": 2,
    }


def test_others_write_and_read_while_a_process_keeps_the_catalogue_open(repo: Path, program: Any, hands: Any) -> None:
    """It keeps it open until they ask, and here it would for an hour; then it takes its turn again."""
    keeper = program.begin(
        f"""{HANDS}{FOR_EVER}{PUT}
backend = begun()
first(backend, "1")
print("kept", flush=True)
until = time.monotonic() + 300
while not Path(os.environ["REPO"], "go on").exists():
    assert time.monotonic() < until
    time.sleep(0.01)
assert backend.put_next(seal("3"), Labels(None, ())) is None, "another process was faster"
print(backend.put(seal("3"), Labels(None, ())).number, backend.find("model", "latest").number)
backend.stop(failed=False)
""",
        REPO=str(repo),
    )
    assert keeper.stdout.readline() == "kept\n"
    theirs = hands(
        """
backend = begun("two")
assert backend.find("model", "latest").number == 0
made = backend.put(seal("2"), Labels(None, ())).number
backend.stop(failed=False)
print(json.dumps([made, begun().find("model", "latest").number]))
"""
    )
    assert theirs == [1, 1]
    (repo / "go on").touch()
    out, err = keeper.communicate(timeout=600)
    assert (keeper.returncode, out) == (0, "2 2\n"), err


def test_writers_that_never_rest_take_turns(repo: Path, program: Any) -> None:
    """Each would keep the catalogue open for an hour; no number is given twice, and no one waits for the others' ends."""
    code = f"""{HANDS}{FOR_EVER}
repo = Path(os.environ["REPO"])
backend = begun(str(os.getpid()))
(repo / f"ready-{{os.getpid()}}").touch()
until = time.monotonic() + 300
while len([*repo.glob("ready-*")]) < 3:
    assert time.monotonic() < until
    time.sleep(0.001)
print(json.dumps([backend.put(seal(f"{{os.getpid()}}-{{number}}"), Labels(None, ())).number for number in range(30)]))
backend.stop(failed=False)
"""
    running = [program.begin(code, REPO=str(repo)) for _ in range(3)]
    outputs = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0] * 3, outputs
    numbers = [json.loads(out) for out, _ in outputs]
    assert sorted(itertools.chain(*numbers)) == list(range(90))
    assert any(own[-1] - own[0] >= 30 for own in numbers)


def test_what_was_put_outlives_a_kill_while_the_catalogue_is_open(repo: Path, program: Any, hands: Any) -> None:
    """The killed process flushed nothing and closed nothing; the next one opens the catalogue at once."""
    killed = program.begin(
        f"""{HANDS}{FOR_EVER}{PUT}
backend = begun()
first(backend, "1")
following(backend, "2")
os.kill(os.getpid(), {int(signal.SIGKILL)})
""",
        REPO=str(repo),
    )
    _, err = killed.communicate(timeout=600)
    assert killed.returncode == -signal.SIGKILL, err
    assert hands(
        """
backend = begun("two")
found = backend.find("model", "latest").number
print(json.dumps([found, backend.put(seal("3"), Labels(None, ())).number]))
backend.stop(failed=False)
"""
    ) == [1, 2]


def test_the_newest_versions_of_few_names_are_remembered(hands: Any) -> None:
    """A process that logs ever new names does not grow with them. Of one that is forgotten it looks for the newest."""
    assert hands(
        """
backend = begun()
for number in range(257):
    backend.put(seal("1", name=f"name{number}"), Labels(None, ()))
print(json.dumps([backend.recall("name0") is None, backend.recall("name1").number, backend.find("name0", "latest").number]))
backend.stop(failed=False)
"""
    ) == [True, 0, 0]
