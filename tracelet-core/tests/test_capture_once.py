# ruff: noqa: F811 - a fixture is a parameter of what uses it
"""One thing that several see, or that has several names, is captured once, by who knows most, within its bounds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from making import write
from pacing import pace
from test_capture import contents, counts, hand, run  # noqa: F401 - fixtures

from tracelet import ArtifactType, Experiment
from tracelet.builtin.filesystem.places import ignored
from tracelet.core.artifacts.builder import TraceletArtifact
from tracelet.core.artifacts.results import LogResults
from tracelet.core.capture import filters, processor, renames
from tracelet.core.capture.journal import Head, Journal, Kept, leftovers
from tracelet.core.capture.pipeline import Capture
from tracelet.core.plugins.versions import Labels, RunInfo
from tracelet.core.system import saves
from tracelet.core.system.files import Stamp, stamp
from tracelet.core.system.processes import ProcessId, current
from tracelet.plugin import Detection, announce_save, saving, share, unshare
from tracelet.settings import TraceletSettings

pytestmark = pytest.mark.capture

Run = Callable[..., Experiment]


def made(directory: Path, submit: Any, **settings: Any) -> Capture:
    """A capture without detectors, on its own."""
    directory.mkdir(parents=True, exist_ok=True)
    info = RunInfo(uuid.uuid4().hex, "x", time.time())
    one = Capture(info, TraceletSettings(**settings), directory, [], submit, lambda: 0)
    one.start()
    return one


def test_first_saves_of_many_threads_at_once_are_all_captured_and_noted(tmp_path: Path) -> None:
    threads = 8
    for number in range(60):
        got: list[str] = []

        def submit(artifact: TraceletArtifact, labels: Labels, put_id: str) -> Future[LogResults]:
            got.append(artifact.name)  # noqa: B023
            done: Future[LogResults] = Future()
            done.set_result(LogResults())
            return done

        folder = tmp_path / str(number)
        one = made(folder / ".tracelet", submit)
        paths = [write(folder / f"f{index}.bin", os.urandom(2000)) for index in range(threads)]
        barrier = threading.Barrier(threads)

        def emit(path: Path) -> None:
            barrier.wait()  # noqa: B023
            one.emit(Detection(path=path, type=ArtifactType.CUSTOM))  # noqa: B023

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(emit, paths))
        # Whoever reads a line that is being written may see half of it.
        assert one.settle(time.monotonic() + 60)
        notes = [json.loads(line) for line in one._journal._path.read_text().split("\n") if line]
        assert [index for index, note in enumerate(notes) if "owner" in note] == [0]
        one.stop(time.monotonic() + 20)
        assert sorted(got) == [f"f{index}-custom" for index in range(threads)]


# -- journals


HEAD: dict[str, Any] = {"backends": ["local"], "routing": "by-type"}


def journal(directory: Path, lines: list[Any]) -> Path:
    """A journal of a process that is dead, of lines that are notes, or text."""
    path = directory / "captured" / "x" / f"{0:020d}~a.jsonl"
    head = {
        **HEAD,
        "owner": {"host": current().host, "pid": 999999, "started": "1"},
        "run": {"id": "a" * 32, "experiment": "x", "started_at": 1.0},
        "folder": str(directory / "staging" / "a~999999~1~host"),
    }
    text = [head if line == "head" else line for line in lines]
    return write(path, "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in text))


def note(number: int) -> dict[str, Any]:
    seen = {"type": None, "name": None, "artifact_path": None, "description": None, "metadata": {}, "aliases": []}
    return {"number": number, "key": f"/{number}", "path": f"/{number}", "snapshot": "copy", **seen}


def end(number: int, **said: Any) -> dict[str, Any]:
    content = {"key": "/k", "content": [[".", "0" * 64]], "name": "k", "type": "custom", "inside": "k", "aliases": []}
    return {"done": number, **(content | said)}


@pytest.mark.parametrize(
    ("lines", "waiting", "warned"),
    [
        (["head", note(0), note(1)], [0, 1], 0),
        (["head", note(0), '{"number": 1, "ke', note(2)], [0, 2], 1),
        ([note(0), "head", note(1)], [0, 1], 0),
        (["head", "head", note(0)], [0], 0),
        (["head", note(0), {"done": 0}, {"done": 0}, note(1)], [1], 0),
        (["head", note(0), {"done": 7}, "[]", note(1)], [0, 1], 1),
        (["head", {"number": 3}, {**note(4), "type": "no-type"}, {**note(5), "name": "/"}, note(6)], [6], 1),
        (["head", note(0), end(0), end(0, type="nothing"), end(9), note(1)], [1], 1),
    ],
)
def test_a_line_that_cannot_be_read_costs_itself_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: list[Any], waiting: list[int], warned: int
) -> None:
    journal(tmp_path, lines)
    (left,) = leftovers(tmp_path, "x")
    assert [kept.number for kept in left.waiting] == waiting
    assert caplog.text.count("unreadable: what is told there is not delivered") == warned


def test_a_journal_says_what_is_beside_a_file_and_an_older_one_that_says_nothing_of_it_is_read(tmp_path: Path) -> None:
    beside = [str(tmp_path / "m.data")]
    journal(tmp_path, ["head", note(0), {**note(1), "path": str(tmp_path / "m.onnx"), "beside": beside}])
    (left,) = leftovers(tmp_path, "x")
    assert [kept.detection.beside for kept in left.waiting] == [(), (tmp_path / "m.data",)]
    again = Journal(tmp_path / "again" / f"{1:020d}~b.jsonl", left.head)
    again.open()
    again.kept(left.waiting[1])
    again.let_go()
    assert json.loads((tmp_path / "again" / f"{1:020d}~b.jsonl").read_text().splitlines()[-1])["beside"] == beside


def test_a_journal_says_that_a_watcher_saw_files_complete_and_an_older_one_that_says_nothing_of_it_is_read(
    tmp_path: Path,
) -> None:
    path, part = tmp_path / "m.onnx", tmp_path / "m.data"
    seen = Detection(path=path, beside=(part,), stamp=Stamp(1, 2, 3, 0), stamps={part: Stamp(4, 5, 6, 0)})
    old = journal(tmp_path, ["head", note(0)])
    (left,) = leftovers(tmp_path, "x")
    again = Journal(old, left.head)
    again.open()
    again.kept(Kept(1, "/1", seen))
    again.let_go()
    (left,) = leftovers(tmp_path, "x")
    assert [kept.detection for kept in left.waiting] == [Detection(path=Path("/0")), seen]


SEEN_AND_KILLED = """
import os, signal, time
from pathlib import Path
from tracelet import ArtifactType, Experiment
from tracelet.core.capture.processor import CaptureProcessor
from tracelet.plugin import Detection, Stamp

