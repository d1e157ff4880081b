"""A process is killed in the middle of a put to several backends: none of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from commanding import age, begin_program, no_lanes_after, program, run, run_both, run_json, wait_until
from watching import Scripted

from tracelet.core.system.processes import current

#: Is killed while `scripted` has the second version in hand, and `local` has it already.
KILLED = """
exp = experiment("local", "scripted", deadline=30.0).start()
exp.log_artifact(artifact("thing", "first"), aliases=["best"])
print("ready", flush=True)
sys.stdin.readline()
big = artifact("thing", "second")
exp.log_artifact(big.add_object({"a": 1}, "numbers"), version="1.0", aliases=["best"])
"""


def versions(backend: str) -> list[tuple[str, str, list[str]]]:
    found = run_json("ls", "trials", "--backend", backend)["artifacts"]
    return sorted((one["version"], one["digest"], one["aliases"]) for one in found)


def begin_second(scripted: Scripted, put: str) -> subprocess.Popen[str]:
    """Start the program, and return when `local` has the second version, and `scripted` has it in hand."""
    running = begin_program(KILLED)
    scripted.told(put=put)
    before = len(scripted.calls("put"))
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    wait_until(lambda: len(scripted.calls("put")) > before)
    wait_until(lambda: len(versions("local")) == 2)
    return running


def kill_between(scripted: Scripted) -> None:
    with no_lanes_after():
        running = begin_second(scripted, "hang")
        lane = scripted.calls("put")[-1]
        running.kill()
        running.communicate()
        os.kill(lane, signal.SIGKILL)
    scripted.told()


def test_sync_brings_it_to_the_others_from_the_one_that_has_it_and_doctor_tells(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    assert len(versions("scripted")) == 1
    checks = {one["subject"]: one for one in run_json("doctor", "--backend", "local")["checks"]}
    assert "1 artifact was on the way to several backends" in checks["interrupted"]["detail"]
    (delivered,) = run_json("sync")["delivered"]
    assert (delivered["backend"], delivered["version"]) == ("scripted", "1.0")
    assert versions("local") == versions("scripted")
    folder = Path(run("get", "trials", "thing@best", "--backend", "scripted").strip())
    assert (folder / "thing.txt").read_text() == "second"
    assert "interrupted" not in {one["subject"] for one in run_json("doctor", "--backend", "local")["checks"]}
    assert not [path for path in (home / ".tracelet" / "puts").rglob("*") if path.is_file()]


def test_gc_leaves_what_was_made_for_it_until_it_is_complete(scripted: Scripted, home: Path) -> None:
    """A tracker's own form of a model is nowhere else."""
    kill_between(scripted)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    (staged,) = (home / ".tracelet" / "staging").glob(f"{note.name.split('~')[1]}~*")
    age(home / ".tracelet")
    run("gc", "--older-than", "1h")
    assert staged.exists()
    run_json("sync")
    age(home / ".tracelet")
    run("gc", "--older-than", "1h")
    assert not staged.exists()


def test_a_put_that_every_backend_has_is_not_made_twice(scripted: Scripted, home: Path) -> None:
    with no_lanes_after():
        program(
            """
            exp = experiment("local", "scripted").start()
            honest = Path.unlink
            Path.unlink = lambda self, **how: os._exit(9) if self.match("puts/*/*.json") else honest(self, **how)
            exp.log_artifact(artifact("thing"))
            """,
            code=9,
        )
    assert run_json("sync")["delivered"] == []
    assert versions("local") == versions("scripted")
    assert len(versions("local")) == 1


def test_a_put_that_no_backend_has_is_forgotten(scripted: Scripted, home: Path) -> None:
    with no_lanes_after():
        program(
            """
            from tracelet.core.delivery.courier import Courier
            exp = experiment("local", "scripted").start()
            Courier.send = lambda *asked: os._exit(9)
            exp.log_artifact(artifact("thing"))
            """,
            code=9,
        )
    assert len(list((home / ".tracelet" / "puts").rglob("*.json"))) == 1
    told = run_json("sync")
    assert [told[what] for what in ("delivered", "left", "refused")] == [[], [], []]
    assert list((home / ".tracelet" / "puts").rglob("*.json")) == []


def test_a_put_that_ctrl_c_ends_before_all_backends_are_told_is_completed(scripted: Scripted, home: Path) -> None:
    with no_lanes_after():
        program(
            """
            from tracelet.core.delivery.courier import Courier
            exp = experiment("local", "scripted").start()
            honest = Courier.send

            def interrupted(courier, *asked):
                if courier.backend == "scripted":
                    raise KeyboardInterrupt
                return honest(courier, *asked)

            Courier.send = interrupted
            try:
                exp.log_artifact(artifact("thing"))
            except KeyboardInterrupt:
                Courier.send = honest
            exp.stop()
            """
        )
    assert (len(versions("local")), versions("scripted")) == (1, [])
    (delivered,) = run_json("sync")["delivered"]
    assert delivered["backend"] == "scripted"
    assert versions("local") == versions("scripted")
    assert list((home / ".tracelet" / "puts").rglob("*.json")) == []


