"""When the repo or the server is not there, or fails: nothing hangs, nothing is lost, and people are told."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import programs
from servers.aim_elsewhere import Elsewhere
from servers.aim_programs import DELIVERED, FINISH, LOG_ONE
from servers.aim_server import AimServer
from servers.faulty_proxy import FaultyProxy
from servers.s3_server import S3Server


@pytest.fixture
def own_server(repo: Path) -> Iterator[AimServer]:
    """A server of the test's own, which is not started."""
    made = AimServer(repo)
    yield made
    made.process.kill()


def test_a_server_that_comes_up_later_gets_what_was_logged_once(own_server: AimServer, program: Any) -> None:
    """The delivery waits, the program ends promptly, and a later one delivers it."""
    home = program.home()
    (kind, text), queued, logged, ended = program(LOG_ONE, home, TRACELET_AIM_REPO=own_server.address)
    assert (kind, queued) == ("BackendUnavailable", True)
    assert "start it with `aim server`" in text
    assert programs.soon(logged, 20)
    assert programs.soon(ended, 35)
    own_server.process.start()
    assert program(FINISH, home, TRACELET_AIM_REPO=own_server.address) == DELIVERED
    assert program(FINISH, home, TRACELET_AIM_REPO=own_server.address) == DELIVERED


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("hang", "BackendUnavailable", "does not answer"),
        ("503", "BackendUnavailable", "HTTP status 503"),
        ("401", "BackendAuthError", "does not let us in"),
        ("404", "BackendError", "no Aim server"),
    ],
)
def test_each_fault_is_told_apart_in_time_and_loses_nothing(
    server: AimServer, program: Any, mode: str, kind: str, words: str
) -> None:
    """A server that hangs, fails, is behind a closed proxy, or is another kind of server."""
    home = program.home()
    name = f"opened({f'faulty-{mode}'!r}"
    with FaultyProxy(server.process.port) as door:
        address = f"aim://127.0.0.1:{door.port}"
        door.set(mode)
        told, queued, logged, ended = program(LOG_ONE.replace("opened(", f"{name}, "), home, TRACELET_AIM_REPO=address)
        assert told[0] == kind, told
        assert words in told[1]
        assert queued
        assert programs.soon(logged, 20)
        assert programs.soon(ended, 35)
        door.set("pass")
        assert program(FINISH.replace("opened(", name), home, TRACELET_AIM_REPO=address) == DELIVERED


GO_ON = """
import psutil
exp = opened(deadline=15.0, stop_timeout=5.0).start()
assert exp.log_artifact(made(exp, weights=b"0" * 1000)).ok
open({logged!r}, "w").close()
while not os.path.exists({gone!r}):
    time.sleep(0.05)
began = time.monotonic()
{then}
logged = time.monotonic() - began
exp.stop()
print(json.dumps([list(results.queued), logged, time.monotonic() - began, len(psutil.Process().children(recursive=True))]))
"""


@pytest.mark.parametrize("way", ["killed", "stopped"])
@pytest.mark.parametrize("then", ["logs", "ends"])
def test_a_server_that_goes_away_in_the_middle_of_a_run_hangs_nothing(
    own_server: AimServer, program: Any, tmp_path: Path, way: str, then: str
) -> None:
    """What was logged stays, what comes after waits; the program ends with no process left, and all is delivered later.

    A run that only ends then would hang in Aim's own `close()`.
    """
    own_server.process.start()
    home = program.home()
    later = {"logs": 'results = exp.log_artifact(made(exp, weights=b"1" * 1000))', "ends": "class results: queued = {}"}
    code = GO_ON.format(logged=str(tmp_path / "logged"), gone=str(tmp_path / "gone"), then=later[then])
    running = program.begin(code, home, TRACELET_AIM_REPO=own_server.address)
    _wait_for(tmp_path / "logged")
    (own_server.process.kill if way == "killed" else own_server.process.stop)()
    (tmp_path / "gone").touch()
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    queued, logged, ended, left = json.loads(out.splitlines()[-1])
    assert queued == (["aim"] if then == "logs" else [])
    assert programs.soon(logged, 20)
    assert programs.soon(ended, 35)
    assert left == 0
    (own_server.process.start if way == "killed" else own_server.process.go_on)()
    stored = [["v1", "1" * 1000], ["v0", "0" * 1000]][then == "ends" :]
    assert program(FINISH, home, TRACELET_AIM_REPO=own_server.address) == [0, stored]


