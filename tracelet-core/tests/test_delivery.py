"""What becomes of an artifact between `log_artifact` and its backends: order, retries, results, the outbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from making import write
from pacing import pace
from watching import Scripted, beside, lane_processes

from tracelet import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactType,
    BackendError,
    BackendUnavailable,
    ConfigError,
    Experiment,
    ExperimentConfig,
    IntegrityError,
    LoggedArtifact,
    TraceletArtifact,
)
from tracelet.core.delivery.courier import Courier, Task
from tracelet.core.delivery.inventory import damaged_in, needed_blobs
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.outcomes import Outcome
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.uses import Use, Uses
from tracelet.core.experiment import direct_put
from tracelet.core.lanes.lane import open_lane
from tracelet.core.plugins.backend_spec import BackendContext
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.system.processes import current, process_id
from tracelet.exceptions import VersionConflict
from tracelet.settings import TraceletSettings, load_plugin
from tracelet.testing import installed

Make = Callable[..., Experiment]


def artifact(
    content: str = "content", name: str = "thing", kind: ArtifactType = ArtifactType.CONFIG
) -> TraceletArtifact:
    path = Path(f"{name}-{content}.txt")
    path.write_text(content)
    return TraceletArtifact(name, kind).add_file(path, "file.txt")


def contents(exp: Experiment, name: str = "thing") -> list[str]:
    """What each version holds, oldest first; as another process reads it that has no lane."""
    reading = beside(exp) if exp.settings.backend == ["scripted"] else exp
    versions = [one for one in reading.list_artifacts() if one.name == name]
    return [text(one) for one in sorted(versions, key=lambda one: one.uri)]


def text(one: LoggedArtifact) -> str:
    with one.open("file.txt") as stream:
        return stream.read().decode()


def waiting(scripted: Scripted, home: Path) -> list[str]:
    return [parcel.manifest.name for parcel in Outbox(home / ".tracelet").everything()]


# -- versions


def test_each_content_is_a_version_and_the_same_twice_in_a_row_is_one(experiment: Make) -> None:
    exp = experiment()
    results = [exp.log_artifact(artifact(one))["scripted"] for one in ("a", "a", "b", "a")]
    assert [(one.version, one.created) for one in results] == [("v0", True), ("v0", False), ("v1", True), ("v2", True)]


def test_the_same_content_sends_nothing(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact())
    exp.log_artifact(artifact())
    assert len(scripted.calls("put")) == 1


def test_a_label_names_one_content_for_ever(experiment: Make) -> None:
    exp = experiment()
    first = exp.log_artifact(artifact("a"), version="v1.2.0")
    exp.log_artifact(artifact("b"))
    again = exp.log_artifact(artifact("a"), version="v1.2.0")
    assert first["scripted"].version == again["scripted"].version == "v1.2.0"
    assert not again["scripted"].created
    with pytest.raises(VersionConflict, match="for ever"):
        exp.log_artifact(artifact("c"), version="v1.2.0")
    assert contents(exp) == ["a", "b"]


def test_a_label_is_given_to_the_newest_version_where_that_is_the_same_content(experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("a"))
    labelled = exp.log_artifact(artifact("a"), version="release")
    assert labelled["scripted"].version == "release"
    assert [one.version for one in exp.list_artifacts()] == ["release"]
    second = exp.log_artifact(artifact("a"), version="another")
    assert second["scripted"].created
    assert {one.version for one in exp.list_artifacts()} == {"release", "another"}


def test_aliases_move_and_labels_do_not(experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("a"), aliases=["best"])
    exp.log_artifact(artifact("b"), aliases=["last"])
    assert text(exp.get_artifact("thing", "best")) == "a"
    exp.log_artifact(artifact("b"), aliases=["best"])
    best = exp.get_artifact("thing", "best")
    assert text(best) == "b"
    assert set(best.aliases) == {"best", "last"}
    exp.log_artifact(artifact("c"), version="release")
    with pytest.raises(VersionConflict, match="never moves"):
        exp.log_artifact(artifact("d"), aliases=["release"])
    with pytest.raises(VersionConflict, match="is an alias"):
        exp.log_artifact(artifact("d"), version="best")


def test_a_backend_that_cannot_move_names_says_so_and_stores_a_new_label_anew(experiment: Make) -> None:
    exp = experiment("scripted-dumb")
    exp.log_artifact(artifact("a"), aliases=["best"])
    refused = exp.log_artifact(artifact("a"), aliases=["good"]).failed["scripted-dumb"]
    assert "cannot name it good afterwards" in str(refused)
    assert exp.log_artifact(artifact("a"), version="release")["scripted-dumb"].created


def test_a_name_has_one_type(experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("a"))
    with pytest.raises(ArtifactError, match="a name has one type"):
        exp.log_artifact(artifact("b", kind=ArtifactType.REPORT))


def test_what_some_backends_refuse_is_in_the_results_with_one_warning(
    experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment("scripted", name="trials")
    exp.log_artifact(artifact("a"), version="release")
    exp.stop()
    both = experiment("scripted", "local", routing="all")
    results = both.log_artifact(artifact("b"), version="release")
    assert list(results) == ["local"]
    assert isinstance(results.failed["scripted"], VersionConflict)
    assert [record.levelname for record in caplog.records if "for ever" in record.getMessage()] == ["WARNING"]


def test_what_every_backend_refuses_is_raised_with_what_each_says(
    experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment("scripted", "local", routing="all")
    exp.log_artifact(artifact("a"), version="release")
    with pytest.raises(VersionConflict, match="for ever") as caught:
        exp.log_artifact(artifact("b"), version="release")
    assert [note.partition(":")[0] for note in caught.value.__notes__] == ["local"]
    assert "for ever" not in caplog.text


def test_what_is_submitted_and_refused_by_all_is_raised_by_the_future_and_told_at_the_end(
    experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    exp.submit_artifact(artifact("a"), version="release").result(60)
    with pytest.raises(VersionConflict, match="for ever"):
        exp.submit_artifact(artifact("b"), version="release").result(60)
    with pytest.raises(ArtifactError, match="a name has one type"):
        exp.submit_artifact(artifact("b", kind=ArtifactType.REPORT)).result(60)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("for ever" in one, "one type" in one) for one in told] == [(True, False), (False, True)]
    exp.stop()
    assert "backends refused 2 deliveries of this run: `tracelet doctor` says which, and why." in caplog.text
    with exp:
        exp.log_artifact(artifact("c"))
    assert caplog.text.count("deliveries of this run") == 1


def test_bytes_that_were_only_referred_to_can_be_uploaded_later(experiment: Make) -> None:
    exp = experiment()
    referring = artifact("a")
    referring.metadata["force_reference"] = True
    assert not exp.log_artifact(referring)["scripted"].portable
    uploading = artifact("a")
    uploading.metadata["force_reference"] = False
    result = exp.log_artifact(uploading)["scripted"]
    assert (result.created, result.portable) == (True, True)
    assert not exp.log_artifact(referring)["scripted"].created


# -- order and retries


def test_what_waits_under_a_name_is_delivered_before_what_is_logged_later(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    scripted.told(put="away")
    assert exp.log_artifact(artifact("old")).queued
    assert exp.log_artifact(artifact("older than new")).queued
    scripted.told()
    backoff = exp._artifact_manager._process.couriers["scripted"].backlog._backoff
    while backoff.rests:
        time.sleep(0.01)
    results = exp.log_artifact(artifact("new"))
    assert results["scripted"].version == "v2"
    assert contents(exp) == ["old", "older than new", "new"]


def test_an_answer_that_was_damaged_on_its_way_refuses_nothing_for_good(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    for script in ("garbled", "astray"):
        scripted.told(put=script)
        results = exp.log_artifact(artifact(script))
        assert not results.failed
        assert "what scripted answered cannot be read" in str(results.queued["scripted"])
        scripted.told()
        assert exp.flush() == 0
    assert contents(exp) == ["garbled", "astray"]


def test_while_the_older_one_cannot_be_delivered_the_newer_waits_behind_it(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    exp = experiment()
    scripted.told(put="broken")
    exp.log_artifact(artifact("old"))
    exp.log_artifact(artifact("new"))
    assert exp.log_artifact(artifact("other", name="other")).queued
    assert waiting(scripted, home) == ["thing", "thing", "other"]
    scripted.told()
    assert exp.flush() == 0
    assert contents(exp) == ["old", "new"]


def test_what_is_in_hand_when_the_callers_time_is_over_goes_on_behind_it(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    exp = experiment(deadline=60.0, stop_timeout=10.0)
    exp.log_artifact(artifact("first"))
    scripted.told(put="held")
    # The caller's time is over before the delivery's own.
    monkeypatch.setattr(direct_put, "_MARGIN", 0.5 - exp.settings.deadline)
    assert "is still busy" in str(exp.log_artifact(artifact("second")).queued["scripted"])
    scripted.told()
    assert exp.flush(60) == 0
    assert contents(exp) == ["first", "second"]
    assert len(scripted.calls("after_put")) == 2


@pytest.mark.parametrize("after", ["written anew", None], ids=["written anew", "deleted"])
def test_what_becomes_of_a_file_when_its_caller_waits_no_longer_changes_nothing(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch, after: str | None
) -> None:
    exp = experiment(deadline=60.0, stop_timeout=60.0)
    exp.log_artifact(artifact("first"))
    scripted.told(put="held")
    monkeypatch.setattr(direct_put, "_MARGIN", 1.0 - exp.settings.deadline)
    path = Path("mine.txt")
    path.write_text("second")
    assert exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file(path, "file.txt")).queued
    path.unlink()
    if after is not None:
        path.write_text(after)
    scripted.told()
    assert exp.flush(60) == 0
    assert contents(exp) == ["first", "second"]
    assert not exp._artifact_manager.get_stats()["outbox"]["refused"]


def test_what_a_caller_waits_for_goes_before_what_waits_of_other_names(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    exp = experiment()
    for number in range(6):
        exp.log_artifact(artifact(name=f"thing{number}"))
    exp.stop()
    scripted.told(put="sleep 0.3")
    tried = len(scripted.calls("put"))
    later = experiment(deadline=5.0)
    until = time.monotonic() + 60
    while len(scripted.calls("put")) == tried and time.monotonic() < until:
        time.sleep(0.01)
    assert later.log_artifact(artifact()).ok
    assert waiting(scripted, home)
    scripted.told()
    assert later.flush() == 0


def test_what_waits_is_tried_again_without_being_asked(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(artifact())
    scripted.told()
    until = time.monotonic() + 60
    while waiting(scripted, home) and time.monotonic() < until:
        time.sleep(0.02)
    assert contents(exp) == ["content"]


def test_a_backend_that_was_slow_to_fail_is_left_alone_for_a_while(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("first"))
    scripted.told(put="hang")
    exp.log_artifact(artifact("a"))
    began = time.monotonic()
    results = exp.log_artifact(artifact("b"))
    assert time.monotonic() - began < 1 * pace()
    assert "asked again in" in str(results.queued["scripted"])
    scripted.told()
    assert exp.flush() == 0
    assert contents(exp) == ["first", "a", "b"]


def test_a_later_process_delivers_what_an_earlier_one_left(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact(), aliases=["best"])
    exp.stop()
    scripted.told()
    later = experiment()
    until = time.monotonic() + 60
    while waiting(scripted, home) and time.monotonic() < until:
        time.sleep(0.02)
    assert text(later.get_artifact("thing", "best")) == "content"


def test_another_experiments_deliveries_are_left_to_it(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact())
    exp.stop()
    scripted.told()
    other = experiment(name="another experiment")
    assert other.flush() == 0
    assert waiting(scripted, home) == ["thing"]


def test_a_put_that_was_made_and_not_answered_is_not_made_twice(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    scripted.told(after_put="crash")
    assert exp.log_artifact(artifact(), aliases=["best"]).queued
    scripted.told()
    assert exp.flush() == 0
    assert contents(exp) == ["content"]
    assert exp.get_artifact("thing", "best").version == "v0"


def test_what_the_backend_never_takes_is_reported_and_not_queued(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.told(put="never")
    with pytest.raises(ArtifactError, match="never takes that"):
        experiment().log_artifact(artifact())
    both = experiment("scripted", "local", routing="all").log_artifact(artifact())
    assert "never takes that" in str(both.failed["scripted"])
    assert "never takes that" in caplog.text
    assert not waiting(scripted, home)


def test_what_waits_and_will_never_be_taken_is_kept_apart(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(artifact())
    scripted.told(put="never")
    assert exp.flush() == 0
    (refused,) = Outbox(home / ".tracelet").refused()
    assert "never takes that" in refused.error
    assert exp._artifact_manager.get_stats()["outbox"] == {"waiting": 0, "refused": 1}


def test_queued_bytes_that_rot_are_not_delivered(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(artifact("rotting"))
    exp.log_artifact(artifact("gone", name="other"))
    outbox = Outbox(home / ".tracelet")
    rotting, gone = (outbox.store.path(str(parcel.manifest.files[0].sha256)) for parcel in outbox.everything())
    rotting.write_text("rotten")
    gone.unlink()
    scripted.told()
    exp.flush()
    assert not exp.list_artifacts()
    first, second = (parcel.error for parcel in outbox.refused())
    assert "are damaged" in first
    assert f"are gone from {outbox.store.root}" in second


def test_all_backends_are_served_at_once_and_fail_apart(scripted: Scripted, experiment: Make) -> None:
    scripted.told(put="away")
    results = experiment("local", "scripted", routing="all").log_artifact(artifact())
    assert list(results) == ["local"]
    assert list(results.queued) == ["scripted"]
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        results.raise_for_errors()


def test_strict_raises_what_the_backend_raised(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        experiment(strict=True).log_artifact(artifact())
    assert waiting(scripted, home) == ["thing"]


# -- files that change


def test_a_file_that_changes_while_it_is_uploaded_is_stored_as_it_is_then(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("first"))
    scripted.told(put="sleep 0.5")
    changing = artifact("before")
    path = Path("thing-before.txt")
    threading.Timer(0.3, lambda: path.write_text("after, and longer")).start()
    result = exp.log_artifact(changing)["scripted"]
    scripted.told()
    assert contents(exp) == ["first", "after, and longer"]
    assert exp.get_artifact("thing").digest == result.digest


def test_a_file_that_changes_after_its_upload_and_before_the_commit_is_not_left_wrong(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment()
    exp.log_artifact(artifact("first"))
    scripted.told(after_put="sleep 0.5")
    changing = artifact("before")
    path = Path("thing-before.txt")
    threading.Timer(0.3, lambda: path.write_text("after, and longer")).start()
    assert exp.log_artifact(changing).ok
    assert contents(exp) == ["first", "after, and longer"]


def test_a_file_that_is_gone_by_then_is_the_callers_to_know(experiment: Make) -> None:
    thing = artifact()
    Path("thing-content.txt").unlink()
    with pytest.raises(ArtifactError, match=r"thing-content.txt.*cannot be read"):
        experiment().log_artifact(thing)


# -- submitting


def test_what_is_submitted_may_change_and_go_at_once(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    futures = []
    path = Path("model.bin")
    for word in ("one", "two", "three"):
        path.write_text(word)
        thing = TraceletArtifact("thing", ArtifactType.CHECKPOINT).add_file(path, "file.txt")
        futures.append(exp.submit_artifact(thing, aliases=[word]))
    path.unlink()
    assert [future.result(60)["scripted"].version for future in futures] == ["v0", "v1", "v2"]
    assert contents(exp) == ["one", "two", "three"]
    assert exp.get_artifact("thing", "two").version == "v1"


def test_what_was_submitted_before_a_kill_is_delivered_by_the_next_process(
    scripted: Scripted, experiment: Make
) -> None:
    scripted.told(open="sleep 30")
    program = """
