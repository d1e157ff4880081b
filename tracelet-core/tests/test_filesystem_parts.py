"""The parts of the detector of files, each by itself: what is complete, who writes, what is there to be watched."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from making import settle, write
from pacing import pace
from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, WatchDescriptor

from tracelet.builtin.filesystem import FilesystemSettings, passing
from tracelet.builtin.filesystem.inotify import OverflowObserver
from tracelet.builtin.filesystem.observing import News, Observing
from tracelet.builtin.filesystem.passing import PassedOver
from tracelet.builtin.filesystem.places import Place
from tracelet.builtin.filesystem.quiet import quiet
from tracelet.builtin.filesystem.settling import Settling
from tracelet.builtin.filesystem.stamps import scan, stamp_of
from tracelet.builtin.filesystem.writers import being_written

pytestmark = pytest.mark.capture

#: Seconds between two looks that no test waits for.
FAR = 600.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "out").mkdir()
    return Place("out", str(tmp_path / "out"), None, None)


class Waiting:
    """Files that wait, and who is seen to write: none, those in `written`, or that cannot be told at all."""

    def __init__(self, place: Place, *, blind: bool = False, **settings: Any) -> None:
        self.place = place
        self.written: set[tuple[int, int]] = set()
        self._blind = blind
        self.settling = Settling(FilesystemSettings(**{"interval": 0.01, "max_wait": FAR, **settings}), self._writers)

    def _writers(self, wanted: Collection[tuple[int, int]]) -> set[tuple[int, int]] | None:
        return None if self._blind else self.written & set(wanted)

    def add(self, name: str, content: bytes = b"content", *, told: bool = False, written: bool = False) -> Path:
        path = write(Path(self.place.path, name), content)
        stamp = stamp_of(self.place, str(path))
        assert stamp is not None
        if written:
            self.written.add((stamp.device, stamp.inode))
        self.settling.add(self.place, str(path), stamp, told=told)
        return path

    def close(self, path: Path) -> None:
        stamp = stamp_of(self.place, str(path))
        assert stamp is not None
        self.settling.close(self.place, str(path), stamp)

    def look(self) -> list[str]:
        """Wait for the next look, and give the names of what it found complete."""
        while time.monotonic() < self.settling.due:
            time.sleep(0.001)
        return [Path(path).name for _, path, _ in self.settling.complete()]


def test_a_file_whose_end_would_be_told_is_complete_where_nobody_is_seen_to_write_it(place: Place) -> None:
    waiting = Waiting(place, interval=FAR)
    waiting.add("told", told=True)
    waiting.add("not told")
    assert waiting.look() == ["told"]
    assert [Path(path).name for path in waiting.settling.left()] == ["not told"]


def test_a_file_that_has_not_changed_for_long_is_complete_where_nobody_is_seen_to_write_it(place: Place) -> None:
    waiting = Waiting(place, interval=60.0)
    settle(waiting.add("old"))
    assert waiting.look() == ["old"]


def test_nothing_is_looked_at_before_its_time(place: Place) -> None:
    waiting = Waiting(place, interval=60.0)
    path = waiting.add("a.bin")
    assert waiting.look() == []
    settle(path)
    assert list(waiting.settling.complete()) == []


def test_a_file_that_is_written_waits_and_is_then_complete_by_its_end(place: Place) -> None:
    waiting = Waiting(place, max_wait=0.01)
    path = waiting.add("a.bin", told=True, written=True)
    waiting.close(path)
    assert [waiting.look() for _ in range(5)] == [[]] * 5
    assert waiting.settling.only_busy
    waiting.written.clear()
    assert waiting.look() == ["a.bin"]


def test_where_writers_cannot_be_seen_a_file_must_look_the_same_so_many_times_in_a_row(place: Place) -> None:
    waiting = Waiting(place, blind=True)
    path = waiting.add("a.bin", told=True)
    assert [waiting.look() for _ in range(3)] == [[]] * 3
    path.write_bytes(b"another content")
    assert [waiting.look() for _ in range(3)] == [[]] * 3
    assert waiting.settling.touch(str(path))
    assert [waiting.look() for _ in range(3)] == [[], [], ["a.bin"]]
    assert not waiting.settling.touch(str(path))


def test_where_writers_cannot_be_seen_the_longest_wait_is_an_end_too(place: Place) -> None:
    waiting = Waiting(place, blind=True, checks=1000, max_wait=0.1)
    began = time.monotonic()
    waiting.add("a.bin")
    while not waiting.look():
        assert time.monotonic() - began < 10 * pace()
    assert time.monotonic() - began >= 0.1


def test_a_file_that_waits_already_does_not_wait_anew(place: Place) -> None:
    waiting = Waiting(place, blind=True)
    waiting.add("a.bin")
    assert [waiting.look() for _ in range(3)] == [[]] * 3
    stamp = stamp_of(place, f"{place.path}/a.bin")
    assert stamp is not None
    waiting.settling.add(place, f"{place.path}/a.bin", stamp, told=False)
    assert waiting.look() == ["a.bin"]


def test_an_empty_file_is_looked_at_twice_even_if_its_end_was_told(place: Place) -> None:
    waiting = Waiting(place)
    waiting.close(waiting.add("empty", b""))
    assert [waiting.look(), waiting.look()] == [[], ["empty"]]


def test_a_file_that_is_gone_is_forgotten(place: Place) -> None:
    waiting = Waiting(place)
    waiting.add("a.bin").unlink()
    assert waiting.look() == []
    assert waiting.settling.left() == []
    assert waiting.settling.due == float("inf")


def test_what_is_written_can_be_looked_at_once_more_and_at_once(place: Place) -> None:
    waiting = Waiting(place, interval=60.0)
    waiting.add("written", told=True, written=True)
    waiting.add("fresh")
    assert waiting.look() == []
    waiting.written.clear()
    waiting.settling.hurry()
    assert waiting.look() == ["written"]
    assert not waiting.settling.only_busy


@pytest.mark.parametrize(("mode", "writes"), [("wb", True), ("r+b", True), ("ab", True), ("rb", False)])
def test_who_writes_a_file_is_seen_as_long_as_it_is_open(tmp_path: Path, mode: str, writes: bool) -> None:
    status = write(tmp_path / "a.bin").stat()
    wanted = {(status.st_dev, status.st_ino)}
    with (tmp_path / "a.bin").open(mode):
        assert being_written(wanted) == (wanted if writes else set())
    assert being_written(wanted) == set()


def test_a_process_that_ends_while_it_is_asked_for_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = write(tmp_path / "a.bin").stat()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    listdir = os.listdir
    seen: list[str] = []

    def end_then(path: str) -> list[str]:
        names = listdir(path)
        if path == "/proc":
            seen.extend(name for name in names if name == str(process.pid))
            process.kill()
            process.communicate()
        return names

    monkeypatch.setattr(os, "listdir", end_then)
    with (tmp_path / "a.bin").open("ab"):
        assert being_written({(status.st_dev, status.st_ino)}) == {(status.st_dev, status.st_ino)}
    assert seen == [str(process.pid)]


def test_only_files_that_are_to_be_looked_at_are_found(place: Place, tmp_path: Path) -> None:
    other = Path(place.path, "own")
    inside = Place(place.given, place.path, None, None, (str(other),))
    write(other / "a.bin")
    write(Path(place.path, ".hidden", "a.bin"))
    write(Path(place.path, "folder", "a.bin"))
    write(tmp_path / "secret" / "a.bin")
    Path(place.path, "link").symlink_to(tmp_path / "secret")
    Path(place.path, "a.bin").symlink_to("folder/a.bin")
    os.mkfifo(f"{place.path}/pipe")
    assert {path: stamp.size for path, stamp in scan(inside)} == {
        f"{place.path}/a.bin": 7,
        f"{place.path}/folder/a.bin": 7,
    }
    assert list(scan(place, f"{place.path}/gone")) == []


@pytest.fixture
def news() -> queue.SimpleQueue[News]:
    return queue.SimpleQueue()


@pytest.fixture
def observing(place: Place, news: queue.SimpleQueue[News]) -> Iterator[Observing]:
    made = Observing((place,), news.put, PassedOver(), polling=False)
    yield made
    made.stop()


def test_a_directory_is_watched_anew_each_time_that_it_is_another_one(
    place: Place, observing: Observing, news: queue.SimpleQueue[News], tmp_path: Path
) -> None:
    assert observing.look() == [(place, True)]
    assert observing.look() == []
    Path(place.path).rename(tmp_path / "aside")
    assert observing.look() == []
    Path(place.path).mkdir()
    assert observing.look() == [(place, True)]
    write(tmp_path / "aside" / "a.bin")
    write(Path(place.path, "b.bin"))
    told = [news.get(timeout=180), news.get(timeout=180)]
    assert told == [News(word, place, f"{place.path}/b.bin", True) for word in ("created", "complete")]


def test_a_file_in_the_place_of_a_directory_is_not_watched(place: Place, observing: Observing) -> None:
    Path(place.path).rmdir()
    write(Path(place.path))
    assert observing.look() == []


def ours() -> list[object]:
    return [one for one in warnings.filters if "tracelet" in getattr(one[1], "pattern", "")]


def test_the_last_one_who_stops_to_watch_leaves_the_filters_of_warnings_as_they_were(tmp_path: Path) -> None:
    before = list(warnings.filters)
    watches = [Observing((Place("a", str(tmp_path), None, None),), print, PassedOver(), polling=False) for _ in "ab"]
    for one in watches:
        one.look()
    assert len(ours()) == 1
    watches[0].stop()
    assert len(ours()) == 1
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.observers\.")
    theirs = warnings.filters[0]
    watches[1].stop()
    watches[1].stop()
    assert warnings.filters == [theirs, *before]


def test_a_filter_of_warnings_goes_also_where_warnings_were_caught_meanwhile() -> None:
    begun = contextlib.ExitStack()
    with warnings.catch_warnings():
        begun.enter_context(quiet())
        assert len(ours()) == 1
    begun.enter_context(quiet())
    assert len(ours()) == 1
    with warnings.catch_warnings():
        begun.close()
        assert ours() == []
    assert ours() == []


def test_that_the_queue_ran_over_is_heard_once_whatever_is_done_with_logs(place: Place) -> None:
    heard: list[str] = []
    observer = OverflowObserver(lambda: heard.append("overflow"))
    observer.schedule(FileSystemEventHandler(), place.path, recursive=True)
    observer.start()
    logging.disable(logging.CRITICAL)
    try:
        for mask in (InotifyConstants.IN_CREATE, InotifyConstants.IN_Q_OVERFLOW):
            observer._queue.handle_event(InotifyEvent(WatchDescriptor(-1), mask, 0, b""))
    finally:
        logging.disable(logging.NOTSET)
        observer.stop()
        observer.join()
    assert heard == ["overflow"]
    assert not observer._queue.is_alive()


def test_what_is_passed_over_is_told_once_a_path_and_only_to_who_asks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    monkeypatch.setattr(passing, "_REMEMBERED", 2)
    passed = PassedOver()
    passed.say("/a", "it is hidden")
    passed.look(place, f"{place.path}/gone")
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "tracelet.automagic")
    for path in ("/a", "/a", "/b", "/a", "/c"):
        passed.say(path, "it is hidden")
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{path} is passed over: it is hidden." for path in ("/a", "/b", "/c")]