def test_the_address_of_the_ui_is_no_servers(repo: Path, program: Any) -> None:
    """`aim up` answers, and takes no runs: people who mix them up are told which one to start."""
    with AimServer(repo, "up") as shown:
        (kind, text), queued, *_ = program(LOG_ONE, TRACELET_AIM_REPO=shown.address)
    assert (kind, queued) == ("BackendError", True)
    assert "start `aim server`" in text


def test_the_end_of_a_server_leaves_no_port_bound(repo: Path) -> None:
    """Its process has a child that outlives it; the tests' helper ends both."""
    with AimServer(repo) as server:
        port = server.process.port
    until = time.monotonic() + 120
    while _answers(port):
        assert time.monotonic() < until, "the server's child is still there"
        time.sleep(0.05)


def test_an_artifact_of_thousands_of_files_gets_through_a_server_that_needs_long_for_it(
    server: AimServer, program: Any
) -> None:
    """Time is up where nothing gets on, and not where much is to be done."""
    longest = program(
        f"""
from pathlib import Path
from tracelet.plugin import BackendContext, Labels, RunInfo
from tracelet.testing.samples import Samples
from tracelet_aim import AimSettings, _open, client, server
client._LIMIT, client._MARGIN, client._LOOK = 0.5, 0.1, 0.1
took = []
def timed(*arguments):
    began = time.monotonic()
    client.drain(*arguments)
    took.append(time.monotonic() - began)
server.drain = timed
backend = _open("thousands", AimSettings(repo={server.address!r}), BackendContext(Path.cwd()))
backend.start(RunInfo("1", "thousands", time.time()))
sealed = Samples(Path("samples")).seal("wide", {{f"{{number}}.bin": b"x" for number in range(4000)}})
assert backend.put(sealed, Labels()).number == 0
backend.stop(failed=False)
print(json.dumps(max(took)))
"""
    )
    assert longest > 0.6, "it was too quick to show anything: give it more files"


def test_without_aim_people_are_told_what_to_install(repo: Path, program: Any, tmp_path: Path) -> None:
    """The delivery waits, and arrives when Aim is there."""
    (tmp_path / "without" / "aim").mkdir(parents=True)
    (tmp_path / "without" / "aim" / "__init__.py").write_text("raise ImportError('no Aim on this machine')")
    home = program.home()
    environ = {"TRACELET_AIM_REPO": str(repo)}
    (kind, text), queued, *_ = program(LOG_ONE, home, PYTHONPATH=str(tmp_path / "without"), **environ)
    assert (kind, queued) == ("BackendUnavailable", True)
    assert "pip install 'tracelet-core[aim]'" in text
    assert program(FINISH, home, **environ) == DELIVERED


def test_a_repo_of_an_older_aim_is_told_and_not_touched(repo: Path, program: Any) -> None:
    """Aim itself raises an error without words."""
    (repo / ".aim").mkdir()
    (repo / ".aim" / "VERSION").write_text("0.9\n")
    (kind, text), queued, *_ = program(LOG_ONE, TRACELET_AIM_REPO=str(repo))
    assert (kind, queued) == ("BackendError", True), text
    assert "before 3.0" in text
    assert [path.name for path in (repo / ".aim").iterdir()] == ["VERSION"]


def test_a_killed_process_does_not_keep_the_others_from_aims_tables(repo: Path, program: Any) -> None:
    """Aim's lock for them is a file, which a killed process leaves behind."""
    program(LOG_ONE, TRACELET_AIM_REPO=str(repo))
    lock = repo / ".aim" / "locks" / "structured_db_lock"
    killed = program.begin(
        f"from filelock import SoftFileLock\nheld = SoftFileLock({str(lock)!r})\nheld.acquire()\nos.kill(os.getpid(), 9)"
    )
    killed.communicate(timeout=600)
    assert lock.exists()
    assert program(LOG_ONE.replace('b"1"', 'b"2"'), TRACELET_AIM_REPO=str(repo))[0] is None


