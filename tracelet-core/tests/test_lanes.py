"""Whatever a backend does in its process, the user's program goes on, is told, and loses nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from pacing import pace
from watching import Scripted, beside, lane_processes

import tracelet
from tracelet import ArtifactType, BackendError, BackendUnavailable, Experiment, TraceletArtifact, TraceletError
from tracelet.core.lanes import process_lane, worker_process
from tracelet.core.lanes.lane import Lane, open_lane
from tracelet.core.lanes.state import LaneState
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import registry
from tracelet.settings import load_plugin

Make = Callable[..., Experiment]


def artifact(name: str = "thing", text: str = "content") -> TraceletArtifact:
    Path(f"{name}.txt").write_text(text)
    return TraceletArtifact(name, ArtifactType.CONFIG).add_file(f"{name}.txt")


def read_through_its_lane(exp: Experiment) -> str:
    return (exp.get_artifact("thing").download() / "thing.txt").read_text()


def read_back(exp: Experiment) -> str:
    return read_through_its_lane(beside(exp))


def scripted_lane(home: Path) -> Lane:
    """A lane to scripted, not opened."""
    spec = registry().backends.get("scripted")
    return open_lane(spec, "trials", load_plugin(spec.settings, "scripted"), BackendContext(home / ".tracelet"))


def pipe_of_answers(scripted: Scripted) -> str:
    """The descriptor on which scripted's process answers."""
    (pid,) = set(scripted.calls("put"))
    return next(
        descriptor.name
        for descriptor in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name))
        if int(descriptor.name) > 2 and os.readlink(descriptor).startswith("pipe:")
    )


def test_a_backend_lives_in_a_process_of_its_own(scripted: Scripted, experiment: Make) -> None:
    results = experiment().log_artifact(artifact())
    assert results.ok
    assert scripted.calls("put")[0] != os.getpid()
    assert "scripted" not in sys.modules or scripted.calls("open")[0] != os.getpid()


@pytest.mark.parametrize(
    ("misdeed", "told"),
    [
        ("hang", "did not answer within"),
        ("stubborn", "did not answer within"),
        ("crash", "exit code 3"),
        ("crash", "its last words"),
        ("quit", "scripted: SystemExit: 5"),
        ("brood 1000", "did not answer within"),
        ("away", "scripted is out"),
        ("locked", "scripted does not know you"),
        ("broken", "scripted: ZeroDivisionError: scripted divides"),
    ],
)
def test_what_a_put_does_not_finish_is_told_in_time_and_kept(
    scripted: Scripted, experiment: Make, misdeed: str, told: str
) -> None:
    exp = experiment()
    assert exp.log_artifact(artifact("first")).ok
    scripted.told(put=misdeed)
    began = time.monotonic()
    results = exp.log_artifact(artifact())
    assert time.monotonic() - began < 5 * exp.settings.deadline
    assert told in str(results.queued["scripted"])
    assert not results
    assert not results.ok

    scripted.told()
    Path("thing.txt").unlink()
    assert exp.flush() == 0
    assert read_back(exp) == "content"
    assert [one.version for one in exp.list_artifacts() if one.name == "thing"] == ["v0"]


def test_children_of_a_killed_backend_are_killed_with_it(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    assert exp.log_artifact(artifact("first")).ok
    before = set(lane_processes())
    scripted.told(put="brood 1000")
    exp.log_artifact(artifact())
    left = set(lane_processes()) - before
    commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left}
    assert not [command for command in commands if b"987" in command]


