"""A process is killed in the middle of a put to several backends: none of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from commanding import begin_program, no_lanes_after, program, run, run_both, run_json, wait_until
from watching import Moody

from tracelet.core.system.processes import current

#: Is killed while `moody` has the second version in hand, and `local` has it already.
KILLED = """
exp = experiment("local", "moody", deadline=30.0).start()
exp.log_artifact(artifact("thing", "first"), aliases=["best"])
print("ready", flush=True)
sys.stdin.readline()
big = artifact("thing", "second")
exp.log_artifact(big.add_object({"a": 1}, "numbers"), version="1.0", aliases=["best"])
"""


def versions(backend: str) -> list[tuple[str, str, list[str]]]:
    found = run_json("ls", "trials", "--backend", backend)["artifacts"]
    return sorted((one["version"], one["digest"], one["aliases"]) for one in found)


def begin_second(moody: Moody, put: str) -> subprocess.Popen[str]:
    """Start the program, and return when `local` has the second version, and `moody` has it in hand."""
    running = begin_program(KILLED)
    moody.told(put=put)
    before = len(moody.calls("put"))
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    wait_until(lambda: len(moody.calls("put")) > before)
    wait_until(lambda: len(versions("local")) == 2)
    return running


def kill_between(moody: Moody) -> None:
    with no_lanes_after():
        running = begin_second(moody, "hang")
        lane = moody.calls("put")[-1]
        running.kill()
        running.communicate()
        os.kill(lane, signal.SIGKILL)
    moody.told()


def test_sync_brings_it_to_the_others_from_the_one_that_has_it_and_doctor_tells(moody: Moody, home: Path) -> None:
    kill_between(moody)
    assert len(versions("moody")) == 1
    checks = {one["subject"]: one for one in run_json("doctor", "--backend", "local")["checks"]}
    assert "1 artifact was on the way to several backends" in checks["interrupted"]["detail"]
    (delivered,) = run_json("sync")["delivered"]
    assert (delivered["backend"], delivered["version"]) == ("moody", "1.0")
    assert versions("local") == versions("moody")
    folder = Path(run("get", "trials", "thing@best", "--backend", "moody").strip())
    assert (folder / "thing.txt").read_text() == "second"
    assert "interrupted" not in {one["subject"] for one in run_json("doctor", "--backend", "local")["checks"]}
    assert not [path for path in (home / ".tracelet" / "puts").rglob("*") if path.is_file()]


def test_a_put_that_every_backend_has_is_not_made_twice(moody: Moody, home: Path) -> None:
    with no_lanes_after():
        program(
            """
            exp = experiment("local", "moody").start()
            honest = Path.unlink
            Path.unlink = lambda self, **how: os._exit(9) if self.match("puts/*/*.json") else honest(self, **how)
            exp.log_artifact(artifact("thing"))
            """,
            code=9,
        )
    assert run_json("sync")["delivered"] == []
    assert versions("local") == versions("moody")
    assert len(versions("local")) == 1


def test_a_put_that_no_backend_has_is_forgotten(moody: Moody, home: Path) -> None:
    with no_lanes_after():
        program(
            """
            from tracelet.core.delivery.courier import Courier
            exp = experiment("local", "moody").start()
            Courier.send = lambda *asked: os._exit(9)
            exp.log_artifact(artifact("thing"))
            """,
            code=9,
        )
    assert len(list((home / ".tracelet" / "puts").rglob("*.json"))) == 1
    told = run_json("sync")
    assert [told[what] for what in ("delivered", "left", "refused")] == [[], [], []]
    assert list((home / ".tracelet" / "puts").rglob("*.json")) == []


def test_a_put_of_which_one_delivery_waits_is_made_everywhere(moody: Moody, home: Path) -> None:
    moody.told(put="away")
    with no_lanes_after():
        program(
            """
            import threading
            from tracelet.core.delivery.outbox import Outbox
            one_at_a_time = threading.Lock()
            exp = experiment("moody", "moody-dumb", deadline=30.0).start()
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
    moody.told()
    assert sorted(one["backend"] for one in run_json("sync")["delivered"]) == ["moody", "moody-dumb"]


def test_while_a_backend_is_away_the_put_waits_and_says_so(moody: Moody, home: Path) -> None:
    kill_between(moody)
    moody.told(find="away")
    left = run_json("sync", code=1)["left"]
    assert {one["backend"] for one in left} == {"local", "moody"}
    assert all("moody is out. It is " in one["reason"] for one in left)
    moody.told()
    assert len(run_json("sync")["delivered"]) == 1


