"""Ways that are rarely taken: what others finish, put aside, or have never heard of."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from commanding import begin_program, run_json
from watching import Scripted

from tracelet import ArtifactType, BackendUnavailable, Experiment, TraceletArtifact, UnsafePath
from tracelet.core.artifacts.checks import check_apart
from tracelet.core.capture import journal as journal_module
from tracelet.core.delivery import backoff as backoff_module
from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.backlog import Backlog
from tracelet.core.delivery.backoff import Backoff
from tracelet.core.delivery.inventory import damaged_in
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.puts import interrupted_puts, note_put
from tracelet.core.delivery.sealer import Sealer
from tracelet.core.lanes.lane import open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import registry
from tracelet.exceptions import ArtifactError
from tracelet.plugin import check_name
from tracelet.settings import TraceletSettings, load_plugin

Make = Callable[..., Experiment]


def test_what_was_left_alone_for_long_enough_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff_module, "_SHORTEST_RETRY", 0.0)
    known = Backoff()
    for key in ("one", "two", "forgotten"):
        known.postpone_shortly(key)
    known.forget("forgotten")
    assert list(known.rested()) == ["one", "two"]
    assert list(known.rested()) == []


def test_a_run_waits_for_the_draft_that_an_earlier_one_still_has_in_hand(tmp_path: Path) -> None:
    done: list[str] = []
    go_on, begun = threading.Event(), threading.Event()

    def slowly(path: Path) -> None:
        begun.set()
        go_on.wait(60)
        done.append(path.name)

    first, second = Sealer(slowly), Sealer(lambda path: done.append(path.name))
    first.add(tmp_path / "1~a~thing.json")
    assert begun.wait(60)
    first.close()
    second.add(tmp_path / "2~b~thing.json")
    threading.Timer(0.1, go_on.set).start()
    assert second.settle(time.monotonic() + 60)
    assert done == ["1~a~thing.json", "2~b~thing.json"]
    second.close()


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"]], ids=["twice", "both"])
def test_the_paths_of_a_whole_artifact_are_each_there_once(paths: list[str]) -> None:
    with pytest.raises(ArtifactError, match="'a'"):
        check_apart(paths)


class Naming:
    """Unpickled, it asks for a name that there cannot be."""

    def __reduce__(self) -> tuple[Any, ...]:
        return check_name, ("..",)


def test_what_a_pickle_raises_that_is_our_own_comes_out_as_it_is(home: Path) -> None:
    (home / "bad.pkl").write_bytes(pickle.dumps(Naming()))
    with Experiment("rare", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("thing", ArtifactType.CUSTOM).add_object([1], "it", serializer="pickle"))
    stored = exp.get_artifact("thing")
    load = registry().serializers.get("pickle").load
    assert stored.load_object("it", trust=True) == [1]
    with pytest.raises(UnsafePath):
        load(home / "bad.pkl", True)


def test_an_interrupted_put_of_another_machine_is_left_to_it(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    with experiment() as exp:
        exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"a": 1}, "it"))
    (parcel,) = Outbox(home / ".tracelet").everything()
    note = note_put(home / ".tracelet", {"scripted": parcel, "local": attrs.evolve(parcel, backend="local")})
    assert not list(interrupted_puts(home / ".tracelet"))
    plain = json.loads(note.read_text())
    plain["owner"] |= {"host": "elsewhere", "table": "", "pid": 1}
    note.write_text(json.dumps(plain))
    assert not list(interrupted_puts(home / ".tracelet"))


def test_doctor_asks_nothing_of_a_plugin_that_is_gone(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    with experiment() as exp:
        exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"a": 1}, "it"))
    (path,) = (home / ".tracelet" / "outbox").rglob("*.json")
    plain = json.loads(path.read_text()) | {"backend": "gone"}
    there = home / ".tracelet" / "outbox" / "trials" / "gone"
    there.mkdir()
    (there / path.name).write_text(json.dumps(plain))
    checks = {one["subject"]: one["verdict"] for one in run_json("doctor", "--backend", "local", code=1)["checks"]}
    assert checks["backend gone"] == "wrong"


def test_a_put_without_files_is_completed_too(scripted: Scripted, home: Path) -> None:
    running = begin_program(
        """
        exp = experiment("local", "scripted", deadline=600.0).start()
        print("ready", flush=True)
        sys.stdin.readline()
        only = TraceletArtifact("facts", ArtifactType.CONFIG)
        only.metadata["loss"] = 0.5
        exp.log_artifact(only)
        """
    )
    scripted.told(put="hang")
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    while not scripted.calls("put") or not listed("local"):
        time.sleep(0.05)
    lane = scripted.calls("put")[-1]
    running.kill()
    running.communicate()
    os.kill(lane, signal.SIGKILL)
    scripted.told()
    (delivered,) = run_json("sync")["delivered"]
    assert delivered["backend"] == "scripted"
    assert listed("scripted")[0]["metadata"] == {"loss": 0.5}


def listed(backend: str) -> list[dict[str, Any]]:
    return run_json("ls", "trials", "--backend", backend)["artifacts"]


def test_what_is_put_aside_is_told_also_where_it_could_be_read(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    with experiment() as exp:
        exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"a": 1}, "it"))
    (path,) = (home / ".tracelet" / "outbox").rglob("*.json")
    aside = path.rename(path.with_suffix(".damaged"))
    assert [one.path for one in damaged_in(Outbox(home / ".tracelet"))] == [aside]


def test_what_vanishes_while_it_is_looked_at_is_nobodys(home: Path) -> None:
    assert journal_module._read(home / "gone.jsonl") is None
    assert Outbox(home / ".tracelet").drafts.load_checked(home / "gone.json") is None


def test_a_run_that_was_never_begun_leaves_no_drafts(home: Path) -> None:
    exp = Experiment("rare", artifacts=True)
    exp._artifact_manager._submissions.leave()
    assert not (home / ".tracelet").exists()


def test_a_delivery_for_a_place_that_does_not_open_waits_by_itself(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    with experiment("scripted-inline") as exp:
        exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"a": 1}, "it"))
    outbox = Outbox(home / ".tracelet")
    (parcel,) = outbox.everything()
    spec = registry().backends.get("scripted-inline")
    settings = load_plugin(spec.settings, "scripted-inline")
    own, other = (open_lane(spec, "trials", settings, BackendContext(home / ".tracelet")) for _ in range(2))
    attempts = Attempts(own, TraceletSettings(), lambda one: other)
    backlog = Backlog("scripted-inline", "trials", attempts, outbox, TraceletSettings(), lambda sdk: None)
    scripted.told(open="away")
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        backlog.redelivery.make(parcel)
    assert not attempts.backoff.rests
    assert attempts.backoff.rests_for(parcel.key)
    # Whoever waited for it may have been told already.
    backlog.waiters._lost.append(parcel.key)
    backlog.look_up()
    assert not backlog.waiters.lost
