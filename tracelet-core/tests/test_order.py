"""Versions follow the order of submission, though the machine's clock steps back meanwhile."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from commanding import no_lanes_after, program, run, run_json
from watching import Scripted

from tracelet.core.delivery.clock import Clock
from tracelet.core.delivery.outbox import Outbox

#: Sets the clock of a program by so many seconds.
SET = """
honest, honest_ns = time.time, time.time_ns

def set_clock(seconds):
    time.time, time.time_ns = lambda: honest() + seconds, lambda: honest_ns() + int(seconds * 1e9)

def wait_for(exp):
    while not all(one.backlog.due is False for one in exp._artifact_manager._process.couriers.values()):
        time.sleep(0.01)
"""


def contents(backend: str) -> list[str]:
    """What the versions of a name hold, in their order; the last of them is the newest."""
    count = len(run_json("ls", "trials", "--backend", backend)["artifacts"])
    found = [_text(f"thing@v{number}", backend) for number in range(count)]
    assert _text("thing", backend) == found[-1]
    assert [one["version"] for one in run_json("ls", "trials", "--backend", backend)["artifacts"]] == [
        f"v{number}" for number in range(count)
    ][::-1]
    return found


def _text(what: str, backend: str) -> str:
    return (Path(run("get", "trials", what, "--backend", backend).strip()) / "thing.txt").read_text()


def test_in_one_process_what_waits_and_what_is_logged_keep_their_order(scripted: Scripted, home: Path) -> None:
    scripted.told(put="away")
    program(
        SET
        + f"""
with experiment("scripted-inline") as exp:
    set_clock(7200)
    exp.submit_artifact(artifact("thing", "a")).result(60)
    set_clock(3600)
    exp.submit_artifact(artifact("thing", "b")).result(60)
    set_clock(0)
    assert exp.log_artifact(artifact("thing", "c")).queued
    set_clock(-3600)
    Path({str(scripted.place / "script")!r}).write_text("{{}}")
    exp.flush(20)
    exp.log_artifact(artifact("thing", "d"))
"""
    )
    assert contents("scripted-inline") == ["a", "b", "c", "d"]


def test_what_one_process_left_goes_before_what_the_next_one_logs_by_an_earlier_clock(
    scripted: Scripted, home: Path
) -> None:
    scripted.told(put="away")
    program(
        SET + 'set_clock(86400)\nwith experiment("scripted-inline") as exp: exp.log_artifact(artifact("thing", "a"))'
    )
    program(
        SET + 'set_clock(3600)\nwith experiment("scripted-inline") as exp: exp.log_artifact(artifact("thing", "b"))'
    )
    scripted.told()
    program('with experiment("scripted-inline") as exp: exp.log_artifact(artifact("thing", "c"))')
    assert contents("scripted-inline") == ["a", "b", "c"]


def test_what_one_process_left_unhashed_goes_before_what_the_next_one_submits_by_an_earlier_clock(home: Path) -> None:
    leave = """
set_clock({clock})
exp = experiment("local").start()
exp._artifact_manager._process.sealer.add = lambda path: None
exp.submit_artifact(artifact("thing", "{text}"))
os._exit(9)
"""
    program(SET + leave.format(clock=86400, text="a"), code=9)
    program(SET + leave.format(clock=0, text="b"), code=9)
    program(SET + 'set_clock(-86400)\nwith experiment("local") as exp: exp.log_artifact(artifact("thing", "c"))')
    assert contents("local") == ["a", "b", "c"]


def test_what_was_captured_goes_in_the_order_in_which_it_was_seen(home: Path) -> None:
    capture = """
from tracelet.plugin import Detection
set_clock({clock})
exp = experiment("local", automagic_artifacts=True).start()
captures = exp._artifact_manager._captures
captures._submit = captures.own._submitter._submit = lambda *asked: time.sleep(60)
for text in "{texts}":
    path = Path(text) / "thing.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    exp._artifact_manager._captures.own.emit(
        Detection(path=path.absolute(), type=ArtifactType.CONFIG, name="thing", artifact_path="thing.txt")
    )
