"""Where thousands wait: `stop()` keeps its word, and each of them costs what one of a few does."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs
import pytest
from commanding import begin_program, program, run_json, wait_until
from making import elsewhere
from watching import Scripted

from tracelet import ArtifactType, Experiment, TraceletArtifact
from tracelet.core.capture.item import Item
from tracelet.core.capture.queue import CaptureQueue
from tracelet.core.capture.report import CaptureReport
from tracelet.core.delivery.name_queue import NameQueue
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.system.processes import current
from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import Detection

if TYPE_CHECKING:
    from tracelet.core.capture.snapshot_pool import SnapshotPool

Make = Callable[..., Experiment]

#: Counts what a program does to files, on the thread that counts.
COUNTING = """
import os, sys, threading, time
from collections import Counter
from pathlib import Path
from tracelet import ArtifactType, Experiment, ExperimentConfig, TraceletArtifact

asked, of = Counter(), [threading.current_thread()]

def see(event, arguments):
    if event == "open" and isinstance(arguments[0], int):
        return  # a file that is open already becomes a stream
    if event in {"open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.link"} and threading.current_thread() in of:
        asked[event] += 1

sys.addaudithook(see)

def made(number, name="thing"):
    Path("file.txt").write_text(str(number))
    return TraceletArtifact(name, ArtifactType.CONFIG).add_file("file.txt")
"""


def told(script: str, home: Path, **environ: str) -> Any:
    return elsewhere(COUNTING + script, cwd=home, **environ)


def test_stop_costs_the_same_whatever_is_not_hashed_yet(tmp_path: Path) -> None:
    counts = []
    for number in (20, 200):
        home = tmp_path / str(number)
        counts.append(
            told(
                f"""
