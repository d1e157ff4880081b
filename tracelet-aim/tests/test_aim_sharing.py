"""Several processes on one repo: the user's own, other writers, ones that died, and Aim itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers import programs
from servers.aim_programs import LOG_ONE
from servers.aim_server import AimServer

Ask = Callable[[Path, str], Any]


def test_processes_that_begin_at_once_on_a_repo_that_is_not_there_all_succeed(
    repo: Path, program: Any, ask: Ask
) -> None:
    """Aim alone fails most of them; the user's own `aim.Run` is among them here."""
    ours = """
with opened() as exp:
    print(json.dumps(exp.log_artifact(made(exp, weights=NUMBER))["aim"].version))
"""
    users = f"import aim\nrun = aim.Run(repo={str(repo)!r}, capture_terminal_logs=False)\nrun['mine'] = 1\nrun.close()\nprint('1')"
    running = [program.begin(ours.replace("NUMBER", f"b'{n}'"), TRACELET_AIM_REPO=str(repo)) for n in range(4)]
    running.append(program.begin(users))
    outputs = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0] * 5, outputs
    assert sorted(json.loads(out.splitlines()[-1]) for out, _ in outputs[:4]) == ["v0", "v1", "v2", "v3"]
    assert len(ask(repo, "repo.list_all_runs()")) == 5
    assert sorted(path.name for path in repo.iterdir()) == [".aim"]


def test_repos_are_made_whole_however_many_make_them_at_once(tmp_path: Path, program: Any) -> None:
    """Three processes that are ready meet at one moment, twice; Aim's own making fails most of them."""
    code = f"""
from tracelet_aim.disk import DiskPlace
for attempt in range(2):
    place = {str(tmp_path)!r} + f"/repo-{{attempt}}"
    open(f"{tmp_path}/ready-{{attempt}}-{{os.getpid()}}", "w").close()
    until = time.monotonic() + 300
    while sum(name.startswith(f"ready-{{attempt}}-") for name in os.listdir({str(tmp_path)!r})) < 3:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert DiskPlace(place).repo().list_all_runs() == []
"""
    running = [program.begin(code) for _ in range(3)]
    outputs = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0] * 3, outputs


def test_a_repo_whose_version_is_being_written_is_waited_for(repo: Path, program: Any) -> None:
    """Aim empties the file before it writes it."""
    program(f"import aim\naim.Repo.from_path({str(repo)!r}, init=True)")
    version = repo / ".aim" / "VERSION"
    program(
        f"""
from tracelet_aim.disk import DiskPlace
version = {str(version)!r}
told = open(version).read()
open(version, "w").close()
readings = []
def write_at_the_third(event, arguments):
    if event == "open" and arguments[:2] == (version, "r"):
        readings.append(arguments)
        if len(readings) == 3:
            with open(version, "w") as stream:
                stream.write(told)
sys.addaudithook(write_at_the_third)
assert DiskPlace({str(repo)!r}).repo().list_all_runs() == []
assert len(readings) >= 3
"""
    )


def test_a_repo_that_was_left_without_a_version_is_told_of(repo: Path, program: Any) -> None:
    """Its maker is gone: nobody will write it."""
    program(f"import aim\naim.Repo.from_path({str(repo)!r}, init=True)")
    version = repo / ".aim" / "VERSION"
    version.write_text("")
    os.utime(version, (0, 0))
    (kind, text), *_ = program(LOG_ONE, TRACELET_AIM_REPO=str(repo))
    assert kind == "BackendError"
    assert f"has no version in {version}" in text