def test_children_that_a_well_behaved_backend_leaves_are_ended_with_the_lane(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment()
    scripted.told(put="brood")
    assert exp.log_artifact(artifact()).ok
    assert any(b"987" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in lane_processes())
    exp.stop()
    assert not lane_processes()


@pytest.mark.parametrize("descriptor", ["1", "2"])
def test_chatter_of_an_sdk_does_not_reach_the_pipe(scripted: Scripted, experiment: Make, descriptor: str) -> None:
    scripted.told(put=f"babble {descriptor}", find="print")
    exp = experiment()
    assert exp.log_artifact(artifact()).ok
    assert read_back(exp) == "content"


def test_rubbish_on_the_pipe_ends_the_lane_and_nothing_else(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("first"))
    scripted.told(put=f"babble {pipe_of_answers(scripted)}")
    results = exp.log_artifact(artifact())
    assert "wrote something else than an answer" in str(results.queued["scripted"])
    scripted.told()
    assert exp.flush() == 0
    assert read_back(exp) == "content"


@pytest.mark.parametrize("method", ["find", "list", "fetch"])
@pytest.mark.parametrize("misdeed", ["hang", "crash"])
def test_reading_from_a_backend_that_misbehaves_raises_in_time(
    scripted: Scripted, experiment: Make, method: str, misdeed: str
) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    stored = exp.get_artifact("thing")
    scripted.told(**{method: misdeed})
    calls = {"find": lambda: exp.get_artifact("thing"), "list": exp.list_artifacts, "fetch": stored.download}
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match="scripted"):
        calls[method]()
    assert time.monotonic() - began < 8 * pace()
    scripted.told()
    assert read_through_its_lane(exp) == "content"