def test_a_put_of_which_one_delivery_waits_is_made_everywhere(scripted: Scripted, home: Path) -> None:
    scripted.told(put="away")
    with no_lanes_after():
        program(
            """
            import threading
            from tracelet.core.delivery.outbox import Outbox
            one_at_a_time = threading.Lock()
            exp = experiment("scripted", "scripted-dumb", deadline=30.0).start()
            honest = Outbox.add

            def once(outbox, sealed, parcel, holders=()):
                with one_at_a_time:
                    if list(outbox.everything()):
                        os._exit(9)
                    return honest(outbox, sealed, parcel, holders)

            Outbox.add = once
            exp.log_artifact(artifact("thing"))
            """,
            code=9,
        )
    scripted.told()
    assert sorted(one["backend"] for one in run_json("sync")["delivered"]) == ["scripted", "scripted-dumb"]


def test_while_a_backend_is_away_the_put_waits_and_says_so(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    scripted.told(find="away")
    left = run_json("sync", code=1)["left"]
    assert {one["backend"] for one in left} == {"local", "scripted"}
    assert all("scripted is out. It is " in one["reason"] for one in left)
    scripted.told()
    assert len(run_json("sync")["delivered"]) == 1


def test_bytes_that_come_back_changed_are_not_spread(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    for blob in (home / ".tracelet" / "local" / "blobs").rglob("*"):
        if blob.is_file() and blob.read_text() == "second":
            blob.write_text("rotten")
    left = run_json("sync", code=1)["left"]
    assert all("local gives other bytes for 'thing.txt'" in one["reason"] for one in left)
    assert len(versions("scripted")) == 1


def test_a_note_that_cannot_be_read_keeps_no_other_waiting(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    bad = home / ".tracelet" / "puts" / "trials" / "0~put~bad.json"
    bad.write_text("{")
    out, err = run_both("sync")
    assert "1 delivered" in out
    assert f"{bad} is damaged" in err.replace("\n", "")


def test_what_another_sync_completes_is_left_to_it(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    mine = {
        "holders": [{"host": current().host, "pid": current().pid, "started": current().started}],
        "until": time.time() + 86400,
    }
    note.with_suffix(".lease").write_text(json.dumps(mine))
    assert {one["reason"] for one in run_json("sync", code=1)["left"]} == {"another process is on it."}


def test_what_was_interrupted_in_several_experiments_is_completed_in_each(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    plain = json.loads(note.read_text())
    plain["parcel"]["run"]["experiment"] = "others"
    other = note.parent.with_name("others") / note.name
    other.parent.mkdir()
    other.write_text(json.dumps(plain))
    with no_lanes_after():
        (delivered,) = run_json("sync")["delivered"]
    assert (delivered["experiment"], delivered["backend"]) == ("trials", "scripted")
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


LATER = """
with experiment("local", "scripted") as exp:
    results = exp.log_artifact(artifact("thing", "third"))
    assert results.ok, results
"""


def order(backend: str) -> list[str]:
    """What the versions in a backend hold, oldest first."""
    stored = [one["version"] for one in reversed(listed(backend))]
    folders = [Path(run("get", "trials", f"thing@{version}", "--backend", backend).strip()) for version in stored]
    return [(folder / "thing.txt").read_text() for folder in folders]


def listed(backend: str) -> list[dict[str, Any]]:
    return run_json("ls", "trials", "--backend", backend)["artifacts"]


def test_the_next_run_completes_it_before_anything_of_its_name(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    program(LATER)
    assert order("local") == order("scripted") == ["first", "second", "third"]
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


def test_what_came_meanwhile_stays_the_latest(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    kept = note.rename(home / "note")
    program(LATER)
    kept.rename(note)
    assert run_json("sync")["delivered"] == []
    assert order("scripted") == ["first", "third"]
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


def test_what_came_meanwhile_in_the_other_backend_alone_is_no_reason(scripted: Scripted, home: Path) -> None:
    kill_between(scripted)
    program(LATER.replace('"local", "scripted"', '"local"'))
    (delivered,) = run_json("sync")["delivered"]
    assert delivered["backend"] == "scripted"
    assert order("scripted") == ["first", "second"]


def test_one_backend_needs_no_note(home: Path) -> None:
    program('with experiment("local") as exp: exp.log_artifact(artifact("thing"))')
    assert not (home / ".tracelet" / "puts").exists()


def test_a_lane_that_outlives_its_process_is_waited_for(scripted: Scripted, home: Path) -> None:
    running = begin_second(scripted, "sleep 3")
    with no_lanes_after():
        running.kill()
        running.communicate()
        told = run_json("sync", code=1, TRACELET_DEADLINE="0.1")
        assert all("one of its lanes is still at work" in one["reason"] for one in told["left"])
        assert run_json("sync")["delivered"] == []
    assert versions("local") == versions("scripted")
    assert len(versions("scripted")) == 2