def test_bytes_that_come_back_changed_are_not_spread(moody: Moody, home: Path) -> None:
    kill_between(moody)
    for blob in (home / ".tracelet" / "local" / "blobs").rglob("*"):
        if blob.is_file() and blob.read_text() == "second":
            blob.write_text("rotten")
    left = run_json("sync", code=1)["left"]
    assert all("local gives other bytes for 'thing.txt'" in one["reason"] for one in left)
    assert len(versions("moody")) == 1


def test_a_note_that_cannot_be_read_keeps_no_other_waiting(moody: Moody, home: Path) -> None:
    kill_between(moody)
    bad = home / ".tracelet" / "puts" / "trials" / "0~put~bad.json"
    bad.write_text("{")
    out, err = run_both("sync")
    assert "1 delivered" in out
    assert f"{bad} is damaged" in err.replace("\n", "")


def test_what_another_sync_completes_is_left_to_it(moody: Moody, home: Path) -> None:
    kill_between(moody)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    mine = {
        "holders": [{"host": current().host, "pid": current().pid, "started": current().started}],
        "until": time.time() + 86400,
    }
    note.with_suffix(".lease").write_text(json.dumps(mine))
    assert {one["reason"] for one in run_json("sync", code=1)["left"]} == {"another process is on it."}


def test_what_was_interrupted_in_several_experiments_is_completed_in_each(moody: Moody, home: Path) -> None:
    kill_between(moody)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    plain = json.loads(note.read_text())
    plain["parcel"]["run"]["experiment"] = "others"
    other = note.parent.with_name("others") / note.name
    other.parent.mkdir()
    other.write_text(json.dumps(plain))
    with no_lanes_after():
        (delivered,) = run_json("sync")["delivered"]
    assert (delivered["experiment"], delivered["backend"]) == ("trials", "moody")
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


LATER = """
with experiment("local", "moody") as exp:
    results = exp.log_artifact(artifact("thing", "third"))
    assert results.ok, results
"""


def order(backend: str) -> list[str]:
    """What the versions in a backend hold, oldest first."""
    numbers = sorted(int(one["version"][1:]) if one["version"][0] == "v" else 1 for one in listed(backend))
    folders = [Path(run("get", "trials", f"thing@v{number}", "--backend", backend).strip()) for number in numbers]
    return [(folder / "thing.txt").read_text() for folder in folders]


def listed(backend: str) -> list[dict[str, Any]]:
    return run_json("ls", "trials", "--backend", backend)["artifacts"]


def test_the_next_run_completes_it_before_anything_of_its_name(moody: Moody, home: Path) -> None:
    kill_between(moody)
    program(LATER)
    assert order("local") == order("moody") == ["first", "second", "third"]
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


def test_what_came_meanwhile_stays_the_latest(moody: Moody, home: Path) -> None:
    kill_between(moody)
    (note,) = (home / ".tracelet" / "puts").rglob("*.json")
    kept = note.rename(home / "note")
    program(LATER)
    kept.rename(note)
    assert run_json("sync")["delivered"] == []
    assert order("moody") == ["first", "third"]
    assert not list((home / ".tracelet" / "puts").rglob("*.json"))


def test_what_came_meanwhile_in_the_other_backend_alone_is_no_reason(moody: Moody, home: Path) -> None:
    kill_between(moody)
    program(LATER.replace('"local", "moody"', '"local"'))
    (delivered,) = run_json("sync")["delivered"]
    assert delivered["backend"] == "moody"
    assert order("moody") == ["first", "second"]


def test_one_backend_needs_no_note(home: Path) -> None:
    program('with experiment("local") as exp: exp.log_artifact(artifact("thing"))')
    assert not (home / ".tracelet" / "puts").exists()


def test_a_lane_that_outlives_its_process_is_waited_for(moody: Moody, home: Path) -> None:
    running = begin_second(moody, "sleep 3")
    with no_lanes_after():
        running.kill()
        running.communicate()
        told = run_json("sync", code=1, TRACELET_DEADLINE="0.1")
        assert all("one of its lanes is still at work" in one["reason"] for one in told["left"])
        assert run_json("sync")["delivered"] == []
    assert versions("local") == versions("moody")
    assert len(versions("moody")) == 2