exp = Experiment("trials", artifacts=True, config=ExperimentConfig(stop_timeout=0.01)).start()
held = threading.Event()
sealer = exp._artifact_manager._process.sealer
honest, sealer._finish = sealer._finish, lambda path: held.wait() and honest(path)
futures = [exp.submit_artifact(made(number)) for number in range({number})]
asked.clear()
exp.stop()
counted = dict(asked)
assert all("the run ended" in str(one.result(0).queued["local"]) for one in futures)
held.set()
answer(counted)
""",
                home,
            )
        )
    assert counts[0] == counts[1]


def test_what_stop_leaves_is_anybodys_although_its_process_lives_on(home: Path) -> None:
    waiting = begin_program(
        """
        exp = experiment("local", stop_timeout=0.01).start()
        for number in range(40):
            exp.submit_artifact(artifact("thing", str(number)))
        exp.stop()
        print("ready", flush=True)
        sys.stdin.readline()
        """
    )
    assert len(run_json("sync")["delivered"]) + len(run_json("ls", "trials")["artifacts"]) >= 40
    versions = run_json("ls", "trials", "--name", "thing")["artifacts"]
    assert {one["version"] for one in versions} == {f"v{number}" for number in range(40)}
    _, err = waiting.communicate("\n")
    assert len(err.splitlines()) == 1, err
    assert "wait in" in err or "waits in" in err
    assert run_json("doctor")["checks"][2]["detail"] == "nothing waits"


def test_the_next_run_of_the_same_process_takes_up_what_the_last_one_left(home: Path) -> None:
    program(
        """
        exp = experiment("local", stop_timeout=0.01).start()
        for number in range(40):
            exp.submit_artifact(artifact("thing", str(number)))
        exp.stop()
        exp.start()
        assert exp.flush(60) == 0
        assert [one.version for one in exp.list_artifacts()] == [f"v{number}" for number in range(40)][::-1]
        exp.stop()
        """
    )


def test_captures_that_a_run_left_are_anybodys_although_its_process_lives_on(home: Path) -> None:
    waiting = begin_program(
        """
        from tracelet.plugin import Detection
        exp = experiment("local", stop_timeout=0.01, automagic_artifacts=True).start()
        for number in range(200):
            path = Path(f"{number}.json").absolute()
            path.write_text(str(number))
            exp._artifact_manager._captures.own.emit(Detection(path=path, type=ArtifactType.CONFIG, name="thing"))
        exp.stop()
        print("ready", flush=True)
        sys.stdin.readline()
        """
    )
    run_json("sync")
    assert len(run_json("ls", "trials")["artifacts"]) == 200
    waiting.communicate("\n")


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "raise KeyboardInterrupt", "raise ValueError('mine')"])
def test_however_a_program_ends_it_warns_once_and_loses_nothing(home: Path, end: str) -> None:
    run = begin_program(
        f"""
        print("ready", flush=True)
        with experiment("local", stop_timeout=0.01) as exp:
            for number in range(60):
                exp.submit_artifact(artifact("thing", str(number)))
            {end or "pass"}
        """
    )
    _, err = run.communicate("\n")
    assert err.count("deliveries wait in") + err.count("delivery waits in") == 1, err
    assert err.count("Queued in") == 0
    run_json("sync")
    assert len(run_json("ls", "trials")["artifacts"]) == 60


def test_a_user_who_interrupts_stop_is_told_what_waits(home: Path) -> None:
    run = begin_program(
        """
        import signal
        print("ready", flush=True)
        exp = experiment("local", stop_timeout=100.0).start()
        for number in range(300):
            exp.submit_artifact(artifact("thing", str(number)))
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        exp.stop()
        """
    )
    _, err = run.communicate("\n")
    assert err.count("KeyboardInterrupt") == 1
    assert err.count("deliveries wait in") == 1, err


def test_what_waits_for_a_backend_that_is_away_is_warned_of_once(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-inline")
    Path("file.txt").write_text("content")
    things = [TraceletArtifact(f"thing{number}", ArtifactType.CONFIG).add_file("file.txt") for number in range(20)]
    futures = [exp.submit_artifact(thing) for thing in things]
    assert all("scripted is out" in str(future.result(60).queued["scripted-inline"]) for future in futures)
    exp.stop()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sum("scripted is out" in one for one in said) == 1
    assert said[-1].startswith("20 deliveries wait in")


def test_what_waits_is_told_by_the_rank_that_writes_alone(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-inline")
    Path("file.txt").write_text("content")
    exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt"))
    experiment("scripted-inline", name="trials", rank=1).stop()
    assert "delivery waits in" not in caplog.text
    exp.stop()
    assert "delivery waits in" in caplog.text


#: Lets a dead process leave so many drafts, and sends them; gives what each delivery asked of the disk.
SYNC = """
if not os.fork():
    exp = Experiment("trials", artifacts=True).start()
    exp._artifact_manager._process.sealer.add = lambda path: None
    for number in range({number}):
        exp.submit_artifact(made(number))
    os._exit(0)
os.wait()
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.registry import registry
from tracelet.settings import TraceletSettings

counts = []

def see_step(step):
    if step.state.value == "delivered":
        counts.append(dict(asked))
        asked.clear()
    elif step.state.value == "begun":
        asked.clear()

report = sync(Path(".tracelet").absolute(), TraceletSettings(), registry(), see_step)
assert len(report.delivered) == {number} and report.complete
answer(counts)
"""


def test_each_delivery_of_sync_asks_the_same_of_the_disk_however_many_wait(tmp_path: Path) -> None:
    few, many = (told(SYNC.format(number=number), tmp_path / str(number)) for number in (20, 200))
    for event in ("os.listdir", "os.scandir"):
        assert {one.get(event, 0) for one in few[1:]} == {one.get(event, 0) for one in many[1:]}, event
    for event in ("open", "os.remove", "os.rename", "os.link"):
        assert statistics.median(one[event] for one in few) == statistics.median(one[event] for one in many), event


#: Leaves so many captures unsubmitted and sends them; tells what one of them asked of the disk and of the parser, on all threads.
CAPTURES = """
import json
from tracelet.core.capture.processor import CaptureProcessor
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.registry import registry
from tracelet.plugin import Detection
from tracelet.settings import TraceletSettings