def test_reads_do_not_wait_behind_an_upload(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    read_through_its_lane(exp)
    scripted.told(put="held")
    future = exp.submit_artifact(artifact("big"))
    while len(scripted.calls("put")) < 2:
        time.sleep(0.01)
    assert read_through_its_lane(exp) == "content"
    assert not future.done()
    scripted.told()
    assert future.result(60).ok


def test_a_lane_that_does_not_open_is_told_and_the_artifact_is_kept(scripted: Scripted, experiment: Make) -> None:
    scripted.told(open="away")
    exp = experiment()
    results = exp.log_artifact(artifact())
    assert "scripted is out" in str(results.queued["scripted"])
    stats = exp._artifact_manager.get_stats()["backends"]["scripted"]
    assert stats["state"] == "broken"
    assert "scripted is out" in stats["reason"]
    assert stats["waiting"] == 1


def test_a_lane_that_opens_slowly_does_not_keep_the_caller(scripted: Scripted, experiment: Make) -> None:
    scripted.told(open="held")
    exp = experiment(deadline=0.5, open_timeout=60.0)
    results = exp.log_artifact(artifact())
    assert "still opening" in str(results.queued["scripted"])
    scripted.told()
    assert exp.flush(60) == 0
    assert read_back(exp) == "content"


def test_a_lane_that_hangs_in_opening_is_ended_after_its_own_limit(scripted: Scripted, experiment: Make) -> None:
    scripted.told(open="hang")
    exp = experiment(open_timeout=1.6, deadline=3.0)
    results = exp.log_artifact(artifact())
    assert f"did not answer within {exp.settings.open_timeout:.3g} s" in str(results.queued["scripted"])


@pytest.mark.parametrize("misdeed", ["hang", "stubborn", "crash", "broken"])
def test_stop_ends_in_time_whatever_the_backend_does(
    scripted: Scripted, experiment: Make, misdeed: str, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment(stop_timeout=1.5)
    exp.log_artifact(artifact())
    scripted.told(stop=misdeed)
    began = time.monotonic()
    exp.stop()
    assert time.monotonic() - began < 4 * exp.settings.stop_timeout
    assert not lane_processes()
    assert "did not end its run as it should" in caplog.text


def test_stop_with_a_delivery_that_hangs_leaves_it_in_the_outbox(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment(stop_timeout=2.0, deadline=60.0)
    assert exp.log_artifact(artifact("first")).ok
    scripted.told(put="hang")
    future = exp.submit_artifact(artifact())
    while len(scripted.calls("put")) < 2:
        time.sleep(0.01)
    began = time.monotonic()
    exp.stop()
    assert time.monotonic() - began < 6 * pace()
    assert "1 delivery waits" in caplog.text
    assert "tracelet sync" in caplog.text
    assert "scripted" in future.result(60).queued
    scripted.told()
    again = experiment()
    assert again.flush() == 0
    assert read_back(again) == "content"


def test_stop_while_a_lane_opens_does_not_wait_for_it(scripted: Scripted, experiment: Make) -> None:
    scripted.told(open="sleep 30")
    exp = experiment(stop_timeout=20.0)
    time.sleep(0.5)
    began = time.monotonic()
    exp.stop()
    assert time.monotonic() - began < 3 * pace()


def test_a_run_that_is_left_by_an_exception_is_told_so(scripted: Scripted, experiment: Make) -> None:
    def program() -> None:
        with experiment() as exp:
            exp.log_artifact(artifact())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert scripted.calls("stop_failed_True")
    assert not scripted.calls("stop_failed_False")


def test_the_sdks_variables_are_set_in_the_lane_only(scripted: Scripted, experiment: Make) -> None:
    experiment().log_artifact(artifact())
    (pid,) = set(scripted.calls("put"))
    assert b"SCRIPTED_SDK_QUIET=1" in Path(f"/proc/{pid}/environ").read_bytes()
    assert "SCRIPTED_SDK_QUIET" not in os.environ


def test_a_lanes_process_finds_the_tracelet_that_opened_it_and_takes_its_modules_for_no_others(
    scripted: Scripted, experiment: Make
) -> None:
    experiment().log_artifact(artifact())
    (pid,) = set(scripted.calls("put"))
    variables = dict(line.partition("=")[::2] for line in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    paths = [Path(part) for part in variables.get("PYTHONPATH", "").split(os.pathsep)]
    installed = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    package = Path(tracelet.__file__).resolve().parent
    assert package.parent in [*paths, *installed]
    assert package not in paths


PROGRAM = """
import sys
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig
exp = Experiment("trials", backend="scripted", artifacts=True, config=ExperimentConfig(deadline=1.5, stop_timeout=1.5))
exp.start()
Path("thing.txt").write_text("content")
artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_file("thing.txt")
"""


def run(program: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + program], capture_output=True, text=True, timeout=180, **more
    )


@pytest.mark.parametrize("misdeed", ["hang", "stubborn", "brood 1000"])
def test_a_program_that_forgets_to_stop_ends_promptly_and_loses_nothing(
    scripted: Scripted, experiment: Make, misdeed: str
) -> None:
    scripted.told(put=misdeed)
    began = time.monotonic()
    done = run("print(exp.log_artifact(artifact))")
    assert "queued" in done.stdout
    assert done.returncode == 0
    assert time.monotonic() - began < 15 * pace()
    scripted.told()
    exp = experiment()
    assert exp.flush() == 0
    assert read_back(exp) == "content"


def test_a_program_without_a_main_guard_is_not_run_again_by_its_lanes(scripted: Scripted) -> None:
    Path("script.py").write_text(PROGRAM + "print('ran'); exp.log_artifact(artifact)")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout == "ran\n"


def test_a_file_in_the_users_folder_does_not_stand_in_for_a_module(scripted: Scripted) -> None:
    Path("cattrs.py").write_text("raise RuntimeError('the wrong cattrs')")
    Path("queue.py").write_text("raise RuntimeError('the wrong queue')")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM + "print(exp.log_artifact(artifact))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert done.stdout == "<LogResults scripted: v0>\n"


@pytest.mark.parametrize("misdeed", ["sleep 1", "hang"])
def test_when_the_program_is_killed_its_lane_finishes_in_hand_and_ends(
    scripted: Scripted, experiment: Make, misdeed: str
) -> None:
    scripted.told(put=misdeed)
    program = subprocess.Popen([sys.executable, "-c", PROGRAM + "exp.submit_artifact(artifact).result()"])
    while not scripted.calls("put"):
        time.sleep(0.02)
    program.kill()
    program.wait()
    until = time.monotonic() + 60
    while lane_processes() and time.monotonic() < until:
        time.sleep(0.05)
    assert not lane_processes()
    scripted.told()
    exp = experiment()
    assert exp.flush() == 0
    assert [one.version for one in exp.list_artifacts()] == ["v0"]
    assert len(scripted.calls("after_put")) == 1


def test_ctrl_c_in_the_middle_of_a_delivery_loses_nothing(scripted: Scripted, experiment: Make) -> None:
    scripted.told(put="sleep 1")
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "exp.log_artifact(artifact)"], stderr=subprocess.PIPE, text=True
    )
    while not scripted.calls("put"):
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=180)
    assert "KeyboardInterrupt" in errors
    exp = experiment()
    assert exp.flush() == 0
    assert read_back(exp) == "content"
    assert [one.version for one in exp.list_artifacts()] == ["v0"]