os._exit(9)
"""
    program(SET + capture.format(clock=86400, texts="ab"), code=9)
    program(SET + capture.format(clock=0, texts="cd"), code=9)
    run_json("sync")
    assert contents("local") == ["a", "b", "c", "d"]


def test_what_an_earlier_release_queued_is_older(scripted: Scripted, home: Path) -> None:
    scripted.told(put="away")
    program('with experiment("scripted-inline") as exp: [exp.log_artifact(artifact("thing", text)) for text in "ab"]')
    first = min((home / ".tracelet" / "outbox" / "trials" / "scripted-inline").glob("*.json"))
    plain = json.loads(first.read_text())
    del plain["order"]
    plain["queued_at"] = time.time() - 86400
    first.unlink()
    first.with_name(f"{int(plain['queued_at'] * 1e9):020d}~{first.name.split('~', 1)[1]}").write_text(json.dumps(plain))
    scripted.told()
    assert len(run_json("sync")["delivered"]) == 2
    assert contents("scripted-inline") == ["a", "b"]


def test_the_newest_of_several_backends_is_what_one_of_them_has_had_the_others_before(
    scripted: Scripted, home: Path
) -> None:
    with no_lanes_after():
        program(
            SET
            + f"""
exp = experiment("local", "scripted-inline").start()
set_clock(7200)
assert exp.log_artifact(artifact("thing", "a")).ok
Path({str(scripted.place / "script")!r}).write_text('{{"put": "away"}}')
set_clock(0)
assert exp.log_artifact(artifact("thing", "b")).queued
with exp.get_artifact("thing").open("thing.txt") as stream:
    assert stream.read() == b"b"
with exp.get_artifact("thing", backend="scripted-inline").open("thing.txt") as stream:
    assert stream.read() == b"a"
listed = [one.version for one in exp.list_artifacts(backend="local")]
assert listed == ["v1", "v0"], listed
exp.stop()
"""
        )


class TestTheClock:
    def test_it_only_goes_forward_for_all_who_share_it(self, tmp_path: Path) -> None:
        one, other = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
        numbers = [clock.tick() for clock in (one, other, one, one)]
        assert numbers == sorted(set(numbers))
        (tmp_path / "clock").write_text(f"{2 * 10**18:020d}")
        assert [one.tick(), other.tick()] == [2 * 10**18 + 1, 2 * 10**18 + 2]

    def test_it_tells_whether_others_have_had_a_number_meanwhile(self, tmp_path: Path) -> None:
        one, other = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
        one.tick()
        one.tick()
        assert one.others == 0
        other.tick()
        one.tick()
        assert (one.others, other.others) == (1, 1)

    def test_what_no_clock_wrote_is_passed_over(self, tmp_path: Path) -> None:
        clock = Clock(tmp_path / "clock")
        for odd in ("", "noon", "9" * 20, "9" * 400):
            (tmp_path / "clock").write_text(odd)
            assert abs(clock.tick() - time.time_ns()) < 60e9

    def test_what_is_no_file_of_its_own_is_neither_followed_nor_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "thesis").write_text("all of it")
        (tmp_path / "link").symlink_to(tmp_path / "thesis")
        os.mkfifo(tmp_path / "pipe")
        for name in ("link", "pipe", "thesis/clock"):
            assert abs(Clock(tmp_path / name).tick() - time.time_ns()) < 60e9
        assert (tmp_path / "thesis").read_text() == "all of it"

    def test_who_was_stopped_while_taking_a_number_stops_nobody_else(self, tmp_path: Path) -> None:
        import fcntl

        clock = Clock(tmp_path / "clock")
        clock.tick()
        with (tmp_path / "clock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert clock.tick() < clock.tick()


def test_each_experiment_counts_for_itself(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.clock("one").tick()
    outbox.clock("a/b").tick()
    assert sorted(path.name for path in (tmp_path / "clock").iterdir()) == ["a%2Fb", "one"]