def test_the_users_own_run_goes_on_beside_ours(repo: Path, program: Any, ask: Ask) -> None:
    """It is open, tracked to and closed by its owner; ours names it, and no global of Aim's is touched."""
    mine = program(
        f"""
import aim, numpy, random, signal, threading
from aim.ext.cleanup import AutoClean
run = aim.Run(repo={str(repo)!r}, experiment="users", capture_terminal_logs=False, system_tracking_interval=None)
run.track(1.0, name="loss", step=0)
def globals_now():
    return (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, len(AutoClean._finalizers), random.getstate(),
            [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)], numpy.random.get_state()[1].tolist(), os.getcwd())
before = globals_now()
with opened() as exp:
    assert exp.log_artifact(made(exp, weights=b"1")).ok
    run.track(0.5, name="loss", step=1)
assert run.active and before == globals_now()
run.track(0.25, name="loss", step=2)
mine = run.hash
run.close()
from aim.sdk.index_manager import RepoIndexManager
RepoIndexManager.get_index_manager(aim.Repo.from_path({str(repo)!r})).index(mine)
print(json.dumps(mine))
""",
        TRACELET_AIM_REPO=str(repo),
    )
    losses = (
        "[list(m.values.sparse_list()[1]) for m in repo.query_metrics(\"metric.name == 'loss'\", report_mode=0).iter()]"
    )
    assert ask(repo, losses) == [[1.0, 0.5, 0.25]]
    assert ask(repo, f"query(\"run.tracelet.beside == '{mine}'\")") == ask(
        repo, "query(\"run.experiment == 'trials'\")"
    )
    assert len(ask(repo, "query(\"run.experiment == 'trials'\")")) == 1


def test_a_run_that_the_user_closed_or_only_reads_is_not_named(repo: Path, program: Any, ask: Ask) -> None:
    """Ours stands beside a run that is being written to, or beside none."""
    program(
        f"""
import aim
run = aim.Run(repo={str(repo)!r}, experiment="users", capture_terminal_logs=False, system_tracking_interval=None)
mine = run.hash
run.close()
reading = aim.Run(mine, repo={str(repo)!r}, read_only=True)
with opened() as exp:
    assert exp.log_artifact(made(exp, weights=b"1")).ok
""",
        TRACELET_AIM_REPO=str(repo),
    )
    noted = "[[key for key in run['tracelet']] for run in repo.iter_runs() if run.experiment == 'trials']"
    (keys,) = ask(repo, noted)
    assert "run_id" in keys
    assert "beside" not in keys


def test_nothing_is_asked_on_a_terminal(repo: Path, program: Any) -> None:
    """Aim's own commands ask before they make a repo; there is nobody who would answer."""
    home = program.home()
    home.mkdir(parents=True)
    (home / "program.py").write_text(
        """
import sys
from tracelet import ArtifactType, Experiment
with Experiment("trials", backend="aim", artifacts=True) as exp:
    artifact = exp.create_artifact("model", ArtifactType.MODEL)
    artifact.add_file("program.py")
    print(exp.log_artifact(artifact)["aim"].version, sys.stdin.isatty())
"""
    )
    variables = {"TRACELET_AIM_REPO": str(repo), "TRACELET_DIR": str(home / "tracelet")}
    shown = programs.on_a_terminal(["program.py"], home, variables, 60)
    assert b"v0 True" in shown
    assert b"y/n" not in shown.lower()


def test_aims_safe_mode_in_the_users_program_hides_nothing(repo: Path, program: Any) -> None:
    """There Aim logs what fails and goes on; what Tracelet says of a delivery is so all the same."""
    queued = program(
        """
from aim.utils import enable_safe_mode
enable_safe_mode()
exp = opened(deadline=15.0).start()
results = exp.log_artifact(made(exp, weights=b"1"))
exp.stop()
print(json.dumps([list(results), list(results.queued)]))
""",
        TRACELET_AIM_REPO="aim://127.0.0.1:9",
    )
    assert queued == [[], ["aim"]]


def test_a_lane_that_is_killed_in_a_run_costs_nothing_that_was_logged(repo: Path, program: Any, ask: Ask) -> None:
    """Its lock is nobody's any more: the same program goes on, and another one moves aliases of the dead run's versions."""
    home = program.home()
    versions = program(
        """
import psutil, signal
with opened() as exp:
    first = exp.log_artifact(made(exp, weights=b"0"), aliases=["best"])["aim"].version
    (lane,) = [child for child in psutil.Process().children(recursive=True) if "tracelet.worker" in child.cmdline()]
    lane.send_signal(signal.SIGKILL)
    lane.wait()
    results = exp.log_artifact(made(exp, weights=b"1"))
    exp.flush(600)
print(json.dumps([first, [one.version for one in opened().list_artifacts()]]))
""",
        home,
        TRACELET_AIM_REPO=str(repo),
    )
    assert versions == ["v0", ["v1", "v0"]]
    program(
        "with opened() as exp: assert not exp.log_artifact(made(exp, weights=b'1'), version='2.0', aliases=['best'])['aim'].created",
        TRACELET_AIM_REPO=str(repo),
    )
    contents = 'print(json.dumps([open(opened().get_artifact("model", v).download() / "weights").read() for v in ("v0", "best", "2.0")]))'
    assert program(contents, TRACELET_AIM_REPO=str(repo)) == ["0", "1", "1"]
    notes = """{key: [note["label"], note["aliases"]]
        for hash in repo.list_all_runs()
        for key, note in (repo.request_tree("meta", hash, read_only=True)
            .subtree(("meta", "chunks", hash, "attrs", "tracelet", "artifacts")).collect().get("model") or {}).items()}"""
    found = ask(repo, notes)
    assert found["v0"] == [None, []]
    assert found["v1"] == ["2.0", ["best"]]


