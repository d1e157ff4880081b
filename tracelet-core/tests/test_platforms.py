"""Systems that are not Linux as it usually is: no ``/proc`` shows processes there, or nothing of what Tracelet needs is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pacing import pace
from watching import Scripted, lane_processes

Run = Callable[[str], Any]

#: In mounts of its own: its first argument is where what was in /proc is still to be found.
HIDE = 'mount --rbind /proc "$1" && mount -t tmpfs none /proc && shift && exec "$@"'
#: psutil asks the system itself on macOS; on Linux it reads /proc, wherever it is told that this is.
SHOWN = "import psutil\npsutil.PROCFS_PATH = {place!r}\n"
ABSENT = "raise ModuleNotFoundError('it is not installed', name='psutil')"

BEGIN = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

import attrs

from tracelet.core.system.processes import TOKEN, alive, current, end_family, family, io_bytes, owned_by, process_id

assert not Path("/proc/self").exists()

WAITING = "import sys, time; print('up', flush=True); time.sleep(1000)"

def spawn(script=WAITING, token="it", **options):
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, TOKEN: token}, **options)
    child.stdout.readline()
    return child

def told(value):
    print(json.dumps(value))
"""


def unshared(script: str, folder: Path, python: dict[str, str]) -> Any:
    """What a program tells from which /proc is hidden; ``python`` are modules that it finds before all others."""
    shown, modules = folder / "proc", folder / "modules"
    shown.mkdir(parents=True)
    modules.mkdir()
    for name, text in python.items():
        (modules / f"{name}.py").write_text(text.format(place=str(shown)))
    path = os.pathsep.join([str(modules), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", HIDE, "sh", shown, sys.executable, "-c", BEGIN + script],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def _mounts_of_ones_own() -> None:
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system gives no process mounts of its own")


@pytest.fixture
def by_psutil(tmp_path: Path) -> Run:
    """Run a program where psutil alone shows processes, and have what it tells."""
    return lambda script: unshared(script, tmp_path / "unshared", {"sitecustomize": SHOWN})


@pytest.fixture
def blind(tmp_path: Path) -> Run:
    """Run a program where nothing shows processes, and have what it tells."""
    return lambda script: unshared(script, tmp_path / "unshared", {"psutil": ABSENT})


class TestWherePsutilShowsProcesses:
    def test_a_process_is_told_from_a_later_one_with_its_number(self, by_psutil: Run) -> None:
        script = """
child = spawn()
seen = process_id(child.pid)
earlier = attrs.evolve(seen, started=str(float(seen.started) - 1))
lives = [alive(current()), alive(seen), alive(earlier)]
child.kill()
child.wait()
told([*lives, alive(seen), process_id(child.pid).started])
"""
        assert by_psutil(script) == [True, True, False, False, ""]

    def test_a_zombie_runs_nothing(self, by_psutil: Run) -> None:
        script = """
child = spawn()
seen = process_id(child.pid)
child.kill()
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
told([alive(seen), process_id(child.pid).started])
"""
        assert by_psutil(script) == [False, ""]

    def test_a_family_is_ended_in_all_its_sessions_and_without_the_variables(self, by_psutil: Run) -> None:
        bare = f"import subprocess, sys; subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(1000)'], env={{}})"
        script = f"""
children = [spawn(), spawn(start_new_session=True), spawn("{bare}; print('up', flush=True); sys.stdin.read()", stdin=subprocess.PIPE)]
stranger = spawn(token="another")
found = family("it")
left = end_family("it", spare=children[0].pid)
told([len(found), left, children[0].poll(), [child.wait() for child in children[1:]], stranger.poll(), family("it") == [children[0].pid]])
children[0].kill()
stranger.kill()
"""
        assert by_psutil(script) == [4, [], None, [-9, -9], None, True]

    def test_the_lanes_of_a_dead_process_are_found(self, by_psutil: Run) -> None:
        script = """
from tracelet.core.system.processes import OWNER, owner_mark
child = subprocess.Popen([sys.executable, "-c", WAITING], env={**os.environ, OWNER: owner_mark(current())})
told(owned_by(current()) == [child.pid])
child.kill()
"""
        assert by_psutil(script) is True


@pytest.fixture
def another_users() -> Iterator[int]:
    """A process that is not this user's."""
    if os.geteuid():
        yield 1
        return
    other = subprocess.Popen(["sleep", "1000"], user=65534)
    yield other.pid
    other.kill()
    other.wait()


class TestWhereNothingShowsProcesses:
    def test_whoever_has_the_number_is_taken_for_the_process(self, blind: Run, another_users: int) -> None:
        script = f"""
child = spawn()
seen = process_id(child.pid)
lives = [alive(current()), alive(seen), alive(attrs.evolve(seen, started="12")), alive(process_id({another_users}))]
child.kill()
child.wait()
told([*lives, alive(seen), process_id(child.pid).started])
"""
        assert blind(script) == [True, True, True, True, False, ""]

    def test_a_lanes_process_group_is_ended(self, blind: Run) -> None:
        script = """
leader = spawn("import subprocess, sys; subprocess.Popen(['sleep', '1000']); print('up', flush=True); sys.stdin.read()", stdin=subprocess.PIPE, start_new_session=True)
left = end_family("it", leader.pid)
# Its output ends with the last that had it open.
told([family("it"), left, leader.stdout.read().decode(), leader.wait(), end_family("it", leader.pid), end_family("it")])
"""
        assert blind(script) == [[], [], "", -9, [], []]

    def test_a_family_cannot_be_told(self, blind: Run) -> None:
        script = """
child = spawn()
told([family("it"), owned_by(current()), io_bytes("it"), child.poll()])
child.kill()
"""
        assert blind(script) == [[], [], None, None]


def test_who_was_seen_otherwise_is_not_taken_for_dead(by_psutil: Run) -> None:
    """A process that was noted where /proc is, or where nothing is, may be the one that has its number now."""
    script = """
me = current()
told([alive(attrs.evolve(me, started="123456")), alive(attrs.evolve(me, started="?")), alive(attrs.evolve(me, started=""))])
"""
    assert by_psutil(script) == [True, True, False]


LOG = """
from tracelet import ArtifactType, Experiment, ExperimentConfig
limits = ExperimentConfig(deadline={deadline}, open_timeout={long}, stop_timeout={long})
with Experiment("trials", backend="scripted", artifacts=True, config=limits) as exp:
    while exp.stats()["backends"]["scripted"]["state"] != "ready":
        time.sleep(0.01)
    thing = exp.create_artifact("thing", ArtifactType.CONFIG).add_object({{"a": 1}}, "a")
    results = exp.log_artifact(thing)
    told([results.ok, str(results.queued.get("scripted", ""))])
"""


@pytest.fixture(params=["by_psutil", "blind"])
def either(request: pytest.FixtureRequest, scripted: Scripted) -> Run:
    """Run a program where psutil shows processes, and one where nothing does."""
    found: Run = request.getfixturevalue(request.param)
    return found


class TestALane:
    """Whoever shows its processes."""

    def test_delivers_and_ends_with_the_program(self, either: Run) -> None:
        assert either(LOG.format(deadline=30 * pace(), long=30 * pace())) == [True, ""]
        assert not lane_processes()

    def test_that_hangs_is_ended_with_what_it_has_started(self, either: Run, scripted: Scripted) -> None:
        scripted.told(put="brood 1000")
        ok, reason = either(LOG.format(deadline=1.5 * pace(), long=30 * pace()))
        assert not ok
        assert "did not answer within" in reason
        left = lane_processes()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        # What has begun a session of its own is seen no more where nothing shows it.
        assert not [pid for pid in left if pid in scripted.calls("put") or os.getsid(pid) != pid]

    def test_takes_along_what_has_left_its_session_where_that_is_shown(
        self, by_psutil: Run, scripted: Scripted
    ) -> None:
        scripted.told(put="brood 1000")
        by_psutil(LOG.format(deadline=1.5 * pace(), long=30 * pace()))
        assert not lane_processes()


#: A stall of a second.
HURRY = """
from tracelet.core.lanes import process_lane
process_lane._STALL = 1.0
script = Path(os.environ["TRACELET_SCRIPTED_PLACE"], "script")
"""

ASK = (
    HURRY
    + """
from tracelet.core.lanes.lane import open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import BackendUnavailable
from tracelet.settings import load_plugin

spec = registry().backends.get("scripted")
lane = open_lane(spec, "trials", load_plugin(spec.settings, "scripted"), BackendContext(Path(".tracelet").absolute()))
lane.open(120.0)
script.write_text(json.dumps({"find": "busy 30"}))
began = time.monotonic()
found = lane.request("find", None, name="thing", ref="latest")
took = time.monotonic() - began
script.write_text(json.dumps({"find": "hang"}))
try:
    lane.request("find", None, name="thing", ref="latest")
except BackendUnavailable as error:
    told([found, took > 2.0, str(error)])
"""
)

SYNC = (
    HURRY
    + """
from tracelet import ArtifactType, Experiment
from tracelet.core.plugins.registry import registry
from tracelet.core.maintenance.sync import sync
from tracelet.settings import TraceletSettings

script.write_text(json.dumps({{"put": "away"}}))
Path("file").write_bytes(bytes({size}))
with Experiment("trials", backend="scripted", artifacts=True) as exp:
    exp.log_artifact(exp.create_artifact("thing", ArtifactType.CONFIG).add_file("file"))
script.write_text(json.dumps({{"put": "sleep {seconds}"}}))
report = sync(Path(".tracelet").absolute(), TraceletSettings(), registry(), lambda _: None)
told([len(report.delivered), [one.reason for one in report.left]])
"""
)


class TestARequestWithoutALimit:
    """Where nothing counts what a lane's processes read and write."""

    def test_goes_on_for_as_long_as_it_is_at_work(self, either: Run) -> None:
        found, several_stalls, hangs = either(ASK)
        assert (found, several_stalls) == (None, True)
        assert hangs.startswith("scripted did not answer within 1 s; its process was ended.")

    def test_of_sync_has_the_time_that_its_bytes_need_on_a_slow_line(self, either: Run, home: Path) -> None:
        assert either(SYNC.format(size=8 << 20, seconds=3)) == [1, []]

    def test_of_sync_has_no_longer_than_that(self, either: Run, home: Path) -> None:
        delivered, reasons = either(SYNC.format(size=10, seconds=1000))
        assert delivered == 0
        assert [reason.partition(";")[0] for reason in reasons] == ["scripted did not answer within 1 s"]


WINDOWS = """
import importlib.metadata, logging, os, shutil, signal, subprocess, sys, tempfile

for name in ("O_NOFOLLOW", "O_NONBLOCK", "fork", "geteuid", "getuid", "killpg", "register_at_fork", "setsid"):
    delattr(os, name)
del signal.SIGKILL
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
sys.platform = "win32"
"""
REFUSAL = "Tracelet does not run on Windows: use it in WSL 2 or in a Linux container, where it does."


class TestWindows:
    """With what Python lacks there taken away."""

    def test_is_refused_by_an_experiment(self, home: Path) -> None:
        script = """
from tracelet import ConfigError, Experiment
try:
    Experiment("trials")
except ConfigError as error:
    print(error)
"""
        assert self.run(script) == (0, f"{REFUSAL}\n", "")
        assert not list(home.iterdir())

    @pytest.mark.parametrize("flags", [[], ["--json"]])
    def test_is_refused_by_the_command(self, home: Path, flags: list[str]) -> None:
        code, out, err = self.run("from tracelet.cli import main\nmain()", "doctor", *flags)
        assert (code, err) == (2, f"error: {REFUSAL}\n")
        assert [json.loads(line) for line in out.splitlines()] == [
            {"error": {"type": "ConfigError", "message": REFUSAL}} for _ in flags
        ]

    def run(self, script: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", WINDOWS + script, *arguments],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr
