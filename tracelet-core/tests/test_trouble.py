"""What happens where the disk is full, Tracelet's own files are damaged, or a run ends in the middle of something."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import attrs
import pytest
from commanding import plugin
from pacing import pace
from watching import Scripted, lane_processes

from tracelet import ArtifactType, BackendUnavailable, Experiment, TraceletArtifact
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.artifacts.results import LogResults
from tracelet.core.delivery.attempts import Attempts
from tracelet.core.delivery.backlog import Backlog
from tracelet.core.delivery.draft_files import Drafts
from tracelet.core.delivery.inventory import damaged_in, leftovers_in, waiting_bytes
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.lanes.lane import open_lane
from tracelet.core.maintenance.doctor import check_up
from tracelet.core.maintenance.gc import collect
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.sealing import finish as sealing
from tracelet.core.system.processes import current
from tracelet.core.system.threads import Promise, all_at_once, in_parallel
from tracelet.settings import TraceletSettings, load_plugin

Make = Callable[..., Experiment]


def made(content: str = "content", name: str = "thing") -> TraceletArtifact:
    path = Path(f"{name}-{content}.txt")
    path.write_text(content)
    return TraceletArtifact(name, ArtifactType.CONFIG).add_file(path, "file.txt")


def full(*arguments: object, **named: object) -> None:
    raise OSError(28, "No space left on device")


def eventually(holds: Callable[[], object], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(holds())


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What is submitted is hashed when this is set, as if it had many gigabytes."""
    go_on = threading.Event()
    honest = sealing.hash_files

    def slow(paths: Sequence[Path], size_bytes: int) -> object:
        if threading.current_thread().name == "tracelet-sealer":
            go_on.wait(60)
        return honest(paths, size_bytes)

    monkeypatch.setattr(sealing, "hash_files", slow)
    yield go_on
    go_on.set()