class Everybody:
    def __contains__(self, thread):
        return True

def counted(module, name):
    honest = getattr(module, name)
    def call(*arguments, **more):
        asked[name] += 1
        return honest(*arguments, **more)
    setattr(module, name, call)

if not os.fork():
    CaptureProcessor.process = lambda self, item: time.sleep(1)
    exp = Experiment("trials", artifacts=True, automagic_artifacts=True).start()
    for number in range({number}):
        path = Path(f"{{number:03}}.json").absolute()
        path.write_text(str(number))
        exp._artifact_manager._captures.own.emit(Detection(path=path))
    os._exit(0)
os.wait()
of = Everybody()
counted(os, "fsync")
counted(json, "loads")
asked.clear()
report = sync(Path(".tracelet").absolute(), TraceletSettings(), registry(), lambda step: None)
assert len(report.delivered) == {number} and report.complete
answer({{what: count / {number} for what, count in asked.items()}})
"""


def test_each_capture_that_sync_delivers_asks_the_same_of_the_disk_however_many_wait(tmp_path: Path) -> None:
    few, many = (told(CAPTURES.format(number=number), tmp_path / str(number)) for number in (20, 100))
    assert many.keys() == few.keys() >= {"open", "fsync", "loads"}
    assert {what: count for what, count in many.items() if count > few[what]} == {}


#: Lets a dead process leave two drafts. Each is hashed only once the other one is in hand, too.
TOGETHER = """
if not os.fork():
    exp = Experiment("trials", artifacts=True).start()
    exp._artifact_manager._process.sealer.add = lambda path: None
    for number in range(2):
        exp.submit_artifact(made(number))
    os._exit(0)
os.wait()
from tracelet.core.delivery import drafts
from tracelet.core.maintenance.sync import sync
from tracelet.core.plugins.registry import registry
from tracelet.settings import TraceletSettings

both, honest = threading.Barrier(2), drafts.finish

def finish(draft, **options):
    both.wait(60)
    return honest(draft, **options)

drafts.finish = finish
answer([one.version for one in sync(Path(".tracelet").absolute(), TraceletSettings(), registry(), print).delivered])
"""


def test_sync_hashes_several_drafts_at_the_same_time_and_delivers_them_in_their_order(tmp_path: Path) -> None:
    assert told(TOGETHER, tmp_path) == ["v0", "v1"]


@attrs.define(eq=False)
class Watched(Item):
    """An item that counts how often somebody looks at one."""

    looks: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> Any:
        Watched.looks += 1
        return super().__getattribute__(name)


def test_who_saves_a_file_does_not_look_through_all_that_waits_for_capture() -> None:
    looks = []
    for number in (20, 200):
        waiting = [
            Watched(Detection(path=Path(f"/{one}")), f"/{one}", 0.0, look=(0, one, 0, 0), kept=Path("kept"))
            for one in range(number + 1)
        ]
        report = CaptureReport()
        queue = CaptureQueue(cast("SnapshotPool", None), report, waiting[:-1], latest_wins=True)
        Watched.looks = 0
        assert not queue.folders_around(waiting[-1])
        assert not queue.has_snapshot_of(waiting[-1])
        queue.add(waiting[-1])
        assert queue.next() is waiting[0]
        looks.append(Watched.looks)
    assert looks[0] == looks[1]


def test_each_delivery_of_a_run_asks_the_same_of_the_disk_however_many_wait(tmp_path: Path, scripted: Scripted) -> None:
    counts = []
    for number in (20, 200):
        scripted.told(put="away")
        counts.append(
            told(
                f"""
import json
place = Path(os.environ["TRACELET_SCRIPTED_INLINE_PLACE"])
exp = Experiment("{number}", backend="scripted-inline", artifacts=True).start()
for number in range({number}):
    assert not exp.log_artifact(made(number)).failed