OF_JOBS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.parametrize("number", OF_JOBS, ids=lambda number: number.name)
def test_a_signal_to_each_process_of_a_job_does_not_end_the_delivery_of_a_program_that_goes_on(
    scripted: Scripted, experiment: Make, number: signal.Signals
) -> None:
    scripted.told(put="held")
    exp = experiment()
    future = exp.submit_artifact(artifact())
    while not scripted.calls("put"):
        time.sleep(0.02)
    for pid in lane_processes():
        os.kill(pid, number)
    scripted.told()
    assert future.result(60).ok
    assert len(scripted.calls("put")) == len(scripted.calls("open")) == 1


def test_a_job_that_slurm_ends_has_ended_its_run(scripted: Scripted) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "exp.log_artifact(artifact); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stdout.readline()
    for pid in (*lane_processes(), program.pid):
        os.kill(pid, signal.SIGTERM)
    program.communicate()
    assert program.returncode == -signal.SIGTERM
    while lane_processes():
        time.sleep(0.05)
    assert scripted.calls("stop_failed_True")


def test_an_sdk_can_end_what_it_has_started(scripted: Scripted, experiment: Make) -> None:
    scripted.told(put="terminate")
    assert experiment().log_artifact(artifact()).ok


@pytest.mark.parametrize("method", ["put", "fetch"])
def test_what_a_backend_warns_of_is_warned_of_in_the_users_program(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    exp = experiment()
    scripted.told(**{method: "warn 2"})
    assert exp.log_artifact(artifact()).ok
    assert read_through_its_lane(exp) == "content"
    of_the_lane = [
        (one.name, one.levelname, one.getMessage()) for one in caplog.records if "script" in one.getMessage()
    ]
    assert of_the_lane == [("tracelet.scripted", "WARNING", f"scripted minds {number}") for number in range(2)]
    assert "nobody asked" not in caplog.text


def test_a_backend_that_warns_without_end_is_not_heard_to_the_end(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.told(put="warn 1000")
    assert experiment().log_artifact(artifact()).ok
    assert caplog.text.count("scripted minds") == 20


def test_a_lane_that_is_not_open_says_so(scripted: Scripted, experiment: Make) -> None:
    lane = experiment()._artifact_manager._process.finder._readers["scripted"].lane
    with pytest.raises(BackendError, match="its lane is not open"):
        lane.request("find", 1.0, name="thing", ref="latest")


def test_what_a_lane_writes_for_its_log_is_removed_with_it(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    exp = experiment()
    exp.log_artifact(artifact())
    assert list((home / ".tracelet" / "lanes").iterdir())
    exp.stop()
    assert not list((home / ".tracelet" / "lanes").iterdir())


def test_a_backend_that_closes_its_pipe_is_ended_like_one_that_dies(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(deadline=10.0)
    exp.log_artifact(artifact("first"))
    scripted.told(put=f"deaf {pipe_of_answers(scripted)}")
    assert "(it closed its pipe)" in str(exp.log_artifact(artifact()).queued["scripted"])


def test_a_lane_whose_log_somebody_cleared_away_is_ended_like_any_other(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    exp = experiment()
    exp.log_artifact(artifact("first"))
    for log in (home / ".tracelet" / "lanes").iterdir():
        log.unlink()
    scripted.told(put="crash")
    assert str(exp.log_artifact(artifact()).queued["scripted"]).endswith("(exit code 3).")


def test_an_answer_without_end_ends_the_lane(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    monkeypatch.setattr(worker_process, "_LONGEST", 10)
    with pytest.raises(BackendUnavailable, match="wrote something else than an answer"):
        exp.list_artifacts()


def test_what_does_not_fit_into_the_pipe_at_once_arrives_whole(scripted: Scripted, experiment: Make) -> None:
    long = artifact()
    long.metadata["words"] = "word " * 100_000
    exp = experiment(deadline=10.0)
    assert exp.log_artifact(long).ok
    assert beside(exp).get_artifact("thing").metadata == long.metadata


def test_a_delivery_without_a_limit_goes_on_for_as_long_as_bytes_move(
    scripted: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_lane, "_STALL", 0.5)
    lane = scripted_lane(home)
    lane.open(20.0)
    scripted.told(find="busy 12")
    began = time.monotonic()
    assert lane.request("find", None, name="thing", ref="latest") is None
    assert time.monotonic() - began > 1.0
    scripted.told(find="hang")
    with pytest.raises(BackendUnavailable, match=r"did not answer within 0\.5 s"):
        lane.request("find", None, name="thing", ref="latest")
    lane.close(1.0, failed=False)


def test_a_python_that_does_not_know_itself_cannot_open_a_lane(
    scripted: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(BackendError, match="does not know its own executable") as caught:
        scripted_lane(home).open(1.0)
    assert not caught.value.retryable


def test_a_lane_that_was_never_opened_has_nothing_to_end(scripted: Scripted, home: Path) -> None:
    lane = scripted_lane(home)
    lane.kill()
    lane.close(1.0, failed=True)
    assert (lane.state, lane.processes()) == (LaneState.CLOSED, [])


def begun(call: Callable[[], object]) -> Future[object]:
    """What becomes of a call on a thread of its own."""
    answer: Future[object] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except (TraceletError, AssertionError) as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer


def test_a_lane_that_is_ended_before_its_process_begins_does_not_begin_one(scripted: Scripted, home: Path) -> None:
    lane = scripted_lane(home)
    logs, at_the_log, ended = home / ".tracelet" / "lanes", threading.Event(), threading.Event()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and Path(os.fsdecode(str(arguments[0]))).parent == logs and not at_the_log.is_set():
            at_the_log.set()
            ended.wait(60)

    sys.addaudithook(watch)
    opening = begun(lambda: lane.open(60.0))
    assert at_the_log.wait(60)
    lane.kill()
    ended.set()
    assert isinstance(opening.exception(60), BackendUnavailable)
    assert (lane.processes(), scripted.calls("open"), list(logs.iterdir())) == ([], [], [])
    with pytest.raises(BackendUnavailable, match="was ended"):
        lane.open(60.0)


@pytest.mark.parametrize(
    "end", [lambda lane: lane.kill(), lambda lane: lane.close(0.0, failed=True)], ids=["kill", "close"]
)
def test_a_lane_that_another_thread_ends_while_it_opens_is_told_as_one_that_ended(
    scripted: Scripted, home: Path, end: Callable[[Lane], object]
) -> None:
    lane = scripted_lane(home)
    scripted.told(open="hang")
    opening = begun(lambda: lane.open(600.0))
    until = time.monotonic() + 60
    while not scripted.calls("open") and time.monotonic() < until:
        time.sleep(0.01)
    end(lane)
    assert isinstance(opening.exception(60), BackendUnavailable)
    lane.close(0.0, failed=True)
    assert lane.processes() == []


def test_a_program_that_raises_at_once_ends_a_lane_that_still_opens(
    scripted: Scripted, experiment: Make, recwarn: pytest.WarningsRecorder
) -> None:
    """No thread of its own ends in an error that nobody sees: pytest would warn of one."""
    scripted.told(open="hang")
    before = set(lane_processes())
    with pytest.raises(ZeroDivisionError), experiment():
        raise ZeroDivisionError
    assert set(lane_processes()) <= before
    assert not [one for one in recwarn if issubclass(one.category, pytest.PytestUnhandledThreadExceptionWarning)]


def test_a_fork_of_the_program_that_outlives_it_does_not_keep_its_lane(scripted: Scripted, home: Path) -> None:
    """It holds the lane's pipe open, and is nobody's program."""
    program = PROGRAM + (
        "import os, time\n"
        "assert exp.log_artifact(artifact).ok\n"
        "if not os.fork():\n"
        "    time.sleep(60)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    began = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert began.stdout is not None
        assert began.stdout.readline() == b"up\n"
        (lane,) = set(scripted.calls("put"))
        assert lane in lane_processes()
        began.kill()
        began.wait()
        os.killpg(began.pid, 0)
        until = time.monotonic() + 60
        while lane in lane_processes() and time.monotonic() < until:
            time.sleep(0.05)
        assert lane not in lane_processes()
        assert scripted.calls("stop_failed_True")
    finally:
        os.killpg(began.pid, signal.SIGKILL)
        began.stdout.close()


def test_what_cannot_be_sent_to_the_dead_is_not_sent() -> None:
    """Its silence on the other pipe says the rest."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stdin:
        assert worker_process._send(stdin, b"a request") == b""