def test_a_run_that_has_ended_is_not_begun_again_by_what_was_being_hashed(
    scripted: Scripted, experiment: Make, home: Path, hashing: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment(stop_timeout=1.0)
    assert eventually(lambda: exp._artifact_manager.get_stats()["backends"]["scripted"]["state"] == "ready")
    future = exp.submit_artifact(made())
    assert eventually(lambda: exp._artifact_manager._process.sealer._in_hand)
    exp.stop()
    assert "1 delivery waits" in caplog.text
    hashing.set()
    assert "the run ended before it was delivered" in str(future.result(60).queued["scripted"])
    assert not scripted.calls("start")
    assert not lane_processes()
    later = experiment()
    assert later.flush() == 0
    assert len(scripted.calls("put")) == 1


def test_what_is_on_its_way_when_a_run_ends_is_told_of(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(stop_timeout=1.0)
    scripted.told(put="sleep 60")
    futures = [exp.submit_artifact(made(name=name)) for name in ("one", "other")]
    assert eventually(lambda: scripted.calls("put"))
    exp.stop()
    assert all(future.result(60).queued["scripted"] for future in futures)


def test_what_is_left_includes_what_is_not_hashed_yet(
    scripted: Scripted, experiment: Make, hashing: threading.Event
) -> None:
    exp = experiment()
    for name in ("one", "two", "three"):
        exp.submit_artifact(made(name=name))
    assert exp.flush(0.1) == 3
    assert exp._artifact_manager.get_stats()["outbox"]["waiting"] == 3
    hashing.set()
    assert exp.flush() == 0


def test_an_artifact_waits_for_what_was_submitted_under_its_own_name_alone(
    experiment: Make, hashing: threading.Event
) -> None:
    exp = experiment("local")
    exp.submit_artifact(made("older"))
    assert eventually(lambda: exp._artifact_manager._process.sealer._in_hand)
    began = time.monotonic()
    assert exp.log_artifact(made(name="other")).ok
    assert time.monotonic() - began < 10 * pace()
    threading.Timer(0.2, hashing.set).start()
    assert exp.log_artifact(made("newer"))["local"].version == "v1"


def test_a_full_disk_while_hashing_leaves_the_snapshot_and_says_so(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment("local")
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "add", full)
        results = exp.submit_artifact(made()).result(60)
        assert "the tracelet directory cannot be written" in str(results.queued["local"])
        assert exp.flush(1) == 1
    assert exp.flush() == 0
    assert exp.get_artifact("thing").version == "v0"


def test_a_full_disk_while_delivering_ends_with_it(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(made("old"))
    scripted.told()
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "take", full)
        patched.setattr(Outbox, "failed", full)
        assert exp.flush(1) == 1
        kept = exp.log_artifact(made("new"))
        assert "the tracelet directory cannot be written" in str(kept.queued["scripted"])
        patched.setattr(Outbox, "add", full)
        lost = exp.log_artifact(made("newest"))
        assert "the tracelet directory cannot be written" in str(lost.failed["scripted"])
    assert exp.flush() == 0
    assert exp.log_artifact(made("newest"))["scripted"].version == "v2"


def test_a_full_disk_while_an_outcome_is_noted_is_told(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    scripted.told(put="away")
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "_write", full)
        patched.setattr(Outbox, "add", Outbox.add)
        assert "cannot be written" in str(exp.log_artifact(made()).failed["scripted"])
    future = exp.submit_artifact(made())
    assert "scripted is out" in str(future.result(60).queued["scripted"])
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "_write", full)
        assert exp.flush(2) == 1
    assert "what became of 'thing' is not noted" in caplog.text
    scripted.told()
    assert exp.flush() == 0


def test_an_outbox_that_cannot_be_listed_for_a_moment_is_listed_again(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    listed, honest = [], Outbox.waiting

    def stale(outbox: Outbox, *arguments: str | None) -> list[str]:
        if threading.current_thread().name == "tracelet-scripted" and not listed:
            listed.append(True)
            raise OSError(116, "Stale file handle")
        return honest(outbox, *arguments)

    monkeypatch.setattr(Outbox, "waiting", stale)
    first = exp.submit_artifact(made("first"))
    assert eventually(lambda: "Stale file handle" in caplog.text)
    assert first.result(60).ok
    assert exp.log_artifact(made("second"))["scripted"].version == "v1"


def test_a_lease_that_a_power_cut_has_emptied_is_nobodys(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    with experiment() as exp:
        exp.log_artifact(made())
    (file,) = (home / ".tracelet" / "outbox").rglob("*.json")
    file.with_suffix(".lease").write_text("")
    scripted.told()
    with experiment() as exp:
        assert exp.flush() == 0


def test_a_damaged_delivery_keeps_no_other_from_being_sent_checked_or_cleared(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    with experiment() as exp:
        exp.log_artifact(made(name="bad"))
        exp.log_artifact(made(name="good"))
    directory = home / ".tracelet"
    (file,) = (directory / "outbox").rglob("*~bad.json")
    file.write_text("")
    (directory / "staging" / "old").mkdir(parents=True)
    settings = TraceletSettings(backend=["scripted"], dir=directory)
    scripted.told()
    for _ in ("as it is found", "put aside"):
        cleared = collect(directory, settings, registry(), time.time() + 60)
        assert str(file.with_suffix("")) in cleared.failed["blobs"]
        (check,) = [one for one in check_up(directory, settings, registry()) if one.subject == "damaged"]
        assert ("bad" in check.detail, str(file.with_suffix("")) in check.advice) == (True, True)
        report = sync(directory, settings, registry(), lambda delivery: None)
        (left,) = report.left
        assert (left.experiment, left.backend, left.name) == ("trials", "scripted", "bad")
        with experiment() as exp:
            assert exp.flush() == 0
            assert exp.get_artifact("good").version == "v0"
    assert not (directory / "staging" / "old").exists()


def test_a_damaged_draft_is_told_of_too(scripted: Scripted, experiment: Make, home: Path) -> None:
    file = home / ".tracelet" / "outbox" / "trials" / "~drafts" / f"{time.time_ns():020d}~put~bad.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    outbox = Outbox(home / ".tracelet")
    assert waiting_bytes(outbox) == 0
    (damaged,) = damaged_in(outbox)
    assert (damaged.experiment, damaged.backend, damaged.name) == ("trials", "", "bad")
    settings = TraceletSettings(backend=["scripted"], dir=home / ".tracelet")
    (left,) = sync(home / ".tracelet", settings, registry(), lambda delivery: None).left
    assert "is damaged" in left.reason
    file.with_suffix(".damaged").unlink()
    assert outbox.drafts.load(file) is None
    assert list(damaged_in(outbox)) == []


def test_a_rendering_that_was_being_copied_when_the_process_died_is_not_taken_for_whole(home: Path) -> None:
    outbox = Outbox(home)
    rendered = home / "rendered"
    rendered.mkdir()
    (rendered / "model").write_text("whole")
    manifest = Manifest("thing", ArtifactType.CONFIG, "put", 1.0)
    parcel = Parcel("scripted", RunInfo("run", "trials", 1.0), Labels(), {}, manifest, 1.0)
    key = outbox.root / "trials" / "scripted" / parcel.key
    partial = key.with_name(f"{key.name}~0123.rendered")
    partial.mkdir(parents=True)
    outbox.add(SealedArtifact(manifest, {}, rendered=rendered), parcel)
    assert (key.with_name(f"{key.name}.rendered") / "model").read_text() == "whole"
    assert list(leftovers_in(outbox)) == [partial]


def test_a_run_belongs_to_what_the_users_sdk_said_when_it_began(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(
        tmp_path / "more",
        "minded",
        """
        from tracelet.builtin.local import LocalBackend
        from tracelet.plugin import BackendSpec, hookimpl

        mind = []

        def open_it(experiment, settings, context):
            return LocalBackend(context.directory / f"minded-{len(context.sdk['mind'])}", experiment)

        @hookimpl
        def tracelet_backends():
            return [BackendSpec(name="minded", open=open_it, context=lambda: {"mind": list(mind)})]
        """,
    )
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    registry.cache_clear()
    try:
        exp = Experiment("trials", backend="minded", artifacts=True)
        assert exp.list_artifacts() == []
        mind = __import__("minded").mind
        mind.append("begun after the first look")
        with exp:
            mind.append("begun in the run")
            assert exp.log_artifact(made("logged")).ok
            assert exp.submit_artifact(made("submitted")).result(60).ok
            assert [one.version for one in exp.list_artifacts()] == ["v1", "v0"]
        assert {path.name for path in (home / ".tracelet").glob("minded-*")} == {"minded-1"}
    finally:
        registry.cache_clear()
        __import__("sys").modules.pop("minded", None)


def test_threads_that_ask_at_once_share_what_they_ask_with(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = Experiment("trials", artifacts=True)._artifact_manager._resources
    barrier = threading.Barrier(4)
    honest = resources._make

    def late() -> object:
        barrier.wait(60)
        return honest()

    monkeypatch.setattr(resources, "_make", late)
    found, _ = all_at_once({str(number): lambda: resources.of_process for number in range(4)})
    assert len({id(own) for own in found.values()}) == 1
    assert resources._by_process.keys() == {current()}


def test_where_no_thread_can_be_started_any_more_backends_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's exit from Python 3.12 on."""

    def late(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", late)
    assert all_at_once({"a": lambda: 1, "b": lambda: 2}) == ({"a": 1, "b": 2}, {})


# -- what the user hangs on a future

SLOW = 60.0


@pytest.mark.parametrize("name", ["thing", "other"])
def test_a_callback_may_log_what_it_likes(scripted: Scripted, experiment: Make, name: str) -> None:
    exp = experiment(deadline=SLOW)
    logged: Future[LogResults] = Future()
    exp.submit_artifact(made()).add_done_callback(
        lambda _: logged.set_result(exp.log_artifact(made("of the callback", name)))
    )
    assert logged.result(SLOW / 2).ok


def test_a_callback_may_end_the_run(scripted: Scripted, experiment: Make) -> None:
    exp = experiment(stop_timeout=SLOW)
    ended: Future[None] = Future()
    exp.submit_artifact(made()).add_done_callback(lambda _: ended.set_result(exp.stop()))
    ended.result(SLOW / 2)
    assert exp.run_id is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_goes_on_for_ever_or_wants_to_exit_holds_nothing_up(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment(deadline=SLOW)
    over = threading.Event()
    for callback in (lambda _: over.wait(), lambda _: sys.exit(3)):
        future = exp.submit_artifact(made())
        future.add_done_callback(callback)
        assert future.result(SLOW).ok
    assert exp.log_artifact(made("later")).ok
    exp.stop()
    over.set()


def test_where_no_thread_can_be_started_any_more_a_callback_is_called_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    promise: Promise[int] = Promise()
    called: list[int] = []
    promise.add_done_callback(lambda done: called.append(done.result()))
    monkeypatch.setattr(threading.Thread, "start", late)
    promise.set_result(3)
    assert called == [3]


def test_whoever_waits_for_a_backend_that_is_left_alone_is_told_at_once(scripted: Scripted, experiment: Make) -> None:
    exp = experiment("scripted-inline")
    scripted.told(put="throttled 600")
    exp.log_artifact(made())
    told = exp.submit_artifact(made("other")).result(SLOW).queued["scripted-inline"]
    assert "asked again in" in str(told)
    scripted.told()
    assert exp.flush(SLOW) == 0


def test_reading_lanes_end_with_stop_where_no_run_is_on(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reading = Experiment("trials", backend="scripted", artifacts=True)
    assert reading.list_artifacts() == []
    assert lane_processes()
    reading.stop()
    assert not lane_processes()


def test_what_cannot_be_looked_for_before_a_delivery_keeps_it_and_says_so(
    scripted: Scripted, experiment: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment()
    assert exp.log_artifact(made("first")).ok

    def stale(*asked: object) -> list[str]:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        Outbox(home / ".tracelet").clock("trials").tick()  # another process submits something
        patched.setattr(Outbox, "waiting", stale)
        assert "Stale file handle" in str(exp.log_artifact(made()).queued["scripted"])
    assert exp.flush() == 0


def test_neither_the_store_nor_the_disk_takes_it_and_that_is_told(
    experiment: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "store").write_text("a file, where the store's folder will be")
    exp = experiment("local", store=str(home / "store"), large_file_mb=0.000_001)
    monkeypatch.setattr(Drafts, "add", full)
    assert "the tracelet directory cannot be written" in str(exp.log_artifact(made()).failed["local"])


def test_only_what_is_older_goes_before_a_delivery(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    with experiment("scripted-inline") as exp:
        exp.log_artifact(made())
    # A slow machine ends the run after more attempts, and one more would make it stubborn.
    (file,) = (home / ".tracelet/outbox").rglob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attempts": 1}))
    (parcel,) = Outbox(home / ".tracelet").everything()
    spec = registry().backends.get("scripted-inline")
    lane = open_lane(spec, "trials", load_plugin(spec.settings, "scripted-inline"), BackendContext(home / ".tracelet"))
    settings = TraceletSettings()
    attempts = Attempts(lane, settings, lambda one: None)
    backlog = Backlog("scripted-inline", "trials", attempts, Outbox(home / ".tracelet"), settings, lambda sdk: None)
    backlog.make_older(parcel)
    assert parcel.order is not None
    younger = attrs.evolve(parcel, order=parcel.order + 1)
    waited_for = backlog.expect(parcel)
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        backlog.make_older(younger)
    assert waited_for.result(0).queued
    scripted.told()
    backlog.make_older(younger)
    assert list(Outbox(home / ".tracelet").everything()) == []


def test_what_another_process_has_made_meanwhile_is_passed_over(
    scripted: Scripted, experiment: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(made("old"))
    exp._artifact_manager._process.couriers["scripted"].backlog._backoff.note_success()
    scripted.told()
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "load", lambda *asked: None)
        assert exp.log_artifact(made("new"))["scripted"].version == "v0"


def test_a_child_that_has_used_nothing_of_a_run_leaves_it_alone() -> None:
    Experiment("trials", artifacts=True)._artifact_manager.disown()
    assert not lane_processes()


def test_of_many_calls_only_some_wait_at_a_time() -> None:
    """Each that waits takes a kilobyte: a hundred thousand are not begun at once."""
    begun = ended = most = 0

    def items() -> Iterator[int]:
        nonlocal begun, most
        for number in range(500):
            begun += 1
            most = max(most, begun - ended)
            yield number

    def call(number: int) -> int:
        nonlocal ended
        with counting:
            ended += 1
        return -number

    counting = threading.Lock()
    assert in_parallel(call, items(), 2) == [-number for number in range(500)]
    assert most < 50
