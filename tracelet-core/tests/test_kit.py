"""The tools beneath the contract kit: its child processes, and how it reads where a place is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracelet.testing.contract_fixtures import _closed, _files, _folder
from tracelet.testing.driver import Driver, DriverDied

pytestmark = pytest.mark.kit


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path / "driver", {}, mortal=True)
    yield made
    made.kill()


def test_a_call_is_answered_from_another_process(driver: Driver) -> None:
    assert driver.call(os.getpid) != os.getpid()
    driver.begin(os.getpid)
    assert not driver.died()


def test_a_call_that_takes_too_long_ends_its_process(driver: Driver) -> None:
    driver.begin(time.sleep, 100.0)
    with pytest.raises(DriverDied, match=r"no answer within 0 s"):
        driver.result(0.2)


def test_a_process_that_ends_is_told_with_its_last_words(driver: Driver) -> None:
    driver.begin(os.write, 2, b"these were the last words")
    assert not driver.died()
    driver.begin(os._exit, 3)
    assert driver.died()
    driver._child.wait()
    with pytest.raises(DriverDied, match=r"(?s)ended before sleep.*these were the last words"):
        driver.call(time.sleep, 0.0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("http://tracker:5000/api?x=1", "http://127.0.0.1:9/api?x=1"),
        ("s3://bucket/prefix", "s3://127.0.0.1:9/prefix"),
        ("sqlite:////data/tracker.db", "sqlite:///wall/x"),
        ("/data/place", "/wall/x"),
        ("offline", "offline"),
    ],
)
def test_a_place_that_is_away_is_a_closed_port_or_a_wall(value: str, told: str) -> None:
    assert _closed(value, Path("/wall/x")) == told


def test_the_files_of_a_place_are_found_by_what_names_it(tmp_path: Path) -> None:
    (tmp_path / "tracker.db").write_text("")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text("")
    both = [tmp_path / "deep" / "file", tmp_path / "tracker.db"]
    assert _folder(f"sqlite:///{tmp_path}/tracker.db") == tmp_path
    assert _files({"URL": f"file://{tmp_path}", "PORT": "5000", "HOST": "https://tracker/", "ROOT": "/"}) == both