(place / "script").write_text("{{}}")
of.append(exp._artifact_manager._process.couriers["scripted-inline"]._thread)
asked.clear()
assert exp.flush(50) == 0
answer({{event: count / {number} for event, count in asked.items()}})
""",
                tmp_path / str(number),
            )
        )
    few, many = counts
    assert many.keys() <= few.keys()
    assert all(many[event] <= few[event] * 1.05 for event in many), (few, many)


class TestTheLine:
    def test_the_oldest_goes_first_and_holds_up_those_of_its_name(self) -> None:
        queue, error = NameQueue(), BackendUnavailable("away")
        for key in ("3~c~a", "1~a~a", "2~b~b", "1~a~a"):
            queue.add(key)
        assert queue.free == "1~a~a"
        queue.hold("1~a~a", error)
        assert (queue.free, queue.obstacle("3~c~a"), queue.obstacle("1~a~a")) == ("2~b~b", error, None)
        queue.drop("2~b~b")
        queue.drop("2~b~b")
        assert queue.free is None
        queue.release(["1~a~a", "3~c~a"])
        assert queue.free == "1~a~a"
        queue.drop("1~a~a")
        assert (queue.free, "3~c~a" in queue, queue.of("a"), queue.oldest("b")) == ("3~c~a", True, ["3~c~a"], None)

    def test_an_older_one_that_comes_later_goes_first(self) -> None:
        queue = NameQueue()
        queue.add("2~b~a")
        queue.hold("2~b~a", BackendUnavailable("away"))
        queue.add("1~a~a")
        assert queue.free == "1~a~a"
        queue.drop("1~a~a")
        assert queue.free is None
        queue.release_all()
        assert queue.free == "2~b~a"

    def test_what_is_held_up_stays_so_when_all_is_listed_anew(self) -> None:
        queue = NameQueue()
        queue.add("1~a~a")
        queue.hold("1~a~a", BackendUnavailable("away"))
        queue.become({"1~a~a", "2~b~a", "3~c~c"})
        assert (queue.free, queue.of("a")) == ("3~c~c", ["1~a~a", "2~b~a"])
        queue.become({"2~b~a"})
        assert queue.free == "2~b~a"


def test_a_backend_that_asks_to_be_left_alone_for_a_moment_is_waited_for(scripted: Scripted, experiment: Make) -> None:
    exp = experiment("scripted", deadline=20.0)
    Path("file.txt").write_text("content")
    scripted.told(put="throttled 0.3")
    task = ThreadPoolExecutor().submit(
        exp.log_artifact, TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt")
    )
    wait_until(lambda: len(scripted.calls("put")) > 1)
    scripted.told()
    assert task.result(60)["scripted"].version == "v0"


def test_a_backend_that_asks_for_longer_than_a_delivery_may_take_gets_it_later(
    scripted: Scripted, experiment: Make
) -> None:
    exp = experiment("scripted")
    Path("file.txt").write_text("content")
    scripted.told(put="throttled 600")
    results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt"))
    assert "scripted asks to wait 600 s" in str(results.queued["scripted"])
    again = exp.log_artifact(TraceletArtifact("other", ArtifactType.CONFIG).add_file("file.txt"))
    assert "asked again in 600 s" in str(again.queued["scripted"]).replace("599", "600")
    assert len(scripted.calls("put")) == 1


@pytest.mark.parametrize("backend", ["scripted", "scripted-inline"])
def test_an_error_without_words_is_told_with_its_place(scripted: Scripted, experiment: Make, backend: str) -> None:
    exp = experiment(backend)
    Path("file.txt").write_text("content")
    scripted.told(put="bare")
    results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt"))
    said = str(results.queued[backend])
    assert re.match(
        rf"{backend}: AssertionError in _do \(scripted.py, line \d+\), which says no more: that is a fault", said
    )


def test_what_waits_behind_another_processs_delivery_says_so(scripted: Scripted, experiment: Make, home: Path) -> None:
    scripted.told(put="broken")
    exp = experiment("scripted-inline")
    Path("file.txt").write_text("content")
    exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt"))
    outbox = Outbox(home / ".tracelet")
    (parcel,) = outbox.everything()
    wait_until(lambda: outbox.take(parcel, [current()], 60))
    Path("file.txt").write_text("other")
    results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_file("file.txt"))
    assert str(results.queued["scripted-inline"]) == "another process is on 'thing'."
    outbox.release(parcel)


@pytest.mark.parametrize("number", [1, 2])
def test_one_and_two_are_told_as_people_tell_them(
    scripted: Scripted, experiment: Make, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-inline")
    for name in ("one", "two")[:number]:
        Path("file.txt").write_text(name)
        exp.log_artifact(TraceletArtifact(name, ArtifactType.CONFIG).add_file("file.txt"))
    exp.stop()
    words = {1: "1 delivery waits in", 2: "2 deliveries wait in"}[number]
    assert words in caplog.text
    assert ("send it with" if number == 1 else "send them with") in caplog.text
    assert words.removesuffix(" in") in str(run_json("doctor", "--backend", "local")["checks"])
    assert not re.search(r"  Queued|[^.!?] Queued|\b1 \w+(ies|es|s) ", caplog.text)


def test_a_listed_version_costs_four_calls_of_the_system(tmp_path: Path) -> None:
    """Its file is opened, looked at, read once and closed. The links on the way to it are looked for once for a name."""
    counts = [
        told(
            f"""
