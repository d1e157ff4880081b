"""Watched directories: what is completed in them is emitted, complete, wherever it came from."""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from making import settle, write
from pacing import pace

from tracelet.builtin.filesystem import FilesystemSettings, observing, tracelet_detectors
from tracelet.builtin.filesystem.places import IGNORED, ignored
from tracelet.exceptions import ConfigError
from tracelet.plugin import ArtifactType, Detection, Detector, DetectorContext, WatchedDirectory
from tracelet.testing import DetectorContract

pytestmark = pytest.mark.capture

QUICK = {"interval": 0.05, "checks": 3, "max_wait": 1.0}
PATIENCE = 60.0


class TestContract(DetectorContract):
    @pytest.fixture
    def detector(self) -> str:
        return "filesystem"

    @pytest.fixture
    def watched(self, tmp_path: Path) -> tuple[WatchedDirectory, ...]:
        return (WatchedDirectory(str(tmp_path / "out")),)

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        return {"TRACELET_FILESYSTEM_INTERVAL": "0.05"}

    @pytest.fixture
    def provoke(self, tmp_path: Path) -> Callable[[], Path]:
        def one() -> Path:
            folder = tmp_path / "out" / "run"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"file-{len(list(folder.iterdir()))}.txt"
            path.write_bytes(b"content")
            return path

        return one


class Watch:
    """A detector at work, and what it emitted: each time the content of the file as it was then."""

    def __init__(self, folder: Path, *watched: WatchedDirectory | str, **settings: Any) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.detections: list[Detection] = []
        self.contents: list[bytes] = []
        given = tuple(one if isinstance(one, WatchedDirectory) else WatchedDirectory(one) for one in watched)
        context = DetectorContext(
            experiment="watched",
            directory=folder / ".tracelet",
            workspace=folder / ".tracelet" / "made",
            watched=given or (WatchedDirectory(str(self.out)),),
        )
        (spec,) = tracelet_detectors()
        self.detector: Detector = spec.create(FilesystemSettings(**{**QUICK, **settings}), context)

    def emit(self, detection: Detection) -> None:
        assert detection.path is not None
        self.contents.append(detection.path.read_bytes())
        self.detections.append(detection)

    def start(self) -> Watch:
        self.detector.start(self.emit)
        return self

    def stop(self) -> Watch:
        self.detector.stop()
        return self

    @property
    def told(self) -> list[tuple[str, bytes]]:
        """Path and content of what was emitted so far, in order."""
        paths = [str(one.path.relative_to(self.folder)) for one in self.detections if one.path is not None]
        return list(zip(paths, self.contents, strict=False))

    def wait(self, count: int = 1) -> Watch:
        until(lambda: len(self.detections) >= count, lambda: self.told)
        return self