exp = Experiment("captured", artifacts=True, automagic_artifacts=True).start()
emit, folder = exp._artifact_manager._captures.own.emit, Path("best").absolute()
emit(Detection(path=folder, type=ArtifactType.MODEL, name="net", metadata={"loss": 1}))
assert exp.flush(30.0) == 0
(folder / "metrics.json").write_text("{}")
CaptureProcessor.process = lambda self, item: time.sleep(60)
looks = {path: path.stat() for path in folder.iterdir()}
stamps = {path: Stamp(look.st_size, look.st_mtime_ns, look.st_ino, 0) for path, look in looks.items()}
emit(Detection(path=folder, type=ArtifactType.MODEL, name="best-model", stamps=stamps))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_watcher_saw_of_a_captured_folder_before_a_kill_is_a_version_of_it(home: Path) -> None:
    write(home / "best" / "model.bin", "weights")
    done = subprocess.run([sys.executable, "-c", SEEN_AND_KILLED], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Experiment("captured", artifacts=True) as exp:
        assert exp.flush(30.0) == 0
    found = sorted(exp.list_artifacts(), key=lambda one: one.version)
    assert [(one.name, one.metadata, len(one.files)) for one in found] == [
        ("net", {"loss": 1}, 1),
        ("net", {"loss": 1}, 2),
    ]


def test_a_folder_of_which_each_file_was_captured_is_not_captured_again(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    folder = home / "step"
    for name in ("a.bin", "b.bin"):
        hand.show(Detection(path=write(folder / name, name), type=ArtifactType.CUSTOM))
    assert exp.flush(20.0) == 0
    hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT))
    assert exp.flush(20.0) == 0
    write(folder / "c.bin", "c")
    hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT))
    exp.stop()
    assert [(one.name, len(one.files)) for one in exp.list_artifacts() if "step" in one.name] == [
        ("step-checkpoint", 3)
    ]


def test_a_journal_that_says_nothing_of_its_run_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal(tmp_path, [note(0), {"owner": "nobody"}])
    assert list(leftovers(tmp_path)) == []
    assert "does not say whose captures" in caplog.text


def test_a_journal_that_another_process_has_finished_meanwhile_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "captured" / "x").mkdir(parents=True)
    (tmp_path / "captured" / "x" / "0~a.jsonl").symlink_to(tmp_path / "gone")
    assert list(leftovers(tmp_path)) == []


def test_a_journal_that_cannot_be_opened_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "captured" / "x" / "0~a.jsonl").mkdir(parents=True)
    assert list(leftovers(tmp_path)) == []
    assert "0~a.jsonl cannot be read: " in caplog.text