with Experiment("trials", artifacts=True) as exp:
    for number in range({versions}):
        exp.log_artifact(made(number, "net"))
exp.list_artifacts()
called = Counter()
def counted(name, call):
    def count(*arguments, **named):
        called[name] += 1
        return call(*arguments, **named)
    setattr(os, name, count)
for name in ("open", "stat", "lstat", "fstat", "read", "lseek", "close", "scandir", "fdopen"):
    counted(name, getattr(os, name))
found = exp.list_artifacts()
answer([len(found), called])
""",
            tmp_path / str(versions),
        )
        for versions in (10, 30)
    ]
    (few, of_few), (many, of_many) = counts
    assert (few, many) == (10, 30)
    more = {name: count - of_few[name] for name, count in of_many.items() if count != of_few[name]}
    assert more == dict.fromkeys(("open", "fstat", "read", "close"), many - few)


def test_the_beginning_of_a_digest_is_looked_up_in_one_folder_however_many_versions_there_are(tmp_path: Path) -> None:
    counts = [
        told(
            f"""
with Experiment("trials", artifacts=True) as exp:
    for number in range({versions}):
        exp.log_artifact(made(number, "net"))
digest = exp.get_artifact("net", "v1").digest
asked.clear()
found = exp.get_artifact("net", f"sha256:{{digest[:12]}}")
answer([found.version, asked])
""",
            tmp_path / str(versions),
        )
        for versions in (3, 30)
    ]
    assert counts[0] == counts[1]
    assert counts[0][0] == "v1"


def test_a_listing_opens_each_manifest_and_each_alias_once(tmp_path: Path) -> None:
    counts = []
    for names in (2, 12):
        home = tmp_path / str(names)
        opened, found = told(
            f"""
with Experiment("trials", artifacts=True) as exp:
    for name in range({names}):
        for number in range(3):
            exp.log_artifact(made(number, f"net{{name}}"), version=f"1.{{number}}", aliases=["best", "prod"])
exp.list_artifacts()
asked.clear()
found = exp.list_artifacts(where="number >= 1", sort="-number")
answer([asked["open"], [[one.version, list(one.aliases)] for one in found]])
""",
            home,
        )
        assert sorted(found) == sorted([["1.1", []], ["1.2", ["best", "prod"]]] * names)
        # Three manifests and two aliases of each name, and nothing else that grows.
        counts.append(opened - 5 * names)
    assert counts[0] == counts[1]