def test_a_repo_is_the_same_by_its_path_and_through_its_server(program: Any, server: AimServer) -> None:
    """Written to both ways at once: no version twice, none lost, and each way reads what the other wrote."""
    code = """
exp = opened("both-ways").start()
for number in range(6):
    exp.log_artifact(made(exp, weights=f"{os.getpid()} {number}".encode()))
print(json.dumps(exp.flush(600)))
exp.stop()
"""
    ways = [str(server.folder), server.address]
    running = [program.begin(code, TRACELET_AIM_REPO=way) for way in ways]
    outputs = [process.communicate(timeout=600) for process in running]
    assert [(process.returncode, out.strip()) for process, (out, _) in zip(running, outputs, strict=True)] == [
        (0, "0")
    ] * 2
    read = """
print(json.dumps(sorted([one.version, open(one.download() / "weights").read()] for one in opened("both-ways").list_artifacts())))
"""
    found = [program(read, TRACELET_AIM_REPO=way) for way in ways]
    assert found[0] == found[1]
    assert len({version for version, _ in found[0]}) == len({content for _, content in found[0]}) == len(found[0]) == 12


def test_a_server_is_not_kept_from_its_repo_by_a_client_that_died(program: Any, server: AimServer) -> None:
    """It was in the middle of writing: the others take over after some seconds."""
    program("with opened('left') as exp: exp.log_artifact(made(exp, weights=b'0'))", TRACELET_AIM_REPO=server.address)
    program(
        f"""
from tracelet_aim.server import ServerPlace
place = ServerPlace({server.address!r})
with place.writing("tracelet", "left") as tree:
    os._exit(0)
"""
    )
    versions = program(
        """
exp = opened("left").start()
exp.log_artifact(made(exp, weights=b"1"))
exp.flush(600)
exp.stop()
print(json.dumps([one.version for one in opened("left").list_artifacts()]))
""",
        TRACELET_AIM_REPO=server.address,
    )
    assert versions == ["v1", "v0"]


def test_what_an_interrupted_put_left_is_cleared_away_and_nothing_else(repo: Path, program: Any) -> None:
    """Folders of versions that no catalogue knows, once they are old."""
    log = "with opened({!r}) as exp: exp.log_artifact(made(exp, weights=b{!r})).raise_for_errors()"
    program(f"{log.format('trials', '1')}\n{log.format('others', '2')}", TRACELET_AIM_REPO=str(repo))
    left = repo / ".aim/tracelet/artifacts/0123456789abcdef01234567/model/v7"
    left.mkdir(parents=True)
    (left / "weights").write_bytes(b"x" * 1000)
    collect = f"""
from pathlib import Path
from tracelet_aim import AimSettings, _open
from tracelet.plugin import BackendContext
backend, left = _open("trials", AimSettings(repo={str(repo)!r}), BackendContext(Path.cwd())), Path({str(left)!r})
for age in (0, 7200):
    for path in [left.parent, left, *left.rglob("*")]:
        os.utime(path, (time.time() - age, time.time() - age))
    print([sum(backend.collect(time.time() - 3600)), left.exists()])
"""
    running = program.begin(collect)
    out, err = running.communicate(timeout=600)
    assert out.splitlines() == ["[0, True]", "[1000, False]"], err
    read = "print(json.dumps([open(opened(n).get_artifact('model').download() / 'weights').read() for n in ('trials', 'others')]))"
    assert program(read, TRACELET_AIM_REPO=str(repo)) == ["1", "2"]