def short_write(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """From now on the disk takes only a part of these writes, as one that is full does."""
    honest, done = os.write, []

    def write_some(file: int, data: bytes) -> int:
        done.append(file)
        return honest(file, data[: len(data) // 2] if len(done) - 1 in calls else data)

    monkeypatch.setattr(os, "write", write_some)


def test_a_note_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ProcessId(current().host, 999999, "1")
    run = RunInfo("a" * 32, "x", 1.0)
    head = Head(owner=gone, run=run, backends=["local"], routing="by-type", folder=tmp_path / "s~999999~1~host")
    taken = Journal.begun(tmp_path, head)
    short_write(monkeypatch, {0, 3, 5})
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        taken.open()
    assert list((tmp_path / "captured").rglob("*.jsonl")) == []
    taken.open()
    kept = [Kept(number, f"/{number}", Detection(path=Path(f"/{number}"))) for number in range(3)]
    taken.kept(kept[0])
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        taken.kept(kept[1])
    taken.kept(kept[2])
    taken.done(0)
    taken.close(finished=False)
    (left,) = leftovers(tmp_path)
    assert [one.number for one in left.waiting] == [0, 2]


# -- rates


@pytest.mark.parametrize(
    ("bounds", "about"), [({"capture_min_interval": 10.0}, 60), ({"capture_max_per_minute": 6}, 60)], ids=str
)
def test_with_latest_wins_a_save_each_second_is_captured_as_often_as_the_rates_let_it(
    monkeypatch: pytest.MonkeyPatch, bounds: dict[str, Any], about: int
) -> None:
    now = 0.0
    monkeypatch.setattr(filters.time, "monotonic", lambda: now)
    rates = filters.CaptureFilters(TraceletSettings(capture_latest_wins=True, **bounds))
    captured, slot = 0, None
    for second in range(600):
        now = float(second)
        if slot is not None and slot <= now:
            captured, slot = captured + 1, None
        due = rates.due("x")
        assert due is not None
        captured, slot = (captured + 1, None) if due <= now else (captured, due)
    assert captured == pytest.approx(about, abs=2)


@pytest.mark.parametrize("bounds", [{"capture_min_interval": 60.0}, {"capture_max_per_minute": 1}], ids=str)
def test_a_file_that_two_detectors_see_counts_once(
    run: Run,
    hand: ModuleType,
    home: Path,
    bounds: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    exp = run(**bounds)
    path = home / "x.bin"
    for content in ("1", "22"):
        write(path, content)
        hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT, name="n", aliases=("best",)))
        hand.show(Detection(path=path))
        assert exp.flush(10.0) == 0
    hand.show(Detection(path=path))
    exp.stop()
    assert counts(exp) == {"captured": 1, "unchanged": 1, "throttled": 1}
    assert "1 throttled" in caplog.text


def test_of_two_who_tell_of_a_version_that_waits_the_one_who_knows_more_is_heard(
    run: Run,
    hand: ModuleType,
    home: Path,
) -> None:
    exp = run(capture_latest_wins=True, capture_min_interval=60.0)
    path = home / "x.bin"
    for content in ("1", "22", "333"):
        write(path, content)
        known = Detection(
            path=path, type=ArtifactType.CHECKPOINT, name="n", aliases=("best",), metadata={"size": content}
        )
        bare = Detection(path=path, metadata={"directory": "."})
        for seen in (known,) if content == "1" else (bare, known) if content == "22" else (known, bare):
            hand.show(seen)
        if content == "1":
            assert exp.flush(10.0) == 0
    exp.stop()
    last = exp.get_artifact("n", version="best")
    assert (last.metadata, last.aliases) == ({"size": "333"}, ("best",))
    assert counts(exp)["superseded"] == 2


def test_a_rewrite_that_looks_the_same_is_held_to_the_rates_too(
    run: Run,
    hand: ModuleType,
    home: Path,
) -> None:
    exp = run(capture_min_interval=60.0)
    path = write(home / "x.bin", "1")
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    exp.stop()
    assert contents(exp, "x-custom") == [b"1"]
    assert counts(exp) == {"captured": 1, "throttled": 1}


def test_a_rewrite_that_looks_the_same_waits_with_latest_wins(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run(capture_min_interval=60.0, capture_latest_wins=True)
    path = write(home / "x.bin", "1")
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    hand.show(Detection(path=path, type=ArtifactType.CUSTOM))
    until = time.monotonic() + 60
    while not any(
        item.counted and item.due > time.monotonic() + 30 for item in exp._artifact_manager._captures.own._queue._items
    ):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert contents(exp, "x-custom") in ([], [b"1"])
    exp.stop()
    assert contents(exp, "x-custom") == [b"1", b"2"]


# -- models, and what detectors make


class Net:
    def __init__(self, size: int) -> None:
        self.size = size

    def parameters(self) -> Iterator[Any]:
        yield memoryview(bytearray(self.size))


@pytest.mark.parametrize(
    ("bounds", "counted"),
    [
        ({"capture_exclude": ["net*"]}, {"filtered": 2}),
        ({"capture_max_per_minute": 1}, {"captured": 1, "throttled": 1}),
        ({"capture_max_per_minute": 1, "capture_latest_wins": True}, {"captured": 1, "throttled": 1}),
        ({"capture_disk_share": 1e-9}, {"over_cap": 2}),
    ],
    ids=str,
)
def test_models_keep_within_the_bounds_and_are_not_stored_to_find_that_out(
    tmp_path: Path, bounds: dict[str, Any], counted: dict[str, int]
) -> None:
    asked: list[str] = []

    def submit(artifact: TraceletArtifact, labels: Labels, put_id: str) -> Future[LogResults]:
        asked.append(artifact.name)
        return Future()

    one = made(tmp_path / ".tracelet", submit, **bounds)
    for _ in range(2):
        one.emit(Detection(model=Net(10_000_000), type=ArtifactType.MODEL, name="net"))
    one.stop(time.monotonic() + 5)
    assert {k: v for k, v in one.stats().items() if k not in {"detectors", "waiting"}} == counted
    assert len(asked) == counted.get("captured", 0)


def test_a_model_weighs_what_it_is_until_it_is_delivered(tmp_path: Path) -> None:
    promise: Future[LogResults] = Future()
    one = made(tmp_path / ".tracelet", lambda *arguments: promise)
    one.emit(Detection(model=Net(1_000), type=ArtifactType.MODEL, name="net"))
    assert one._pool._submitted == 1_000
    promise.set_result(LogResults())
    assert one._pool._submitted == 0
    one.stop(time.monotonic() + 5)


@pytest.mark.parametrize(
    "bounds",
    [{"capture_disk_share": 1e-12}, {"capture_exclude": ["*"]}, {"capture_max_per_minute": 1}, {}],
    ids=str,
)
def test_what_a_detector_made_is_gone_from_its_workspace_whether_it_is_captured_or_not(
    run: Run,
    hand: ModuleType,
    home: Path,
    bounds: dict[str, Any],
) -> None:
    exp = run(**bounds)
    workspace = hand.contexts[-1].workspace
    for number in range(2):
        folder = write(workspace / f"{number}" / "folder" / "x.bin", os.urandom(1000)).parent
        hand.show(Detection(path=folder, type=ArtifactType.CUSTOM, name="made", snapshot="take"))
        file = write(workspace / f"{number}" / "y.bin", os.urandom(1000))
        hand.show(Detection(path=file, type=ArtifactType.CUSTOM, name="made-too", snapshot="take"))
    assert [path for path in workspace.rglob("*") if path.is_file()] == []
    exp.stop()


# -- folders and names


def test_a_folder_that_gets_folders_which_were_captured_is_no_other_one(run: Run, hand: ModuleType, home: Path) -> None:
    """A model with checkpoints beside it is seen once by who saves it, and then, with them, by who watches."""
    exp = run()
    whole, part = home / "model", home / "model" / "step-1"
    for path in (whole / "a.bin", whole / "b.bin", part / "c.bin"):
        write(path, path.name)
    hand.show(Detection(path=part, type=ArtifactType.CHECKPOINT))
    own = home / "own"
    shutil.copytree(whole, own, ignore=shutil.ignore_patterns("step-1"))
    hand.show(Detection(path=own, place=whole, type=ArtifactType.MODEL))
    assert exp.flush(20.0) == 0
    hand.show(Detection(path=whole, type=ArtifactType.MODEL))
    assert exp.flush(20.0) == 0
    assert counts(exp) == {"captured": 2, "unchanged": 1}
    (whole / "b.bin").unlink()
    hand.show(Detection(path=whole, type=ArtifactType.MODEL))
    exp.stop()
    assert counts(exp) == {"captured": 3, "unchanged": 1}


def test_checkpoints_that_are_saved_into_one_folder_are_not_that_folder_once_more(
    run: Run, hand: ModuleType, home: Path
) -> None:
    """Who saves tells of the files of each checkpoint alone; who watches sees all of them in the folder."""
    exp = run()
    whole = home / "run"
    for step in (1, 2):
        write(whole / f"step{step}" / "model.pt", f"step {step}")
        write(whole / "latest", f"step{step}")
        own = home / f"own{step}"
        shutil.copytree(whole, own, ignore=shutil.ignore_patterns(f"step{3 - step}"))
        hand.show(Detection(path=own, place=whole, name="state", type=ArtifactType.CHECKPOINT, snapshot="take"))
        assert exp.flush(20.0) == 0
    hand.show(Detection(path=whole, type=ArtifactType.CHECKPOINT))
    hand.show(Detection(path=whole / "step1" / "model.pt"))
    hand.show(Detection(path=whole / "latest"))
    assert exp.flush(20.0) == 0
    assert counts(exp) == {"captured": 2, "unchanged": 3}
    write(whole / "step1" / "model.pt", "other")
    hand.show(Detection(path=whole, type=ArtifactType.CHECKPOINT))
    exp.stop()
    assert counts(exp) == {"captured": 3, "unchanged": 3}


def test_a_folder_and_its_files_in_a_watched_directory_are_one(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run(capture_min_interval=60.0)
    folder = home / "step1"
    with ThreadPoolExecutor(1) as watcher, saving(folder):
        for name in ("a.bin", "b.bin"):
            watcher.submit(hand.show, Detection(path=write(folder / name, name), type=ArtifactType.CUSTOM)).result()
        hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT))
    hand.show(Detection(path=folder / "a.bin", type=ArtifactType.CUSTOM))
    assert exp.flush(20.0) == 0
    hand.show(Detection(path=folder / "b.bin", type=ArtifactType.CUSTOM))
    hand.show(Detection(path=write(folder / "new.bin", "new"), type=ArtifactType.CUSTOM))
    exp.stop()
    assert {one.name for one in exp.list_artifacts()} == {"step1-checkpoint", "new-custom"}
    assert counts(exp) == {"captured": 2, "unchanged": 4}


def test_a_folder_that_a_watcher_finds_complete_in_the_middle_of_a_save_is_captured_as_it_was_saved(
    run: Run, hand: ModuleType, home: Path
) -> None:
    """Whoever saves it may be busy for a while between two of its files."""
    exp = run()
    folder = home / "packaged"
    with ThreadPoolExecutor(1) as watcher, saving(folder):
        early = write(folder / "model.bin", "weights")
        stamps = {early: stamp(early.stat())}
        watcher.submit(hand.show, Detection(path=folder, type=ArtifactType.MODEL, stamps=stamps)).result()
        late = write(folder / "requirements.txt", "numpy")
        os.utime(late, ns=(time.time_ns() + 1, time.time_ns() + 1))
        hand.show(Detection(path=folder, type=ArtifactType.MODEL))
    exp.stop()
    (version,) = exp.list_artifacts()
    assert [file.artifact_path for file in version.files] == ["model.bin", "requirements.txt"]
    assert counts(exp) == {"captured": 1, "outdated": 1}


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What is captured waits in the queue until this is set, or half a minute."""
    go_on, honest = threading.Event(), processor.content_of

    def wait(path: Path) -> Any:
        go_on.wait(30.0)
        return honest(path)

    monkeypatch.setattr(processor, "content_of", wait)
    yield go_on
    go_on.set()


def test_a_folder_that_is_saved_again_or_deleted_while_it_waits_loses_no_version(
    run: Run, hand: ModuleType, home: Path, held_up: threading.Event
) -> None:
    exp = run()
    folder = home / "best"
    for number in range(4):
        with saving(folder):
            write(folder / "a.bin", str(number))
            hand.show(Detection(path=folder, type=ArtifactType.MODEL))
    for number in range(2):
        with saving(folder / "head.bin"):
            write(folder / "head.bin", f"head {number}")
            hand.show(Detection(path=folder / "head.bin", type=ArtifactType.WEIGHTS))
    shutil.rmtree(folder)
    held_up.set()
    exp.stop()
    assert contents(exp, "best-model") == [b"0", b"1", b"2", b"3"]
    assert contents(exp, "head-weights") == [b"head 0", b"head 1"]
    assert counts(exp) == {"captured": 6}


def test_a_watched_file_of_a_folder_that_waits_is_copied_again_only_if_it_is_another_one(
    run: Run, hand: ModuleType, home: Path, held_up: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    folder = home / "best"
    same, other = write(folder / "same.bin", "same"), write(folder / "other.bin", "other")
    hand.show(Detection(path=folder, type=ArtifactType.MODEL))
    write(other, "another one")
    for path in (same, other):
        hand.show(Detection(path=path, type=ArtifactType.WEIGHTS, stamp=stamp(path.stat())))
    shutil.rmtree(folder)
    held_up.set()
    exp.stop()
    assert contents(exp, "other-weights") == [b"another one"]
    assert counts(exp) == {"captured": 2, "unchanged": 1}
    assert "not everything" not in caplog.text


def test_a_file_that_a_save_deletes_is_no_loss_if_the_save_is_captured_and_told_otherwise(
    run: Run, hand: ModuleType, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp = run()
    with ThreadPoolExecutor(1) as watcher:
        for name in ("told", "silent"):
            with saving(home / name):
                path = write(home / name / "part.bin")
                watcher.submit(hand.show, Detection(path=path, type=ArtifactType.WEIGHTS)).result()
                write(home / name / "whole.bin")
                path.unlink()
                if name == "told":
                    hand.show(Detection(path=home / name, type=ArtifactType.MODEL))
    exp.stop()
    assert counts(exp) == {"captured": 1, "unchanged": 1, "vanished": 1}
    assert "not everything was captured: 1 vanished" in caplog.text


def test_a_group_in_a_folder_that_was_captured_is_captured_again_only_if_one_file_is_another(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    head, part = write(home / "whole" / "m.index.json"), write(home / "whole" / "m-1.bin")
    group = Detection(path=head, beside=(part,), type=ArtifactType.WEIGHTS, name="group")
    hand.show(Detection(path=head.parent, type=ArtifactType.WEIGHTS, name="whole"))
    hand.show(group)
    assert exp.flush(20.0) == 0
    assert counts(exp) == {"captured": 1, "unchanged": 1}
    write(part, "another")
    hand.show(group)
    exp.stop()
    assert {one.name for one in exp.list_artifacts()} == {"whole", "group"}


def test_a_watched_folder_around_one_that_was_captured_is_not_one_thing(run: Run, hand: ModuleType, home: Path) -> None:
    """A training ends: its checkpoints were captured by who saved them, and beside them a model and its state are saved."""
    exp = run(watch_filesystem=True, artifact_watch_dirs=["out"])
    out, part = home / "out" / "run", home / "out" / "run" / "checkpoint-3"
    with saving(part):
        for name in ("model.safetensors", "trainer_state.json"):
            write(part / name, f"checkpoint {name}")
        hand.show(Detection(path=part, type=ArtifactType.CHECKPOINT, name="net"))
    for name in ("config.json", "model.safetensors", "trainer_state.json"):
        write(out / name, f"final {name}")
    exp.stop()
    found = {one.name: sorted(file.artifact_path for file in one.files) for one in exp.list_artifacts()}
    assert found.pop("net") == ["model.safetensors", "trainer_state.json"]
    assert sorted(found.values()) == [["run/config.json"], ["run/model.safetensors"], ["run/trainer_state.json"]]


def test_what_comes_later_into_a_folder_that_was_captured_makes_a_version_that_is_described_like_it(
    run: Run, hand: ModuleType, home: Path
) -> None:
    """Another process writes its part late, and an evaluation its results, after a watched checkpoint was captured."""
    exp = run(watch_filesystem=True, artifact_watch_dirs=["out"])
    late = {1: "metrics.json", 2: "rng_state_1.pth"}
    folders = {step: home / "out" / "run" / f"checkpoint-{step}" for step in late}
    for step, folder in folders.items():
        write(folder / "trainer_state.json", f"{step}")
        said = {"metadata": {"global_step": step}, "aliases": ("last",), "description": f"step {step}"}
        hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT, name="net", **said))
    assert exp.flush(20.0) == 0
    for step, folder in folders.items():
        write(folder / late[step], "late")
    exp.stop()
    found = sorted(exp.list_artifacts(), key=lambda one: one.version)
    assert {one.name for one in found} == {"net"}
    assert [(one.metadata["global_step"], one.description, len(one.files), sorted(one.aliases)) for one in found] == [
        (1, "step 1", 1, []),
        (2, "step 2", 1, []),
        (1, "step 1", 2, []),
        (2, "step 2", 2, ["last"]),
    ]


def test_what_is_written_over_a_captured_folder_or_file_is_a_version_that_is_not_described_like_the_one_before(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run(watch_filesystem=True, artifact_watch_dirs=["out"])
    folder, file = home / "out" / "run" / "best", home / "out" / "run" / "w.bin"
    for path, inside in ((folder, folder / "trainer_state.json"), (file, file)):
        write(inside, "first")
        said = {"name": f"net-{path.stem}", "metadata": {"epoch": 1}, "aliases": ("best",)}
        hand.show(Detection(path=path, type=ArtifactType.CUSTOM, artifact_path=path.name, **said))
    assert exp.flush(20.0) == 0
    for path in (folder / "trainer_state.json", file):
        write(path, "second")
    exp.stop()
    found = {(one.name, one.version): one for one in exp.list_artifacts()}
    assert set(found) == {(name, version) for name in ("net-best", "net-w") for version in ("v0", "v1")}
    for (_, version), one in found.items():
        assert ("epoch" in one.metadata, one.aliases == ("best",)) == (version == "v0", version == "v0")
    assert [file.artifact_path for file in found["net-w", "v1"].files] == ["w.bin"]


def test_a_file_that_gets_its_name_when_it_is_complete_is_one_thing(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    final = home / "last.pth"
    for epoch in (1, 2):
        part = write(home / "last.pth.tmp", str(epoch))
        hand.show(
            Detection(
                path=part,
                type=ArtifactType.CHECKPOINT,
                artifact_path="last.pth",
                place=final,
                metadata={"epoch": epoch},
            )
        )
        part.replace(final)
        hand.show(Detection(path=final, metadata={"directory": "."}))
    exp.stop()
    found = sorted((one.name, one.version, one.metadata["epoch"]) for one in exp.list_artifacts())
    assert found == [("last-checkpoint", "v0", 1), ("last-checkpoint", "v1", 2)]


def by_name(exp: Experiment) -> list[tuple[str, str, list[str], object]]:
    """Name, version, paths and the number of the save of all that was captured."""
    found = exp.list_artifacts()
    return sorted(
        (one.name, one.version, [file.artifact_path for file in one.files], one.metadata.get("n")) for one in found
    )


TEMPORARY_NAMES = [
    "tmp{}abcdefg",
    "last.tmp",
    ".last.ckpt.XyZab{}",
    "last.ckpt.tmp.100{}",
    "last.tmp.ckpt",
    "best-t9{}pc5nc.ckpt",
    "last.ckpt.k3j{}x2qa",
    "new_last.ckpt",
]


@pytest.mark.parametrize("watched", [False, True], ids=["alone", "beside a watcher"])
@pytest.mark.parametrize("name", TEMPORARY_NAMES)
def test_saves_under_temporary_names_are_versions_of_the_name_that_they_get(
    run: Run, hand: ModuleType, home: Path, watched: bool, name: str
) -> None:
    exp = run()
    final = home / "last.ckpt"
    for number in range(3):
        part = write(home / name.format(number), f"state {number}")
        if watched and not ignored(part.name):
            hand.show(Detection(path=part))
        hand.show(Detection(path=part, type=ArtifactType.CHECKPOINT, metadata={"n": number}))
        part.replace(final)
        if watched:
            hand.show(Detection(path=final))
    exp.stop()
    assert by_name(exp) == [("last-checkpoint", f"v{number}", ["last.ckpt"], number) for number in range(3)]


def test_a_save_under_a_temporary_name_is_called_as_its_folder_says_where_it_was_linked(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    part = write(home / "tmpab1defgh", "state")
    hand.show(Detection(path=part, type=ArtifactType.CHECKPOINT))
    os.link(part, home / "linked.ckpt")
    part.unlink()
    exp.stop()
    assert by_name(exp) == [("linked-checkpoint", "v0", ["linked.ckpt"], None)]


@pytest.mark.parametrize("suffix", [".pt", ".pt.gz"])
def test_saves_that_keep_their_temporary_names_are_versions_of_their_type(
    run: Run, hand: ModuleType, home: Path, suffix: str
) -> None:
    exp = run()
    for number in range(2):
        part = write(home / f"tmp{number}abcdefg{suffix}", f"state {number}")
        hand.show(Detection(path=part, type=ArtifactType.WEIGHTS, metadata={"n": number}))
        part.unlink()
    held = {os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")}
    assert any("abcdefg.pt" in one for one in held)
    exp.stop()
    assert by_name(exp) == [("weights", f"v{number}", [f"weights{suffix}"], number) for number in range(2)]
    held = {os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")}
    assert not any("abcdefg.pt" in one for one in held)


def test_a_save_that_was_moved_to_another_disk_is_not_captured_again_under_its_type(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    part = write(home / "tmpab1defgh.pt", "state")
    hand.show(Detection(path=part, type=ArtifactType.WEIGHTS))
    hand.show(Detection(path=write(home / "model.pt", "state"), type=ArtifactType.WEIGHTS))
    part.unlink()
    assert exp.flush(60.0) == 0
    exp.stop()
    assert [name for name, *_ in by_name(exp)] == ["model-weights"]


def test_a_folder_that_is_renamed_when_it_is_complete_has_its_last_name(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    for number, name in enumerate(["tmpab1defgh", "model.tmp"]):
        part = home / name
        write(part / "a.bin", f"state {number}")
        hand.show(Detection(path=part, type=ArtifactType.MODEL, metadata={"n": number}))
        if (home / "model").exists():
            shutil.rmtree(home / "model")
        part.rename(home / "model")
    exp.stop()
    assert by_name(exp) == [("model", "v0", ["a.bin"], 0), ("model", "v1", ["a.bin"], 1)]


def test_a_name_of_the_users_own_that_looks_temporary_is_kept_unless_it_is_renamed(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    for name in ("tmp_epoch_5.pt", "tmp_epoch_6.pt", "tmp_model.pt"):
        hand.show(Detection(path=write(home / name, name), type=ArtifactType.WEIGHTS))
    (home / "tmp_model.pt").rename(home / "model.pt")
    exp.stop()
    assert [name for name, *_ in by_name(exp)] == ["model-weights", "tmp_epoch_5-weights", "tmp_epoch_6-weights"]


@pytest.mark.parametrize(
    "mark",
    ["_{}", "~{}", "{}_", "{}.writing", "{}.saving", "{}.wip", "{}.{n}", "{}.bak", "old-{}", "{}.staged", "saving_{}"],
)
def test_a_usual_name_of_a_moment_is_followed_and_is_the_users_own_where_nothing_is_renamed(
    run: Run, hand: ModuleType, home: Path, mark: str
) -> None:
    exp = run()
    for number in range(2):
        part = write(home / mark.format("a.bin", n=number), f"state {number}")
        hand.show(Detection(path=part, type=ArtifactType.WEIGHTS, metadata={"n": number}))
        part.replace(home / "a.bin")
    own = write(home / mark.format("b.bin", n=1), "own")
    hand.show(Detection(path=own, type=ArtifactType.WEIGHTS, name=None, metadata={"n": 2}))
    exp.stop()
    found = by_name(exp)
    assert [one for one in found if one[0] == "a-weights"] == [
        ("a-weights", f"v{number}", ["a.bin"], number) for number in range(2)
    ]
    assert [one[2:] for one in found if one[0] != "a-weights"] == [([own.name], 2)]


def test_of_any_number_of_random_names_only_so_many_wait_to_be_renamed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renames, "_MOST", 1)
    names = ["a-t91pc5nc.bin", "b-t91pc5nc.bin", "tmpx7k2qa9b.bin"]
    found = [renames.follow(Detection(path=write(home / name, name))) for name in names]
    assert [one is not None for one in found] == [True, False, True]
    for one in found:
        if one is not None:
            one.close()


def test_what_a_watcher_alone_sees_renamed_is_one_thing_in_its_folder(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    for number in range(2):
        part = write(home / "out" / "run" / f"best-t9{number}pc5nc.bin", f"state {number}")
        hand.show(Detection(path=part, type=ArtifactType.CUSTOM, artifact_path=f"run/{part.name}"))
        final = part.replace(part.with_name("best.bin"))
        hand.show(Detection(path=final, type=ArtifactType.CUSTOM, artifact_path="run/best.bin"))
    kept = write(home / "out" / "run" / "kept-t91pc5nc.bin", "kept")
    hand.show(Detection(path=kept, type=ArtifactType.CUSTOM, artifact_path=f"run/{kept.name}"))
    exp.stop()
    assert by_name(exp) == [
        ("run.best-custom", "v0", ["run/best.bin"], None),
        ("run.best-custom", "v1", ["run/best.bin"], None),
        ("run.kept-t91pc5nc-custom", "v0", ["run/kept-t91pc5nc.bin"], None),
    ]


def test_what_a_save_is_called_in_the_end_counts_and_not_what_its_temporary_name_says(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    for number in range(2):
        part = write(home / "ckpt.tmp", f"state {number}")
        hand.show(Detection(path=part, type=ArtifactType.WEIGHTS))
        part.rename(home / f"epoch_{number}.pt")
        folder = home / f"step_{number}.tmp"
        write(folder / "a.bin", f"shard {number}")
        hand.show(Detection(path=folder, type=ArtifactType.CHECKPOINT))
        folder.rename(folder.with_suffix(""))
    hand.show(Detection(path=write(home / "kept.pt.tmp", "kept"), type=ArtifactType.WEIGHTS))
    write(home / "step_2.tmp" / "a.bin", "shard 2")
    hand.show(Detection(path=home / "step_2.tmp", type=ArtifactType.CHECKPOINT))
    exp.stop()
    assert by_name(exp) == [
        ("epoch_0-weights", "v0", ["epoch_0.pt"], None),
        ("epoch_1-weights", "v0", ["epoch_1.pt"], None),
        ("kept-weights", "v0", ["kept.pt"], None),
        *(("step-checkpoint", f"v{number}", ["a.bin"], None) for number in range(3)),
    ]
    steps = [one.metadata for one in exp.list_artifacts() if one.name == "step-checkpoint"]
    assert sorted(one["global_step"] for one in steps) == [0, 1, 2]


def test_a_save_that_was_moved_to_another_disk_is_not_captured_again_by_the_guess_at_its_name(
    run: Run, hand: ModuleType, home: Path
) -> None:
    exp = run()
    part = write(home / "ckpt.tmp", "state")
    hand.show(Detection(path=part, type=ArtifactType.WEIGHTS))
    hand.show(Detection(path=write(home / "best.pt", "state"), type=ArtifactType.WEIGHTS))
    part.unlink()
    exp.stop()
    assert [name for name, *_ in by_name(exp)] == ["best-weights"]


def test_a_file_that_was_named_and_moved_is_the_same_thing_under_its_name(
    run: Run,
    hand: ModuleType,
    home: Path,
) -> None:
    exp = run()
    path = write(home / "x.bin", "x")
    hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT, name="mine", metadata={"epoch": 1}))
    moved = path.rename(home / "y.bin")
    hand.show(Detection(path=moved))
    hand.show(Detection(path=moved, aliases=("last",)))
    exp.stop()
    (one,) = exp.list_artifacts()
    assert (one.name, one.aliases, one.metadata) == ("mine", ("last",), {"epoch": 1})


def test_a_file_that_was_called_by_its_path_and_moved_has_its_new_name_and_what_was_known(
    run: Run,
    hand: ModuleType,
    home: Path,
) -> None:
    exp = run()
    path = write(home / "scratch-1.bin", "x")
    hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT, metadata={"epoch": 1}))
    hand.show(Detection(path=path.rename(home / "best.bin"), metadata={"directory": "."}))
    exp.stop()
    one = exp.get_artifact("best-checkpoint")
    assert one.metadata == {"epoch": 1, "directory": "."}


def test_a_file_that_moved_and_is_given_another_name_is_captured_by_it(run: Run, hand: ModuleType, home: Path) -> None:
    exp = run()
    path = write(home / "x.bin", "x")
    hand.show(Detection(path=path, type=ArtifactType.CHECKPOINT, metadata={"epoch": 1}))
    hand.show(Detection(path=path.rename(home / "y.bin"), name="mine"))
    exp.stop()
    one = exp.get_artifact("mine")
    assert (one.type, one.metadata) == (ArtifactType.CHECKPOINT, {"epoch": 1})


# -- who saves


def test_a_thread_that_saves_for_somebody_else_waits_for_them(home: Path) -> None:
    path = home / "last.ckpt"
    with ThreadPoolExecutor(1) as executor, saving(path):

        def save() -> tuple[bool, bool]:
            with saving(path) as outermost:
                return outermost, saves.being_saved(path)

        assert executor.submit(save).result() == (True, True)
        assert not saves.being_saved(path)
        with saving(home / "other"):
            assert not saves.being_saved(path)


def test_who_saves_first_does_not_wait_for_who_comes_after(home: Path) -> None:
    path = home / "last.ckpt"
    with ThreadPoolExecutor(1) as executor:
        begun, over = threading.Event(), threading.Event()

        def save() -> None:
            with saving(path):
                begun.set()
                over.wait()

        with saving(path):
            later = executor.submit(save)
            begun.wait()
            assert not saves.being_saved(path)
        assert saves.being_saved(path)
        with saving(home / "elsewhere"):
            assert saves.being_saved(path)
        over.set()
        later.result()
    assert not saves.being_saved(path)


CHILD = """
import sys, time
from pathlib import Path
from tracelet.plugin import announce_save, saving, share
share(Path(sys.argv[1]), int(sys.argv[2]))
with saving("x.bin"):
    print("saving", flush=True)
    sys.stdin.readline()
    left = announce_save(Path(sys.argv[1]), ["y.bin"])
print(left, flush=True)
sys.stdin.readline()
with saving("z.bin"):
    print("again", flush=True)
    sys.stdin.readline()
    import os
    os._exit(0)
"""


def test_what_a_child_saves_is_known_to_the_process_that_captures(home: Path) -> None:
    shared = home / "shared"
    share(shared, os.getpid())
    assert not saves.being_saved("x.bin")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(shared), str(os.getpid())],
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def step() -> str:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        assert child.stdout.readline().strip() == "saving"
        assert saves.being_saved(home / "x.bin")
        left = Path(step())
        assert not saves.being_saved(home / "x.bin")
        assert saves.being_saved(home / "y.bin")
        assert step() == "again"
        assert saves.being_saved(home / "z.bin")
        step()
    # A process that is gone saves nothing any more; what it left is there until it is taken.
    assert not saves.being_saved(home / "z.bin")
    assert saves.being_saved(home / "y.bin")
    left.unlink()
    assert not saves.being_saved(home / "y.bin")
    announce_save(shared, ["y.bin"])
    unshare(shared)
    assert not saves.being_saved(home / "y.bin")


def test_a_child_writes_its_claims_down_while_it_saves(home: Path) -> None:
    shared = home / "shared"
    share(shared, os.getppid())
    try:
        with saving(home / "x.bin"):
            (noted,) = shared.glob("*.save")
            assert json.loads(noted.read_text())["paths"] == [str(home / "x.bin")]
        assert list(shared.iterdir()) == []
        shared.rmdir()
        write(shared, "no folder")
        with saving(home / "x.bin") as outermost:
            assert outermost
    finally:
        unshare(shared)


# -- forks, and the end


@pytest.mark.parametrize(
    "ends",
    [
        "sys.exit(0)",
        "exp.stop(); os._exit(0)",
        "exp.list_artifacts(); exp.stop(); os._exit(0)",
        "exp.__exit__(None, None, None); os._exit(0)",
    ],
)
def test_a_forked_child_that_ends_leaves_its_parents_captures_and_run(home: Path, ends: str) -> None:
    plugins = Path(__file__).parent / "plugins"
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(plugins)!r})
from tracelet import ArtifactType, Experiment
from tracelet.builtin.filesystem.places import ignored
from tracelet.core.capture.processor import CaptureProcessor
from tracelet.plugin import Detection
import threading
held = threading.Event()
honest = CaptureProcessor.process
CaptureProcessor.process = lambda self, item: (held.wait(), honest(self, item))
exp = Experiment("forks", artifacts=True, automagic_artifacts=True).start()
capture = exp._artifact_manager._captures.own
Path("before.bin").write_text("before")
capture.emit(Detection(path=Path("before.bin").absolute(), type=ArtifactType.CUSTOM))
child = os.fork()
if child == 0:
    assert exp.flush(1.0) >= 0
    {ends}
assert os.waitpid(child, 0)[1] == 0
assert len(list(Path(".tracelet/captured").rglob("*.jsonl"))) == 1
Path("after.bin").write_text("after")
capture.emit(Detection(path=Path("after.bin").absolute(), type=ArtifactType.CUSTOM))
held.set()
exp.stop()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert {one.name for one in Experiment("forks", artifacts=True).list_artifacts()} == {
        "before-custom",
        "after-custom",
    }


def test_stop_ends_in_its_time_though_submitting_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    over = threading.Event()

    def submit(*arguments: Any) -> Future[LogResults]:
        over.wait(30)
        return Future()

    one = made(tmp_path / ".tracelet", submit)
    for name in ("x", "y"):
        one.emit(Detection(path=write(tmp_path / name, name), type=ArtifactType.CUSTOM))
    began = time.monotonic()
    one.stop(began + 0.2, began + 1.0)
    assert time.monotonic() - began < 5.0 * pace()
    assert "2 captures were not submitted in time" in caplog.text
    (noted,) = (tmp_path / ".tracelet" / "captured").rglob("*.jsonl")
    assert noted.read_text().count('"number"') == 2
    over.set()


def test_the_worker_ends_with_the_time_for_submitting(tmp_path: Path) -> None:
    over = threading.Event()
    submitted: list[str] = []

    def submit(artifact: TraceletArtifact, labels: Labels, put_id: str) -> Future[LogResults]:
        over.wait(30)
        submitted.append(artifact.name)
        return Future()

    one = made(tmp_path / ".tracelet", submit)
    for name in ("x", "y"):
        one.emit(Detection(path=write(tmp_path / name, name), type=ArtifactType.CUSTOM))
    one.stop(time.monotonic(), time.monotonic())
    over.set()
    one._thread.join(10)
    assert submitted == ["x-custom"]
    assert one.waiting == 1


def test_a_shard_that_a_second_detector_could_only_look_at_after_its_set_is_not_captured_again(tmp_path: Path) -> None:
    submitted: list[str] = []
    over = threading.Event()

    def submit(artifact: TraceletArtifact, labels: Labels, put_id: str) -> Future[LogResults]:
        submitted.append(artifact.name)
        over.set()
        done: Future[LogResults] = Future()
        done.set_result(LogResults())
        return done

    one = made(tmp_path / ".tracelet", submit)
    shards = [write(tmp_path / f"net-{number:05}-of-00002.bin", f"{number}") for number in (1, 2)]
    with ThreadPoolExecutor(1) as watcher, ThreadPoolExecutor(1) as ending:
        with saving(*shards):
            for shard in shards:
                watcher.submit(one.emit, Detection(path=shard, type=ArtifactType.WEIGHTS)).result()
                one.emit(Detection(path=shard, type=ArtifactType.WEIGHTS))
            stopped = ending.submit(one.stop, time.monotonic() + 30)
            assert over.wait(30)
        stopped.result()
    assert submitted == ["net-weights"]
    assert one.stats()["unchanged"] == 2