def test_a_catalogue_that_another_process_holds_is_waited_for_and_told(
    repo: Path, program: Any, tmp_path: Path
) -> None:
    """For a while; then it says who may have it, and that it may pass."""
    program(LOG_ONE, TRACELET_AIM_REPO=str(repo))
    holder = program.begin(
        f"""
from aim.storage.rockscontainer import RocksContainer
held = RocksContainer({str(repo / ".aim/tracelet/chunks/trials")!r}, read_only=False)
open({str(tmp_path / "held")!r}, "w").close()
while not os.path.exists({str(tmp_path / "free")!r}):
    time.sleep(0.05)
held.close()
"""
    )
    _wait_for(tmp_path / "held")
    told = program(
        f"""
from tracelet.exceptions import BackendUnavailable
from tracelet_aim.disk import DiskPlace
place = DiskPlace({str(repo)!r})
with place.reading("tracelet", "trials") as tree:
    print(json.dumps(tree.get("next", "model")))
try:
    with place.writing("tracelet", "trials", patience=0.2):
        raise AssertionError("it is held")
except BackendUnavailable as error:
    print(json.dumps(str(error)))
"""
    )
    assert "held by another process" in told
    home = program.home()
    waits = program.begin(LOG_ONE, home, TRACELET_AIM_REPO=str(repo))
    _wait_for(home / "tracelet")
    (tmp_path / "free").touch()
    assert programs.finish(waits)[0] is None
    holder.communicate(timeout=600)


def test_bytes_do_not_stay_behind_on_a_machine_that_the_server_does_not_see(
    own_server: AimServer, repo: Path, program: Any, bucket: S3Server
) -> None:
    """Aim copies them to a folder of the client's, and the server never sees them; here the delivery waits for a bucket."""
    own_server.process.start()
    home = program.home()
    with Elsewhere(own_server.process.port, str(repo)) as relay:
        address = {"TRACELET_AIM_REPO": f"aim://127.0.0.1:{relay.port}"}
        (kind, text), queued, *_ = program(LOG_ONE, home, **address)
        assert (kind, queued) == ("BackendError", True)
        assert "TRACELET_AIM_ARTIFACTS_URI" in text
        assert not list(repo.parent.rglob("artifacts"))
        store = {"TRACELET_AIM_ARTIFACTS_URI": bucket.url("elsewhere"), **bucket.environ}
        assert program(FINISH, home, **address, **store)[1] == [["v0", "1" * 1000]]
    # The server's own machine finds them, too.
    assert program(FINISH, TRACELET_AIM_REPO=str(repo), **bucket.environ)[1] == [["v0", "1" * 1000]]


def test_a_server_cannot_make_a_reader_copy_files_of_its_own(own_server: AimServer, repo: Path, program: Any) -> None:
    """A folder that only a server's catalogue names is read where the user says that it is shared."""
    own_server.process.start()
    shared = repo.parent / "shared"
    own = {"TRACELET_AIM_REPO": str(repo), "TRACELET_AIM_ARTIFACTS_URI": f"file://{shared}"}
    assert program(LOG_ONE, **own)[0] is None
    with Elsewhere(own_server.process.port, str(repo)) as relay:
        address = {"TRACELET_AIM_REPO": f"aim://127.0.0.1:{relay.port}"}
        code = """
from tracelet.exceptions import TraceletError
try:
    print(json.dumps(open(opened().get_artifact("model").download() / "weights").read()))
except TraceletError as error:
    print(json.dumps(str(error)))
"""
        assert "TRACELET_AIM_SHARED_FILES" in program(code, **address)
        assert program(code, **address, TRACELET_AIM_SHARED_FILES="true") == "1" * 1000


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(path: Path, limit: float = 600.0) -> None:
    until = time.monotonic() + limit
    while not os.path.exists(path):
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.05)