import os
from pathlib import Path
from tracelet import ArtifactType, Experiment
exp = Experiment("trials", backend="scripted", artifacts=True).start()
for number in range(20):
    Path("file.txt").write_text(f"{number:02}")
    exp.submit_artifact(exp.create_artifact("thing", ArtifactType.CHECKPOINT).add_file("file.txt"))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    scripted.told()
    exp = experiment()
    assert exp.flush(20) == 0
    held = {one.version: text(one) for one in exp.list_artifacts()}
    assert held == {f"v{number}": f"{number:02}" for number in range(20)}


def test_a_submission_that_fails_tells_its_future(scripted: Scripted, experiment: Make) -> None:
    scripted.told(put="away")
    exp = experiment()
    results = exp.submit_artifact(artifact()).result(60)
    assert "scripted is out" in str(results.queued["scripted"])


def test_a_submission_whose_snapshot_is_lost_tells_its_future(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment(store="memory://not-there")
    big = artifact("big")
    big.metadata["force_reference"] = True
    manager = exp._artifact_manager
    manager._resources._store = None
    finished = threading.Event()
    original = manager._process.sealer._finish

    def late(path: Path) -> None:
        for snapshot in (home / ".tracelet" / "staging").rglob("files/*"):
            snapshot.unlink()
        try:
            original(path)
        finally:
            finished.set()

    manager._process.sealer._finish = late
    future = exp.submit_artifact(big)
    assert finished.wait(60)
    with pytest.raises(ArtifactError, match="cannot be read"):
        future.result(60)
    assert exp.flush(1) == 1


# -- several at once


def test_eight_threads_and_two_processes_share_no_version(scripted: Scripted, experiment: Make) -> None:
    program = """
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tracelet import ArtifactType, Experiment
who = sys.argv[1]
with Experiment("trials", backend="scripted", artifacts=True) as exp:
    def log(number):
        path = Path(f"{who}-{number}.txt")
        path.write_text(f"{who}-{number}")
        artifact = exp.create_artifact("thing", ArtifactType.CONFIG).add_file(path, "file.txt")
        return exp.log_artifact(artifact)["scripted"].version
    with ThreadPoolExecutor(8) as pool:
        print(*pool.map(log, range(8)))
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", program, who], stdout=subprocess.PIPE, text=True) for who in "ab"
    ]
    versions = [version for worker in workers for version in worker.communicate(timeout=180)[0].split()]
    assert sorted(versions) == sorted(f"v{number}" for number in range(16))
    expected = {f"{who}-{number}" for who in "ab" for number in range(8)}
    assert set(contents(experiment())) == expected


def test_two_processes_that_find_the_same_delivery_make_it_once(scripted: Scripted, experiment: Make) -> None:
    scripted.told(put="away")
    exp = experiment()
    for number in range(5):
        exp.log_artifact(artifact(str(number), name=f"thing{number}"))
    exp.stop()
    scripted.told(put="sleep 0.1")
    program = """
from tracelet import Experiment
with Experiment("trials", backend="scripted", artifacts=True) as exp:
    while exp.flush(10):
        pass
"""
    workers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [worker.wait(180) for worker in workers] == [0, 0]
    scripted.told()
    assert sorted(one.name for one in experiment().list_artifacts()) == [f"thing{number}" for number in range(5)]
    assert len(scripted.calls("after_put")) == 5


def test_many_threads_may_read_and_write_at_once(experiment: Make) -> None:
    exp = experiment("local")

    def work(number: int) -> str:
        exp.log_artifact(artifact(str(number), name=f"thing{number}"))
        return text(exp.get_artifact(f"thing{number}"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [str(number) for number in range(40)]


def test_a_forked_child_works_for_itself(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("parent"))
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if exp.log_artifact(artifact("child")).ok and len(contents(exp)) == 2 else 2
            exp.stop()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    exp.log_artifact(artifact("parent again"))
    assert contents(exp) == ["parent", "child", "parent again"]


def test_what_another_process_left_goes_where_that_process_would_have_sent_it(
    scripted: Scripted, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Scripted(tmp_path / "first"), Scripted(tmp_path / "second")
    first.place.mkdir()
    monkeypatch.setenv("TOLD_PLACE", str(first.place))
    first.told(put="away")
    exp = experiment("scripted-told")
    exp.log_artifact(artifact("for the first"))
    exp.stop()
    first.told()
    monkeypatch.setenv("TOLD_PLACE", str(second.place))
    later = experiment("scripted-told")
    later.log_artifact(artifact("for the second"))
    assert later.flush() == 0
    assert contents(later) == ["for the second"]
    monkeypatch.setenv("TOLD_PLACE", str(first.place))
    assert contents(experiment("scripted-told")) == ["for the first"]


# -- leases


def test_a_delivery_that_a_living_process_has_taken_is_left_to_it(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact())
    exp.stop()
    outbox = Outbox(home / ".tracelet")
    (parcel,) = outbox.everything()
    assert outbox.take(parcel, [current()], 60)
    assert not outbox.take(parcel, [current()], 60)
    scripted.told()
    assert experiment().flush(1) == 1
    outbox.release(parcel)


def test_a_dead_process_holds_nothing(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact())
    exp.stop()
    outbox = Outbox(home / ".tracelet")
    (parcel,) = outbox.everything()
    sleeper = subprocess.Popen(["sleep", "60"])
    assert outbox.take(parcel, [process_id(sleeper.pid)], 60)
    assert not outbox.take(parcel, [current()], 60)
    sleeper.kill()
    sleeper.wait()
    assert outbox.take(parcel, [current()], 60)
    outbox.release(parcel)


def test_another_machines_lease_holds_until_its_time_is_over(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact())
    exp.stop()
    outbox = Outbox(home / ".tracelet")
    (parcel,) = outbox.everything()
    elsewhere = process_id(1).__class__("another-host", 1, "5")
    assert outbox.take(parcel, [elsewhere], 60)
    assert not outbox.take(parcel, [current()], 60)
    outbox.release(parcel)
    assert outbox.take(parcel, [elsewhere], -1)
    assert outbox.take(parcel, [current()], 60)
    outbox.done(parcel)
    assert not outbox.take(parcel, [current()], 60)


def test_no_secret_is_in_the_outbox(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-render")
    exp.log_artifact(artifact().add_reference("https://me:secret@host/file?token=secret"))
    exp.submit_artifact(artifact("b")).result(60)
    written = [path.read_text() for path in (home / ".tracelet" / "outbox").rglob("*.json")]
    assert len(written) == 2
    assert "https://me@host/x" in written[0]
    assert not [one for one in written if "secret" in one]


# -- the tracker's own form of models


def test_what_a_backend_renders_of_a_model_reaches_it_also_by_the_outbox(
    scripted: Scripted, toys: ModuleType, experiment: Make, home: Path
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-render")
    exp.log_artifact(TraceletArtifact("net", ArtifactType.MODEL).add_model(toys.Line(1)))
    (form,) = (home / ".tracelet" / "outbox").rglob("form.txt")
    assert form.read_text() == "Line toys net"
    scripted.told()
    assert exp.flush() == 0
    assert not list((home / ".tracelet" / "outbox").rglob("form.txt"))


def test_a_form_that_cannot_be_rendered_costs_a_warning_only(
    toys: ModuleType, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    net = TraceletArtifact("net", ArtifactType.MODEL).add_model(toys.Line(1))
    net.metadata["render"] = "fails"
    assert experiment("scripted-render").log_artifact(net).ok
    assert "no form for it" in caplog.text


# -- inputs


def test_what_a_run_uses_is_among_the_inputs_of_what_it_logs(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    exp.log_artifact(artifact("data", name="data"))
    used = exp.use_artifact("data")
    exp.log_artifact(artifact())
    assert exp.get_artifact("thing").manifest.inputs == (used.digest,)
    assert exp.flush(10.0) == 0
    assert len(scripted.calls("record_input")) == 1


def test_every_backend_with_lineage_that_holds_what_is_used_is_told(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    exp = experiment("local", "scripted", "scripted-dumb", routing="all")
    exp.log_artifact(artifact("data", name="data"))
    used = [exp.use_artifact("data"), exp.use_artifact("data", "v0"), exp.use_artifact("data", backend="scripted")]
    assert [one.backend for one in used] == ["local", "local", "scripted"]
    assert exp.flush(10.0) == 0
    assert len(scripted.calls("record_input")) == 1
    (note,) = (home / ".tracelet" / "local" / "trials" / "uses" / "data" / "v0").iterdir()
    assert note.name == exp.run_id
    assert json.loads(note.read_text())["run_id"] == exp.run_id
    assert not Uses(home / ".tracelet").everything()


def test_a_backend_that_does_not_hold_what_is_used_is_told_nothing(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    with Experiment("trials", artifacts=True) as alone:
        alone.log_artifact(artifact("data", name="data"))
    exp = experiment("local", "scripted")
    exp.use_artifact("data")
    assert exp.flush(10.0) == 0
    assert not scripted.calls("record_input")
    assert not Uses(home / ".tracelet").everything()


@pytest.mark.parametrize("misdeed", ["away", "broken"])
def test_what_is_used_and_waits_for_a_backend_is_noted_there_once_it_is_delivered(
    scripted: Scripted, experiment: Make, home: Path, misdeed: str
) -> None:
    exp = experiment("local", "scripted", routing="all")
    scripted.told(put=misdeed)
    assert "scripted" in exp.log_artifact(artifact("data", name="data")).queued
    exp.use_artifact("data")
    assert exp.flush(10.0) == 1
    assert not scripted.calls("record_input")
    assert [use.backend for use in Uses(home / ".tracelet").everything()] == ["scripted"]
    scripted.told()
    assert exp.flush(10.0) == 0
    assert len(scripted.calls("record_input")) == 1


@pytest.mark.parametrize("misdeed", ["away", "broken", "crash", "hang"])
def test_lineage_that_a_backend_does_not_take_is_kept_told_once_and_noted_by_a_later_run(
    scripted: Scripted, experiment: Make, home: Path, misdeed: str, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    exp.log_artifact(artifact("data", name="data"))
    scripted.told(record_input=misdeed)
    exp.use_artifact("data")
    assert exp.log_artifact(artifact()).ok or misdeed == "hang"
    exp.flush(10.0)
    exp.stop()
    told = [one for one in caplog.records if "has not noted the use of 'data' yet" in one.getMessage()]
    assert [one.levelname for one in told if one.levelname == "WARNING"] == ["WARNING"]
    scripted.told()
    before = len(scripted.calls("record_input"))
    later = experiment()
    assert later.flush(10.0) == 0
    later.stop()
    assert len(scripted.calls("record_input")) == before + 1
    assert not Uses(home / ".tracelet").everything()


def test_lineage_that_a_backend_refuses_for_good_is_told_and_forgotten(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    exp.log_artifact(artifact("data", name="data"))
    scripted.told(record_input="never")
    exp.use_artifact("data")
    exp.flush(10.0)
    assert "scripted will never note the use of 'data': scripted never takes that" in caplog.text
    assert not Uses(home / ".tracelet").everything()


def test_a_disk_that_takes_no_note_costs_a_warning(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment()
    exp.log_artifact(artifact("data", name="data"))
    write(home / ".tracelet" / "uses", "in the way")
    exp.use_artifact("data")
    exp.flush(10.0)
    assert "the use of 'data' is noted in this run, or never" in caplog.text
    assert len(scripted.calls("record_input")) == 1


def test_notes_that_came_from_elsewhere_and_are_none_are_passed_over(home: Path) -> None:
    uses = Uses(home)
    use = Use("scripted", RunInfo("run-1", "trials", 1.0), "data", "latest", "0" * 64)
    uses.add(use)
    assert uses.everything() == uses.waiting("trials", "scripted") == [use]
    (file,) = (home / "uses" / "trials" / "scripted").iterdir()
    plain = json.loads(file.read_text())
    others: list[dict[str, Any]] = [
        {"name": "../x"},
        {"ref": "sha256:.."},
        {"digest": "../.."},
        {"schema": 2},
        {"experiment": "another"},
        {"experiment": ["trials"]},
        {"experiment": "\ud800"},
        {"run": {"id": "x", "started_at": 10**400}},
        {"run": {"id": "../x", "started_at": 1.0}},
        {"run": {"id": "x", "started_at": 1e999}},
        {"run": 3},
    ]
    for number, other in enumerate(others):
        write(file.with_name(f"{number}.json"), json.dumps(plain | other))
    write(file.with_name("text.json"), "{" * 100_000)
    write(home / "elsewhere.json", file.read_bytes())
    file.unlink()
    file.symlink_to(home / "elsewhere.json")
    assert uses.everything() == []


# -- telling


def test_the_stats_tell_state_and_counts(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment("local", "scripted", routing="all")
    exp.log_artifact(artifact())
    exp.log_artifact(artifact())
    scripted.told(put="away")
    exp.log_artifact(artifact("b"))
    stats = exp._artifact_manager.get_stats()
    assert json.loads(json.dumps(stats)) == stats
    assert stats["backends"]["local"] == {"state": "ready", "reason": "", "waiting": 0, "delivered": 3}
    assert stats["backends"]["scripted"]["waiting"] == 1
    assert "scripted is out" in stats["backends"]["scripted"]["reason"]
    assert stats["counts"] == {"logged": 3, "unchanged": 2, "queued": 1, "failed": 0, "submitted": 0}
    assert stats["outbox"] == {"waiting": 1, "refused": 0}
    assert (stats["enabled"], stats["run"], stats["routing"]) == (True, exp.run_id, "all")
    assert stats["directory"] == str(home / ".tracelet")


def test_what_is_not_found_but_waits_is_told(scripted: Scripted, experiment: Make) -> None:
    exp = experiment()
    scripted.told(put="away")
    exp.log_artifact(artifact())
    with pytest.raises(ArtifactNotFound, match="1 delivery of it waits in the outbox"):
        exp.get_artifact("thing")


def test_where_one_backend_fails_the_answers_of_the_others_are_attached(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    exp = experiment("local", "scripted", routing="all")
    exp.log_artifact(artifact())
    scripted.told(list="away", find="away")
    with pytest.raises(BackendError, match="scripted is out") as caught:
        exp.list_artifacts()
    assert [one.backend for one in caught.value.answers] == ["local"]
    assert exp.get_artifact("thing").backend == "local"
    assert "looked for without scripted" in caplog.text


def test_writing_needs_a_run_and_reading_does_not(experiment: Make) -> None:
    exp = Experiment("idle", artifacts=True)
    with pytest.raises(ConfigError, match="call start"):
        exp.log_artifact(artifact())
    with pytest.raises(ConfigError, match="call start"):
        exp.submit_artifact(artifact())
    assert exp.list_artifacts() == []
    assert exp.flush() == 0
    exp.stop()


@pytest.mark.parametrize("rank", [1, 7])
def test_only_rank_0_writes(rank: int, home: Path) -> None:
    with Experiment("ranks", artifacts=True, config=ExperimentConfig(rank=rank)) as exp:
        results = exp.log_artifact(artifact())
        assert results.skipped == {"local": "only rank 0 writes"}
        assert results.ok
        assert exp.submit_artifact(artifact()).result(60).skipped
        assert exp.flush() == 0
        assert exp.list_artifacts() == []


# -- the tracelet directory itself


def test_a_submission_that_another_process_delivers_is_told_of(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    scripted.told(put="shut")
    exp = experiment(deadline=60.0)
    busy = exp.submit_artifact(artifact("busy", name="busy"))
    future = exp.submit_artifact(artifact())
    while len(waiting(scripted, home)) < 2 or not scripted.calls("put"):
        time.sleep(0.01)
    scripted.told()
    program = (
        "from tracelet import Experiment\nwith Experiment('trials', backend='scripted', artifacts=True) as exp:\n    "
    )
    subprocess.run([sys.executable, "-c", f"{program}exp.flush(5)"], check=True)
    (scripted.place / "open").touch()
    assert busy.result(60).ok
    assert future.result(60)["scripted"].version == "v0"
    assert contents(exp) == ["content"]


@pytest.mark.parametrize(
    ("script", "told"),
    [({"find": "away"}, "scripted is out"), ({}, "scripted has not taken 'thing'")],
    ids=["away", "refused"],
)
def test_a_submission_that_was_settled_elsewhere_is_asked_after(
    scripted: Scripted, experiment: Make, home: Path, script: dict[str, str], told: str
) -> None:
    scripted.told(put="shut")
    exp = experiment(deadline=60.0)
    exp.submit_artifact(artifact("busy", name="busy"))
    future = exp.submit_artifact(artifact())
    while len(waiting(scripted, home)) < 2 or not scripted.calls("put"):
        time.sleep(0.01)
    scripted.told(**script)
    for file in (home / ".tracelet" / "outbox" / "trials" / "scripted").glob("*~thing.json"):
        file.unlink()  # as another process does that has delivered it, or had it refused
    (scripted.place / "open").touch()
    assert told in str(future.result(60).failed["scripted"])


def test_what_is_submitted_while_the_outbox_is_looked_at_is_not_taken_for_settled(
    scripted: Scripted, experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact())
    outbox = exp._artifact_manager._context.outbox
    backlog = exp._artifact_manager._process.couriers["scripted"].backlog
    (parcel,) = outbox.everything()

    def meanwhile(*asked: object) -> list[str]:
        backlog.waiters._waiters[parcel.key] = (parcel, Future())
        return ["earlier"]

    backlog.waiters._waiters["earlier"] = (parcel, Future())
    monkeypatch.setattr(outbox, "waiting", meanwhile)
    backlog.look()
    assert not backlog.waiters.lost
    monkeypatch.undo()
    backlog.waiters._waiters.clear()
    scripted.told()


def test_a_damaged_delivery_is_put_aside_and_told_of(
    scripted: Scripted, experiment: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.told(put="away")
    exp = experiment()
    exp.log_artifact(artifact("bad", name="bad"))
    exp.log_artifact(artifact())
    exp.stop()
    (file,) = (home / ".tracelet" / "outbox").rglob("*~bad.json")
    file.write_text("{")
    (damaged,) = damaged_in(Outbox(home / ".tracelet"))
    assert f"{file} is damaged: put back a good copy" in damaged.advice
    scripted.told()
    assert experiment().flush() == 0
    assert f"put aside, as {file.with_suffix('.damaged')}" in caplog.text
    assert contents(experiment()) == ["content"]
    with pytest.raises(IntegrityError, match="damaged"):
        needed_blobs(Outbox(home / ".tracelet"))


def test_a_directory_that_cannot_be_written_fails_the_delivery_and_not_the_program(home: Path) -> None:
    exp = Experiment("trials", artifacts=True).start()
    (home / ".tracelet").rmdir()
    (home / ".tracelet").write_text("a file, and no folder")
    for results in (exp.log_artifact(artifact()), exp.submit_artifact(artifact()).result(60)):
        assert "the tracelet directory cannot be written" in str(results.failed["local"])
    (home / ".tracelet").unlink()
    assert exp.log_artifact(artifact()).ok
    exp.stop()


def test_while_the_store_is_away_large_files_wait_with_their_artifact(experiment: Make, home: Path) -> None:
    blocker = home / "store"
    blocker.write_text("a file, where the store's folder will be")
    exp = experiment("local", store=str(blocker), large_file_mb=0.000_001)
    results = exp.log_artifact(artifact("large"))
    later = exp.submit_artifact(artifact("larger", name="other")).result(60)
    assert "the store does not take" in str(results.queued["local"])
    assert "the store does not take" in str(later.queued["local"])
    Path("thing-large.txt").unlink()
    assert exp.flush() == 2
    blocker.unlink()
    assert exp.flush() == 0
    assert contents(exp) == ["large"]
    assert contents(exp, "other") == ["larger"]


# -- what comes at the last moment


def courier(backend: str, home: Path, **config: float) -> Courier:
    """A courier that nothing has started yet."""
    spec, directory = registry().backends.get(backend), home / ".tracelet"
    lane = open_lane(spec, "trials", load_plugin(spec.settings, backend), BackendContext(directory))
    return Courier(backend, "trials", lane, Outbox(directory), TraceletSettings(**config))


def sealed_by(exp: Experiment) -> tuple[SealedArtifact, Parcel]:
    """What an experiment has logged, as it would go to a courier."""
    exp.log_artifact(artifact())
    manifest = exp.get_artifact("thing").manifest
    parcel = Parcel("scripted-inline", RunInfo("r", "trials", 1.0), Labels(), {}, manifest, time.time())
    return SealedArtifact(manifest, {"file.txt": Path("thing-content.txt").absolute()}), parcel


def test_an_outcome_that_comes_as_the_time_is_over_is_the_outcome(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    class Late(Future[Outcome]):
        def result(self, timeout: float | None = None) -> Outcome:
            if not self.done():
                self.set_result(Outcome(error=BackendUnavailable("the real reason")))
                raise TimeoutError
            return super().result(timeout)

    task = Task(*sealed_by(experiment("scripted-inline")))
    task.outcome = Late()
    outcome = courier("scripted-inline", home).wait_for(task, time.monotonic())
    assert str(outcome.error) == "the real reason"
    assert not waiting(scripted, home)


def test_what_can_be_neither_delivered_in_time_nor_kept_is_told(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    task = Task(*sealed_by(experiment("scripted-inline")))
    (home / ".tracelet" / "outbox").write_text("a file, and no folder")
    outcome = courier("scripted-inline", home).wait_for(task, time.monotonic())
    assert "the tracelet directory cannot be written" in str(outcome.error)
    assert not outcome.queued
    assert not task.parked


def test_what_is_not_taken_and_cannot_be_kept_is_told(scripted: Scripted, experiment: Make, home: Path) -> None:
    exp = experiment("scripted-inline")
    (home / ".tracelet" / "outbox").write_text("a file, and no folder")
    scripted.told(put="away")
    assert "the tracelet directory cannot be written" in str(exp.log_artifact(artifact()).failed["scripted-inline"])


def test_what_became_of_anothers_delivery_is_unknown_while_the_backend_is_away(
    scripted: Scripted, experiment: Make, home: Path
) -> None:
    _, parcel = sealed_by(experiment("scripted-inline"))
    scripted.told(find="away")
    sent = courier("scripted-inline", home)
    try:
        assert "scripted is out" in str(sent.expect(parcel).result(60).error)
    finally:
        sent.close(time.monotonic() + 5, failed=False)


def test_stop_ends_the_lane_of_another_processs_delivery_too(
    scripted: Scripted, experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Scripted(tmp_path / "first"), Scripted(tmp_path / "second")
    first.place.mkdir()
    first.told(put="away")
    monkeypatch.setenv("TOLD_PLACE", str(first.place))
    exp = experiment("scripted-told")
    exp.log_artifact(artifact("for the first"))
    exp.stop()
    first.told(put="hang")
    tried = len(first.calls("put"))
    monkeypatch.setenv("TOLD_PLACE", str(second.place))
    later = experiment("scripted-told", deadline=60.0, stop_timeout=1.0)
    until = time.monotonic() + 60
    while len(first.calls("put")) == tried and time.monotonic() < until:
        time.sleep(0.02)
    began = time.monotonic()
    later.stop()
    assert time.monotonic() - began < 5 * pace()
    assert not lane_processes()


# -- what only this machine has


def test_what_only_this_machine_has_is_logged_and_stays_in_the_outbox(
    experiment: Make, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "offline.py").write_text(OFFLINE)
    with installed(tmp_path / "more", {"offline": "offline"}):
        exp = experiment("offline")
        results = exp.log_artifact(artifact())
        assert (results["offline"].pending, results["offline"].version, results.ok) == (True, "v0", True)
        assert exp.flush(1) == 1
        (noted,) = (json.loads(path.read_text()) for path in home.glob(".tracelet/outbox/*/offline/*.json"))
        assert not noted["attempts"], "it is not tried again before the tracker is back"
        assert exp.submit_artifact(artifact("other", name="other")).result(60)["offline"].pending
        assert {one.name: one.pending for one in exp.list_artifacts()} == {"thing": True, "other": True}
        assert exp.get_artifact("thing").to_dict()["pending"] is True
        assert exp.flush(1) == 2
        exp.stop()
        (home / "online").touch()
        later = experiment("offline")
        assert later.flush() == 0
        assert {one.name: one.pending for one in later.list_artifacts()} == {"thing": False, "other": False}
        assert [one.version for one in later.list_artifacts()] == ["v0", "v0"]
        assert later.log_artifact(artifact("third", name="third"))["offline"].pending is False


def test_what_only_this_machine_has_and_the_outbox_does_not_take_has_failed(
    experiment: Make, home: Path, tmp_path: Path
) -> None:
    """No server would ever get it, so nobody is told that it waits for one."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "offline.py").write_text(OFFLINE)
    (home / "full").touch()
    with installed(tmp_path / "more", {"offline": "offline"}):
        results = experiment("offline").log_artifact(artifact())
        assert (dict(results), list(results.failed)) == ({}, ["offline"])
        (home / "full").unlink()
        (home / ".tracelet" / "outbox").unlink()
        assert experiment("offline").log_artifact(artifact())["offline"].pending
        assert len(list(home.glob(".tracelet/outbox/*/offline/*.json"))) == 1


OFFLINE = """
from pathlib import Path

import attrs

from tracelet.builtin.local import LocalBackend
from tracelet.plugin import BackendSpec, hookimpl


class Offline(LocalBackend):
    def put(self, sealed, labels):
        if Path("full").exists():  # what is no folder takes no delivery
            Path(".tracelet/outbox").touch()
        return self.told(super().put(sealed, labels))

    def find(self, name, ref):
        found = super().find(name, ref)
        return found and self.told(found)

    def list(self, *, name, type):
        return [self.told(stored) for stored in super().list(name=name, type=type)]

    def told(self, stored):
        return attrs.evolve(stored, pending=not Path("online").exists())


@hookimpl
def tracelet_backends():
    def open_it(experiment, settings, context):
        return Offline(context.directory / "offline", experiment)

    return [BackendSpec(name="offline", open=open_it, in_process=True)]
"""