def until(done: Callable[[], bool], say: Callable[[], object] = lambda: "", patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not done():
        assert time.monotonic() < end, f"it did not come about: {say()}"
        time.sleep(0.005)


def never(happens: Callable[[], bool], seconds: float = 0.15) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not happens()
        time.sleep(0.01)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    (tmp_path / "out").mkdir()
    made: list[Watch] = []

    def make(*watched: WatchedDirectory | str, **settings: Any) -> Watch:
        made.append(Watch(tmp_path, *watched, **settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()


Make = Callable[..., Watch]


@contextlib.contextmanager
def elsewhere(program: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program in another process, which goes on line by line as it is told to."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, args)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    """Let the other process take its next step, and wait for its end."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


WRITER = """
    import os, sys
    def step():
        print("done", flush=True)
        assert input() == "go"
    assert input() == "go"
"""


def test_a_file_is_told_with_its_place_in_the_directory(watch: Make) -> None:
    seen = watch().start()
    (seen.out / "run1" / "a").mkdir(parents=True)
    path = seen.out / "run1" / "a" / "model.bin"
    path.write_bytes(b"weights")
    (told,) = seen.wait().stop().detections
    assert told.stamp is not None
    assert told.stamp.matches(path.stat())
    assert attrs.evolve(told, stamp=None) == Detection(
        path=path, artifact_path="run1/a/model.bin", metadata={"directory": str(seen.out)}
    )


def test_every_version_of_a_file_is_told(watch: Make) -> None:
    seen = watch().start()
    for number in range(5):
        (seen.out / "last.bin").write_bytes(b"%d" % number)
        seen.wait(number + 1)
    assert seen.stop().told == [("out/last.bin", b"%d" % number) for number in range(5)]


def test_a_file_that_another_process_writes_slowly_is_told_when_it_is_closed(watch: Make) -> None:
    seen = watch().start()
    program = (
        WRITER
        + """
    file = open(sys.argv[1], "wb", buffering=0)
    file.write(b"first ")
    step()
    file.write(b"second")
    step()
    file.close()
    step()
    """
    )
    with elsewhere(program, seen.out / "slow.bin") as writer:
        go(writer)
        never(lambda: bool(seen.detections))
        go(writer)
        never(lambda: bool(seen.detections))
        go(writer)
        seen.wait()
    # A look may come between the end and the news of it: it is told again then, and dropped because it is the same.
    assert set(seen.stop().told) == {("out/slow.bin", b"first second")}


def test_a_file_that_one_writer_closes_waits_for_the_other(watch: Make) -> None:
    """As one that was closed and is being overwritten by now."""
    seen = watch().start()
    with (seen.out / "shared.bin").open("wb", buffering=0) as file:
        file.write(b"first ")
        for _ in range(3):
            (seen.out / "shared.bin").open("ab").close()
            never(lambda: bool(seen.detections), 0.1)
        file.write(b"second")
    assert seen.wait().stop().told == [("out/shared.bin", b"first second")]


def test_an_empty_file_may_be_one_that_is_just_opened_anew_and_must_stay_empty(watch: Make) -> None:
    """While the system empties it, the process that does that is not to be seen yet."""
    seen = watch(interval=0.3).start()
    (seen.out / "empty").touch()
    closed = time.monotonic()
    seen.wait()
    assert time.monotonic() - closed > 0.25
    assert seen.told == [("out/empty", b"")]


def test_a_file_is_complete_when_it_is_renamed_into_its_place(watch: Make, tmp_path: Path) -> None:
    seen = watch().start()
    for number, source in enumerate((seen.out / "a.tmp", tmp_path / "outside", seen.out / ".hidden"), 1):
        source.write_bytes(b"%d" % number)
        source.rename(seen.out / f"{number}.bin")
        seen.wait(number)
    (seen.out / "old").write_bytes(b"once")
    seen.wait(4)
    (seen.out / "old").replace(seen.out / "1.bin")
    seen.wait(5)
    assert seen.stop().told == [
        ("out/1.bin", b"1"),
        ("out/2.bin", b"2"),
        ("out/3.bin", b"3"),
        ("out/old", b"once"),
        ("out/1.bin", b"once"),
    ]


def test_whole_folders_may_be_moved_into_place(watch: Make, tmp_path: Path) -> None:
    seen = watch().start()
    for source in (tmp_path / "outside", seen.out / "step.tmp"):
        (source / "inner").mkdir(parents=True)
        (source / "inner" / "a.bin").write_bytes(b"a")
        (source / "b.bin").write_bytes(b"b")
    (tmp_path / "outside").rename(seen.out / "from outside")
    (seen.out / "step.tmp").rename(seen.out / "step")
    seen.wait(4)
    assert sorted(seen.stop().told) == [
        ("out/from outside/b.bin", b"b"),
        ("out/from outside/inner/a.bin", b"a"),
        ("out/step/b.bin", b"b"),
        ("out/step/inner/a.bin", b"a"),
    ]


def test_a_hard_link_is_told_at_once_if_nobody_writes_the_file(watch: Make, tmp_path: Path) -> None:
    seen = watch(interval=60.0, max_wait=600.0).start()
    (tmp_path / "source").write_bytes(b"complete")
    os.link(tmp_path / "source", seen.out / "linked.bin")
    assert seen.wait().stop().told == [("out/linked.bin", b"complete")]


def test_a_file_that_is_linked_while_it_is_written_waits_for_its_writer_however_long_that_pauses(
    watch: Make, tmp_path: Path
) -> None:
    """Of the end of a file that was opened elsewhere the system tells nothing here."""
    seen = watch(interval=0.02, max_wait=0.05).start()
    program = (
        WRITER
        + """
    file = open(sys.argv[1], "wb", buffering=0)
    file.write(b"first ")
    os.link(sys.argv[1], sys.argv[2])
    step()
    file.write(b"second")
    file.close()
    step()
    """
    )
    with elsewhere(program, tmp_path / "source", seen.out / "linked.bin") as writer:
        go(writer)
        never(lambda: bool(seen.detections), 0.2)
        go(writer)
        seen.wait()
    assert seen.stop().told == [("out/linked.bin", b"first second")]


def test_a_linked_file_whose_writer_ends_just_before_the_stop_is_told(watch: Make, tmp_path: Path) -> None:
    seen = watch(interval=60.0, max_wait=60.0).start()
    with (tmp_path / "source").open("wb", buffering=0) as file:
        file.write(b"first ")
        os.link(tmp_path / "source", seen.out / "linked.bin")
        never(lambda: bool(seen.detections))
        file.write(b"second")
    assert seen.stop().told == [("out/linked.bin", b"first second")]


def test_files_in_new_folders_are_told_however_fast_they_are_made(watch: Make) -> None:
    seen = watch().start()
    expected = set()
    for number in range(100):
        folder = seen.out / f"{number}" / "a" / "b"
        folder.mkdir(parents=True)
        (folder / "file.bin").write_bytes(b"%d" % number)
        expected.add((f"out/{number}/a/b/file.bin", b"%d" % number))
    until(lambda: set(seen.told) == expected, lambda: expected - set(seen.told))


def test_directories_may_appear_later_go_and_come_again(watch: Make, tmp_path: Path) -> None:
    later = tmp_path / "later" / "still"
    seen = watch(str(later)).start()
    later.mkdir(parents=True)
    (later / "a.bin").write_bytes(b"1")
    seen.wait()
    (later / "a.bin").unlink()
    later.rmdir()
    later.mkdir()
    (later / "a.bin").write_bytes(b"2")
    seen.wait(2)
    later.rename(tmp_path / "later" / "aside")
    time.sleep(0.2)
    (tmp_path / "later" / "aside" / "b.bin").write_bytes(b"not here")
    later.mkdir()
    (later / "c.bin").write_bytes(b"3")
    seen.wait(3)
    assert seen.stop().told == [
        ("later/still/a.bin", b"1"),
        ("later/still/a.bin", b"2"),
        ("later/still/c.bin", b"3"),
    ]


def test_a_directory_that_never_appears_is_no_trouble(watch: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    watch("never").start().stop()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", f"{Path.cwd() / 'never'} is not there yet: it is watched when it is.")
    ]


def test_a_path_is_relative_to_where_the_detector_was_made(
    watch: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = watch("./out")
    monkeypatch.chdir("/")
    seen.start()
    (seen.out / "a.bin").write_bytes(b"a")
    (told,) = seen.wait().detections
    assert (told.path, told.metadata) == (seen.out / "a.bin", {"directory": "./out"})


def test_a_directory_may_be_a_link(watch: Make, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to("scratch")
    seen = watch(str(tmp_path / "link")).start()
    (tmp_path / "link" / "a.bin").write_bytes(b"a")
    assert seen.wait().told == [("link/a.bin", b"a")]


NO_ARTIFACTS = [
    ".hidden", ".git/config", "a.tmp", "A.TMP", "a.bin.part", "a.partial", "a.bin~", "~$report.docx", "#a#", "a.lock", ".a.swp",
    "tmpx1_yz3ab", "a.pt.tmp.1234", "a.tmp-x7k2qa9b", "tmpab1defgh.pt", "tmp.aB3dE5fG7h", "a.inprogress", "a.crdownload", "a.incomplete", "step.tmp/a.bin", "__pycache__/a.cpython-311.pyc",
    "1.orbax-checkpoint-tmp-17/a", "models--me--net/blobs/0a1b",
]  # fmt: skip


def test_temporary_hidden_and_partial_names_are_passed_over(watch: Make) -> None:
    seen = watch().start()
    for name in NO_ARTIFACTS:
        (seen.out / name).parent.mkdir(parents=True, exist_ok=True)
        (seen.out / name).write_bytes(b"not this")
    (seen.out / "part.bin").write_bytes(b"this")
    seen.wait()
    assert seen.stop().told == [("out/part.bin", b"this")]


def test_the_page_lists_what_is_passed_over() -> None:
    """Each name between backquotes in its paragraph, with something in the place of each star."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "capture.md").read_text()
    paragraph = page.partition("**What is passed over:**")[2].partition("; the tracelet")[0]
    shown = [name for name in re.findall(r"`([^`]+)`", paragraph) if name not in ("tempfile", "tmp", "mktemp")]
    assert [name for name in shown if ignored(name.replace("*", "x")) is None] == []
    unseen = [why for pattern, why in IGNORED if not any(re.fullmatch(pattern, one.replace("*", "x")) for one in shown)]
    assert unseen == ["it is named as Python's tempfile names files"]


@pytest.mark.parametrize(
    "name",
    [
        "model.pt",
        "tmp_model.pt",
        "tmp_metrics.json",
        "temp.bin",
        "a.b.c",
        "part",
        "tmp",
        "tmp.checkpoint",
        "tmp.Checkpoint",
        "tmp_epoch_5.npy",
        "a.tmp.safetensors",
        "a.tmp.pt",
        "models--v2",
        "train.part.1",
        "best-t91pc5nc.pt",
        "tmp_run_042.csv",
        "tmp_cfg_001.pt",
        "tmpfeatures.npy",
        "tmpckpt0001.pt",
        "tmp20240131",
        "lock",
        "x.py",
        "ü.bin",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not ignored(name)


def test_the_tracelet_directory_in_a_watched_one_is_passed_over(tmp_path: Path, watch: Make) -> None:
    seen = watch(str(tmp_path))
    seen.detector = tracelet_detectors()[0].create(
        FilesystemSettings(**QUICK),
        DetectorContext(
            experiment="watched",
            directory=tmp_path / "out" / "tracelet",
            workspace=tmp_path / "out" / "tracelet" / "made",
            watched=(WatchedDirectory(str(tmp_path)),),
        ),
    )
    seen.start()
    (tmp_path / "out" / "tracelet" / "made").mkdir(parents=True)
    (tmp_path / "out" / "tracelet" / "made" / "a.bin").write_bytes(b"own")
    (tmp_path / "out" / "tracelet-too.bin").write_bytes(b"theirs")
    seen.wait()
    assert seen.stop().told == [("out/tracelet-too.bin", b"theirs")]


def test_links_are_followed_only_where_they_stay_inside(watch: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    seen = watch().start()
    (seen.out / "key").symlink_to(tmp_path / "secret" / "key")
    (seen.out / "folder").symlink_to(tmp_path / "secret")
    (seen.out / "nowhere").symlink_to("gone")
    (seen.out / "epoch=1.bin").write_bytes(b"1")
    (seen.out / "last.bin").symlink_to("epoch=1.bin")
    (tmp_path / "secret" / "more").write_bytes(b"secret")
    seen.wait(2)
    assert sorted(seen.stop().told) == [("out/epoch=1.bin", b"1"), ("out/last.bin", b"1")]


def test_at_debug_the_log_says_once_of_each_path_why_it_is_passed_over(
    watch: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    write(tmp_path / "secret")
    seen = watch(str(tmp_path / "out"), str(tmp_path / "out" / "inner"))
    out = seen.out
    write(out / ".before")
    write(out / "before.bin")
    seen.start()
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "run").mkdir()
    (out / "folder").symlink_to("run")
    os.mkfifo(out / "pipe")
    (out / "pipe too").symlink_to("pipe")
    for _ in range(3):
        for name in (".hidden", ".git/objects/a", ".git/objects/b", "a.part", "tmpab1defgh.bin", "inner/.x"):
            write(out / name)
    write(tmp_path / "gone").rename(out / "last.bin")
    seen.wait().stop()
    said = [record.getMessage() for record in caplog.records]
    assert sorted(one for one in said if "passed over" in one) == sorted(
        f"{out / name} is passed over: {why}."
        for name, why in {
            ".before": "it is hidden",
            ".git": "it is hidden",
            ".hidden": "it is hidden",
            "a.part": "it is partial by its suffix",
            "folder": "it is a link to a folder",
            "inner": "it is Tracelet's own, or watched by a rule of its own",
            "inner/.x": "it is hidden",
            "link": "it is a link that leads out of the directory",
            "pipe": "it is no regular file",
            "pipe too": "it is no regular file",
            "tmpab1defgh.bin": "it is named as Python's tempfile names files",
        }.items()
    )
    assert f"{out}: what is there at the start (1 in number) is captured if it changes." in said


def test_at_debug_the_log_says_of_what_is_gone_that_it_is(watch: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    seen = watch().start()
    run = seen.detector._run  # type: ignore[attr-defined]
    for word in ("complete", "created"):
        run._news.put(observing.News(word, run._places[0], str(seen.out / word)))  # type: ignore[arg-type]
    until(lambda: caplog.text.count("it is gone, or cannot be read") == 2)


def test_a_file_that_is_told_of_once_more_and_is_the_same_is_not_told_again(watch: Make) -> None:
    seen = watch().start()
    run = seen.detector._run  # type: ignore[attr-defined]
    write(seen.out / "a.bin", b"a")
    seen.wait()
    run._news.put(observing.News("created", run._places[0], str(seen.out / "a.bin")))
    until(run._news.empty)
    assert seen.stop().told == [("out/a.bin", b"a")]


def test_what_is_told_while_it_stops_is_told_on(watch: Make) -> None:
    seen = watch().start()
    run = seen.detector._run  # type: ignore[attr-defined]
    deaf(seen)
    path = write(seen.out / "a.bin", b"a")
    run._news.put(None)
    run._news.put(observing.News("complete", run._places[0], str(path), told=True))
    assert seen.stop().told == [("out/a.bin", b"a")]


def test_files_of_two_types_that_have_one_stem_are_both_named(watch: Make, tmp_path: Path) -> None:
    seen = watch(WatchedDirectory(str(tmp_path / "out"), name="run1-{stem}-{type}")).start()
    (seen.out / "metrics.json").write_text('{"a": 1}')
    (seen.out / "metrics.csv").write_text("a,b\n")
    (seen.out / "packed.csv.gz").write_bytes(gzip.compress(b"a,b\n"))
    names = {one.name for one in seen.wait(3).detections}
    assert names == {"run1-metrics-config", "run1-metrics-dataset", "run1-packed-dataset"}


def test_what_was_there_before_is_told_only_if_it_changes(watch: Make) -> None:
    seen = watch()
    (seen.out / "same.bin").write_bytes(b"same")
    (seen.out / "other.bin").write_bytes(b"old")
    seen.start()
    (seen.out / "other.bin").write_bytes(b"new")
    seen.wait()
    assert seen.stop().told == [("out/other.bin", b"new")]


def test_files_that_vanish_are_no_trouble(watch: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tracelet.automagic")
    seen = watch()
    paths: list[Path | None] = []
    seen.detector.start(lambda detection: paths.append(detection.path))
    for number in range(200):
        folder = seen.out / f"{number}"
        folder.mkdir()
        (folder / "a.bin").write_bytes(b"a")
        (folder / "a.bin").unlink()
        folder.rmdir()
    (seen.out / "last.bin").write_bytes(b"last")
    until(lambda: seen.out / "last.bin" in paths)
    seen.stop()
    assert caplog.records == []


def test_an_emit_that_fails_is_a_warning_and_does_not_end_the_watch(
    watch: Make, caplog: pytest.LogCaptureFixture
) -> None:
    seen = watch()
    tries: list[Path | None] = []

    def fail_first(detection: Detection) -> None:
        tries.append(detection.path)
        if len(tries) == 1:
            raise RuntimeError("the disk is full")
        seen.emit(detection)

    seen.detector.start(fail_first)
    (seen.out / "a.bin").write_bytes(b"a")
    until(lambda: len(tries) == 1)
    (seen.out / "b.bin").write_bytes(b"b")
    seen.wait()
    assert seen.told == [("out/b.bin", b"b")]
    assert [record.getMessage() for record in caplog.records] == ["watching files: RuntimeError: the disk is full"]


def test_what_is_open_at_the_stop_is_named_and_not_told(watch: Make, caplog: pytest.LogCaptureFixture) -> None:
    seen = watch(max_wait=60.0).start()
    with (seen.out / "train.log").open("w") as log:
        log.write("epoch 1")
        log.flush()
        began = time.monotonic()
        seen.stop()
    assert time.monotonic() - began < 5 * pace()
    assert seen.told == []
    assert [record.getMessage() for record in caplog.records] == [
        f"still being written, and not captured: {seen.out / 'train.log'}. Close files before stop()."
    ]


def test_the_stop_finds_what_nobody_told_of(watch: Make) -> None:
    seen = watch()
    (seen.out / "same.bin").write_bytes(b"same")
    seen.start()
    deaf(seen)
    (seen.out / "new.bin").write_bytes(b"new")
    (seen.out / "run" / "a").mkdir(parents=True)
    (seen.out / "run" / "a" / "new.bin").write_bytes(b"newer")
    seen.stop()
    assert sorted(seen.told) == [("out/new.bin", b"new"), ("out/run/a/new.bin", b"newer")]


OVERFLOWING = """
    import logging, sys
    from pathlib import Path
    from tracelet.builtin.filesystem import FilesystemSettings, tracelet_detectors
    from tracelet.plugin import DetectorContext, WatchedDirectory
    out = Path(sys.argv[1])
    context = DetectorContext(experiment="x", directory=out / ".t", workspace=out / ".t", watched=(WatchedDirectory(str(out)),))
    (spec,) = tracelet_detectors()
    detector = spec.create(FilesystemSettings(interval=0.05), context)
    # As a program does that wants no logs: they are not what an overflow is told by.
    logging.disable(logging.CRITICAL)
    assert input() == "go"
    told = open(sys.argv[2], "w", buffering=1)
    detector.start(lambda detection: told.write(detection.artifact_path + "\\n"))
    print("done", flush=True)
    assert input() == "go"
    detector.stop()
    print("done", flush=True)
"""


def test_an_overflow_of_the_systems_queue_is_noticed_and_made_good(tmp_path: Path) -> None:
    """The watching process sleeps while more happens than the kernel keeps for it: of the last files it hears nothing."""
    import signal

    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    out, told = tmp_path / "out", tmp_path / "told"
    out.mkdir()
    lost = {f"{number}.bin" for number in range(50)}
    with elsewhere(OVERFLOWING, out, told) as watcher:
        go(watcher)
        watcher.send_signal(signal.SIGSTOP)
        # In turn, for the system makes one of two events in a row that are the same.
        for number in range(kept + 500):
            (out / f"known{number % 2}").touch()
        for name in lost:
            (out / name).touch()
        watcher.send_signal(signal.SIGCONT)
        until(lambda: lost <= set(told.read_text().split()), lambda: lost - set(told.read_text().split()))
        go(watcher)
        assert watcher.wait(PATIENCE) == 0
    assert set(told.read_text().split()) == {"known0", "known1"} | lost


def deaf(seen: Watch) -> None:
    """Let a detector hear nothing any more: it stands for a system that lost its news."""
    watches = seen.detector._run._watches  # type: ignore[attr-defined]
    looked = threading.Event()

    def look() -> list[Any]:
        looked.set()
        return []

    watches.look = look
    assert looked.wait(PATIENCE)  # the look before it is over, and watches nothing anew
    watches.stop()


def test_what_was_never_told_is_found_when_the_system_says_that_news_were_lost(
    watch: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for what was lost, and once more for what came until watchdog had its new watches."""
    monkeypatch.setattr("tracelet.builtin.filesystem.detector._AFTER_OVERFLOW", (0.0, 0.05))
    monkeypatch.setattr("tracelet.builtin.filesystem.settling._GRACE", 0.0)
    caplog.set_level(logging.INFO, "tracelet.automagic")
    seen = watch()

    def emit(detection: Detection) -> None:
        seen.emit(detection)
        settle(write(seen.out / "b.bin", b"b"))

    seen.detector.start(emit)
    deaf(seen)
    settle(write(seen.out / "a.bin", b"a"))
    never(lambda: bool(seen.detections))
    seen.detector._run._news.put(observing.News("overflow"))  # type: ignore[attr-defined]
    assert seen.wait(2).told == [("out/a.bin", b"a"), ("out/b.bin", b"b")]
    said = [record.getMessage() for record in caplog.records if record.name == "tracelet.automagic"]
    assert said == ["the system told of more files than could be taken in: the watched directories are looked through."]


def test_what_was_never_told_is_found_from_time_to_time(watch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracelet.builtin.filesystem.detector._RESCAN", 0.05)
    seen = watch().start()
    deaf(seen)
    for number in range(1, 3):
        settle(write(seen.out / "last.bin", b"x" * number))
        seen.wait(number)
    assert seen.told == [("out/last.bin", b"x"), ("out/last.bin", b"xx")]


def test_a_file_that_changes_or_goes_after_it_was_found_complete_is_not_told_as_it_was(
    watch: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All three are found by one look; while the first is told, the second is written again, and the third goes."""
    monkeypatch.setattr("tracelet.builtin.filesystem.settling._GRACE", 0.0)
    seen = watch().start()
    deaf(seen)
    left = {seen.out / f"{number}.bin" for number in range(3)}
    for path in left:
        path.write_bytes(b"old")
        settle(path)

    def emit(detection: Detection) -> None:
        seen.emit(detection)
        if len(seen.detections) == 1:
            again, gone = left - {detection.path}
            again.write_bytes(b"new")
            gone.unlink()

    seen.detector._run._emit = emit  # type: ignore[attr-defined]
    first, second = seen.stop().detections
    assert seen.contents == [b"old", b"new"]
    assert first.path != second.path
    assert second.path is not None
    assert second.stamp is not None
    assert second.stamp.matches(second.path.stat())
    assert caplog.records == []


def test_a_file_that_is_deleted_while_it_is_written_is_forgotten(watch: Make, tmp_path: Path) -> None:
    seen = watch(max_wait=60.0).start()
    waiting = seen.detector._run._settling.left  # type: ignore[attr-defined]
    with (seen.out / "a.bin").open("wb", buffering=0) as file:
        file.write(b"half")
        until(lambda: waiting() == [str(seen.out / "a.bin")])
        (seen.out / "a.bin").unlink()
        until(lambda: waiting() == [])
    assert seen.stop().told == []


def test_what_is_no_file_is_passed_over(watch: Make, tmp_path: Path) -> None:
    """A pipe, of which a reader would wait for ever, and a link to elsewhere that is moved here."""
    (tmp_path / "secret").write_bytes(b"secret")
    seen = watch()
    os.mkfifo(seen.out / "there before")
    seen.start()
    os.mkfifo(seen.out / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "link").rename(seen.out / "link")
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().stop().told == [("out/a.bin", b"a")]


@pytest.mark.parametrize("polling", [False, True])
def test_a_directory_that_goes_just_before_it_is_watched_is_watched_when_it_is_there_again(
    watch: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, polling: bool
) -> None:
    monkeypatch.setattr("tracelet.builtin.filesystem.observing._POLL", 0.05)
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    seen = watch(polling=polling)

    identity, gone = observing._identity, list[str]()

    def late(path: str) -> tuple[int, int] | None:
        found = identity(path)
        if not gone:
            seen.out.rmdir()
            gone.append(path)
        return found

    monkeypatch.setattr(observing, "_identity", late)
    seen.start()
    assert f"{seen.out} cannot be watched yet" in caplog.text
    seen.out.mkdir()
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().stop().told == [("out/a.bin", b"a")]


def test_a_start_that_fails_leaves_nothing_behind(watch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system has no thread left."""
    seen = watch()
    threads, filters = set(threading.enumerate()), list(warnings.filters)
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "tracelet-filesystem":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            seen.start()
    assert set(threading.enumerate()) == threads
    assert warnings.filters == filters
    seen.stop().start()
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().stop().told == [("out/a.bin", b"a")]


@pytest.fixture
def darwin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector take this system for another one, which tells of no ends and not who writes."""
    for module in ("observing", "writers"):
        monkeypatch.setattr(f"tracelet.builtin.filesystem.{module}.sys", SimpleNamespace(platform="darwin"))


def test_where_the_system_does_not_tell_of_ends_a_file_must_stay_the_same(watch: Make, darwin: None) -> None:
    seen = watch(interval=0.1).start()
    waiting = seen.detector._run._settling.left  # type: ignore[attr-defined]
    with (seen.out / "slow.bin").open("wb", buffering=0) as file:
        file.write(b"first ")
        until(lambda: bool(waiting()))
        file.write(b"second")
    closed = time.monotonic()
    seen.wait()
    assert time.monotonic() - closed > 0.2
    assert seen.stop().told == [("out/slow.bin", b"first second")]


def test_polling_waits_for_writers_that_pause(watch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracelet.builtin.filesystem.observing._POLL", 0.05)
    seen = watch(polling=True, interval=0.02, max_wait=0.1).start()
    with (seen.out / "slow.bin").open("wb", buffering=0) as file:
        file.write(b"first ")
        never(lambda: bool(seen.detections), 0.2)
        file.write(b"second")
    assert seen.wait().stop().told == [("out/slow.bin", b"first second")]


def test_without_watches_left_directories_are_polled(
    watch: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno

    def full(put: object) -> Any:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr("tracelet.builtin.filesystem.observing._POLL", 0.05)
    monkeypatch.setattr("tracelet.builtin.filesystem.observing._system_observer", full)
    seen = watch().start()
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().stop().told == [("out/a.bin", b"a")]
    assert "fs.inotify.max_user_watches" in caplog.text


def test_a_directory_has_a_type_and_a_name_pattern(watch: Make, tmp_path: Path) -> None:
    seen = watch(
        WatchedDirectory(str(tmp_path / "out"), type="sample", name="{parent}-{stem}!"),
        WatchedDirectory(str(tmp_path / "out" / "inner"), name="x-{type}-{stem}"),
    ).start()
    (seen.out / "a b").mkdir()
    (seen.out / "inner" / "deep").mkdir(parents=True)
    files = ["a b/ä.csv", "top.csv", "inner/deep/table.csv", "inner/any.bin", f"{'long' * 50}.bin", "___.bin", "!.bin"]
    for number, name in enumerate(files):
        (seen.out / name).write_bytes(b"a,b\n")
        seen.wait(number + 1)
    told = {one.path.name: (one.name, one.type and one.type.value) for one in seen.detections if one.path is not None}
    long = told.pop(f"{'long' * 50}.bin")
    assert told == {
        "ä.csv": ("a-b-a", "sample"),
        "top.csv": ("top", "sample"),
        "table.csv": ("x-dataset-table", "dataset"),
        "any.bin": ("x-custom-any", "custom"),
        "___.bin": ("___", "sample"),
        "!.bin": (None, "sample"),
    }
    assert long[0] is not None
    assert len(long[0]) == 128
    assert long[0].startswith("longlong")


def test_paths_that_no_artifact_can_have_are_made_such(watch: Make) -> None:
    seen = watch().start()
    names = [b"back\\slash.bin", b"back_slash.bin", b"new\nline", b"latin-\xe9.bin", b"tracelet.json"]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(seen.out) + b"/" + name)).write_bytes(b"%d" % number)
        seen.wait(number + 1)
    told = [one.artifact_path for one in seen.stop().detections]
    assert len(set(told)) == len(names)
    assert told[1] == "back_slash.bin"
    assert all(path is not None and path.isprintable() for path in told)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (WatchedDirectory("file.txt"), "'file.txt' is a file: give the directory that it is in"),
        (WatchedDirectory("s3://bucket/x"), "is no directory of this machine"),
        (WatchedDirectory("out", type="modell"), "type='modell': say one of model, checkpoint"),
        (WatchedDirectory("out", name="{run}"), "name='{run}': make it of text with {stem}, {parent} or {type}"),
        (WatchedDirectory("out", name="fixed"), "name='fixed'"),
        (WatchedDirectory("out", name="run1-{stem}"), "such as 'run1-{stem}-{type}', or give the directory a type="),
        (WatchedDirectory("out", name="{stem"), "name='{stem'"),
        (WatchedDirectory("out", name="{stem.__class__}"), "name='{stem.__class__}'"),
        (WatchedDirectory(".tracelet/staging"), "is Tracelet's own"),
    ],
    ids=["file", "url", "type", "field", "no field", "no type", "brace", "attribute", "own"],
)
def test_a_configuration_that_cannot_work_is_refused_at_the_start(
    watch: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: WatchedDirectory, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    before = set(threading.enumerate())
    with pytest.raises(ConfigError) as refused:
        watch(given).start()
    assert says in str(refused.value)
    assert set(threading.enumerate()) == before


def test_two_rules_for_one_directory_are_refused_and_the_same_one_twice_is_one(watch: Make, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(ConfigError, match="two rules"):
        watch(out, WatchedDirectory(f"{out}/", type="model")).start()
    seen = watch(out, f"{out}/../out").start()
    (seen.out / "a.bin").write_bytes(b"a")
    seen.wait()
    assert seen.stop().told == [("out/a.bin", b"a")]


@pytest.mark.parametrize("variable", ["interval", "checks", "max_wait"])
def test_settings_are_above_zero(variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        FilesystemSettings(**{variable: 0})


def test_without_watchdog_the_start_says_what_to_install(tmp_path: Path) -> None:
    program = """
        import sys
        sys.modules["watchdog"] = sys.modules["watchdog.events"] = None
        from pathlib import Path
        from tracelet.builtin.filesystem import FilesystemSettings, tracelet_detectors
        from tracelet.plugin import DetectorContext
        context = DetectorContext(experiment="x", directory=Path("/x"), workspace=Path("/x"))
        try:
            tracelet_detectors()[0].create(FilesystemSettings(), context).start(print)
        except Exception as error:
            print(type(error).__name__, error)
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert answer.stdout == (
        "ConfigError watch_filesystem=True needs watchdog: pip install 'tracelet-core[watch]', or leave it off.\n"
    )
    assert answer.stderr == ""


def test_a_forked_child_that_stops_leaves_the_parents_watch_alone(watch: Make) -> None:
    seen = watch().start()
    program = os.fork  # a fork of this very process is what a data loader's workers are
    child = program()
    if child == 0:  # pragma: no cover - another process
        seen.detector.stop()
        os._exit(0)
    os.waitpid(child, 0)
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().stop().told == [("out/a.bin", b"a")]


def test_the_type_of_an_artifact_may_be_given_as_a_member(watch: Make, tmp_path: Path) -> None:
    seen = watch(WatchedDirectory(str(tmp_path / "out"), type=ArtifactType.CHECKPOINT)).start()  # type: ignore[arg-type]
    (seen.out / "a.bin").write_bytes(b"a")
    assert seen.wait().detections[0].type is ArtifactType.CHECKPOINT