def test_a_repos_path_may_hold_what_an_address_would_break_at(tmp_path: Path, program: Any) -> None:
    """Aim reads its folder for artifacts as an address, and would write past a `#` into another folder."""
    odd = tmp_path / "a #1 100% ü;x"
    odd.mkdir()
    program("with opened() as exp: assert exp.log_artifact(made(exp, weights=b'1')).ok", TRACELET_AIM_REPO=str(odd))
    read = "print(open(opened().get_artifact('model').download() / 'weights').read())"
    assert program(read, TRACELET_AIM_REPO=str(odd)) == 1
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("home")] == [odd.name]


def test_a_repos_path_that_aim_would_cut_off_is_refused(tmp_path: Path, program: Any) -> None:
    """Two repos that differ after a question mark would share their tables; nothing is made anywhere."""
    odd = tmp_path / "a?b"
    odd.mkdir()
    (kind, text), *_ = program(LOG_ONE, TRACELET_AIM_REPO=str(odd))
    assert kind == "ConfigError"
    assert "TRACELET_AIM_REPO" in text
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("home")) == ["a?b"]
    assert not list(odd.iterdir())


def test_without_a_setting_it_is_the_repo_that_aim_takes(tmp_path: Path, program: Any) -> None:
    """The nearest folder above the program's with a `.aim` in it, else its own; whatever folder it goes to later."""
    project = tmp_path / "project"
    home = project / "deep" / "er"
    log = """
with opened() as exp:
    os.mkdir("elsewhere")
    exp.log_artifact(made(exp, weights=b"1"))
    os.chdir("elsewhere")
    assert exp.log_artifact(made(exp, weights=b"2")).ok
print(json.dumps([one.version for one in opened().list_artifacts()]))
"""
    assert program(log, home) == ["v1", "v0"]
    assert (home / ".aim").is_dir()
    (project / ".aim").mkdir()
    (home / ".aim").rename(project / "aside")
    (project / ".aim").rmdir()
    (project / "aside").rename(project / ".aim")
    other = project / "other"
    assert program("print(json.dumps(len(opened().list_artifacts())))", other) == 2
    assert not (other / ".aim").exists()


def test_what_tracelet_uses_of_aims_insides_is_there(program: Any) -> None:
    """Where a new Aim fails here, see `trees.py`, `disk.py`, `server.py`, `names.py`, `calls.py` and `runs.py` before allowing it."""
    program(
        """
import inspect
import aim
from aim.ext.cleanup import AutoClean
from aim.ext.transport import client, handlers, request_queue, tracking
from aim.sdk.index_manager import RepoIndexManager
from aim.sdk.objects.artifact import Artifact
from aim.sdk.reporter.file_manager import LocalFileManager
from aim.storage.containertreeview import ContainerTreeView
from aim.storage.rockscontainer import RocksContainer
assert hasattr(AutoClean, "_finalizers") and hasattr(client.Client, "get_queue") and "BasicRun" in dir(aim.sdk.run)
queue = inspect.getsource(request_queue.RequestQueue)
assert "self._queue = queue.Queue()" in queue and "self._thread = " in queue
assert list(inspect.signature(handlers.get_tree).parameters) == ["kwargs"]
assert {"name", "sub", "read_only", "index", "timeout"} <= set(handlers.get_tree.__code__.co_consts)
for name in ("get_resource", "release_resource", "run_instruction"):
    assert inspect.iscoroutinefunction(getattr(tracking.TrackingRouter, name)) and "await" not in inspect.getsource(
        getattr(tracking.TrackingRouter, name)).replace("await request.json()", ""), name
for name in ("collect", "set", "__delitem__", "items_eager", "keys_eager", "finalize"):
    assert hasattr(ContainerTreeView, name)
assert inspect.signature(aim.Run.log_artifact).parameters["block"].default is False
assert hasattr(RepoIndexManager, "index") and hasattr(Artifact, "download")
poll = inspect.getsource(LocalFileManager.poll)
assert "base_dir.glob(pattern)" in poll and "return max(paths).name" in poll
assert aim.__version__.__version__.startswith("3.")
"""
    )


def test_the_distribution_says_where_it_can_be_installed() -> None:
    """Aim has no wheels for Python 3.13, and an open range would bring one of 2021 there."""
    show = "import importlib.metadata as m; print(*m.requires('tracelet-aim'), sep='\\n')"
    needs = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout
    (aim,) = [line for line in needs.splitlines() if line.startswith("aim")]
    assert "<4,>=3.29.1" in aim
    assert "python_version < '3.13'" in aim.replace('"', "'")
    assert "sys_platform != 'win32'" in aim.replace('"', "'")
