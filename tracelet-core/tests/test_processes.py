"""Which process is still the same one, and which belong to a lane."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tracelet.core.system import processes as module
from tracelet.core.system.processes import (
    TOKEN,
    ProcessId,
    alive,
    current,
    end_family,
    family,
    io_bytes,
    is_dead,
    lives,
    process_id,
)

#: It says that it runs, and waits.
WAITING = "import sys, time; print('up', flush=True); sys.stdin.read()"


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def token() -> str:
    """A mark that no other process has."""
    return uuid.uuid4().hex


@pytest.fixture
def spawn(token: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that carry the token; they are ended in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str = WAITING, **options: object) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, TOKEN: token}, **options,
        )  # type: ignore[call-overload]  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        started.append(child)
        return child

    yield start
    end_family(token)
    for child in started:
        child.kill()
        child.communicate()


def test_this_process_lives_and_is_itself() -> None:
    assert current() == process_id(os.getpid())
    assert alive(current())
    assert current().started.isdigit()


def test_a_process_that_ended_is_not_alive_and_no_other_takes_its_place(
    spawn: Callable[..., subprocess.Popen[bytes]],
) -> None:
    child = spawn()
    seen = process_id(child.pid)
    assert alive(seen)
    assert not alive(attrs.evolve(seen, started=str(int(seen.started) - 1)))
    child.kill()
    # Nobody has asked how it ended: it is a zombie, which runs nothing.
    assert until(lambda: not alive(seen))
    assert process_id(child.pid).started == ""
    child.wait()
    assert not alive(seen)


def test_a_process_that_never_was_is_not_alive() -> None:
    assert process_id(2**22 + 1).started == ""
    assert not alive(process_id(2**22 + 1))


def test_the_family_is_who_carries_the_token_in_whatever_session(
    spawn: Callable[..., subprocess.Popen[bytes]], token: str
) -> None:
    assert family(token) == []
    children = [spawn(), spawn(start_new_session=True)]
    assert sorted(family(token)) == sorted(child.pid for child in children)
    assert family(uuid.uuid4().hex) == []


def test_what_a_family_reads_and_writes_is_counted(spawn: Callable[..., subprocess.Popen[bytes]], token: str) -> None:
    assert io_bytes(token) == 0
    child = spawn()
    before = io_bytes(token)
    assert child.stdin is not None
    child.stdin.write(b"x" * 200_000)
    child.stdin.flush()
    assert until(lambda: io_bytes(token) >= before + 200_000)


def test_a_family_is_ended_with_those_it_starts_meanwhile(
    spawn: Callable[..., subprocess.Popen[bytes]], token: str
) -> None:
    breeding = (
        "import subprocess, sys, time\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    subprocess.Popen(['sleep', '100'], start_new_session=True)\n"
        "    time.sleep(0.005)\n"
    )
    spawn(breeding)
    assert until(lambda: len(family(token)) > 3)
    assert end_family(token) == []
    assert [pid for pid in family(token) if process_id(pid).started] == []


def test_one_of_the_family_can_be_spared(spawn: Callable[..., subprocess.Popen[bytes]], token: str) -> None:
    spared, other = spawn(), spawn()
    assert end_family(token, spare=spared.pid) == []
    assert alive(process_id(spared.pid))
    assert not alive(process_id(other.pid))


def test_who_does_not_end_is_returned_when_patience_is_over(
    spawn: Callable[..., subprocess.Popen[bytes]], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = spawn()
    monkeypatch.setattr(os, "kill", lambda pid, signal: None)
    assert end_family(token, patience=0.05) == [child.pid]


def test_who_ends_by_itself_while_it_is_ended_is_no_error(
    spawn: Callable[..., subprocess.Popen[bytes]], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = spawn()
    honest = os.kill

    def too_late(pid: int, signal: int) -> None:
        honest(child.pid, signal)
        child.wait()
        honest(pid, signal)

    monkeypatch.setattr(module.os, "kill", too_late)
    assert end_family(token) == []


@pytest.mark.parametrize(
    ("table", "host", "sees_all", "known"),
    [
        ("m-b-s", "here", False, False),
        ("m-b-s", "renamed", False, False),
        # A container next door, or of this machine.
        ("m-b-c", "here", False, None),
        ("m-b-c", "container", True, False),
        # This machine before it was started again; its containers may be anywhere by now.
        ("m-x-s", "here", True, False),
        ("m-x-s", "here", False, None),
        ("m-x-c", "here", True, None),
        # Another one of the same name, or of the same image.
        ("n-x-s", "here", True, None),
        ("-x-s", "here", True, None),
        ("m-x-s", "clone", True, None),
        # What an earlier release noted.
        ("", "here", False, False),
        ("", "elsewhere", False, None),
    ],
)
def test_a_process_that_nothing_here_shows_is_not_known_to_be_dead(
    monkeypatch: pytest.MonkeyPatch, table: str, host: str, sees_all: bool, known: bool | None
) -> None:
    me = ProcessId("here", os.getpid(), current().started, table="m-b-s")
    monkeypatch.setattr(module, "current", lambda: me)
    monkeypatch.setattr(module, "_ALL_SEEING", "s" if sees_all else "another")
    gone = ProcessId(host, 2**22 + 1, "5", table=table)
    assert lives(gone) is known
    assert is_dead(gone) is (known is False)


def test_a_process_of_a_container_is_known_by_its_number_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    me = ProcessId("here", os.getpid(), current().started, table="m-b-s")
    monkeypatch.setattr(module, "current", lambda: me)
    monkeypatch.setattr(module, "_ALL_SEEING", "s")
    monkeypatch.setattr(module, "_PROC", tmp_path)
    for pid, inside in ((70, "7"), (80, "")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "status").write_text(f"Name:\tpython\nNSpid:\t{pid}\t{inside}\n")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (python) S {' '.join(['0'] * 18)} 55 0\n")
    assert lives(ProcessId("container", 7, "55", table="m-b-c")) is True
    assert lives(ProcessId("container", 7, "56", table="m-b-c")) is False
    assert lives(ProcessId("container", 80, "55", table="m-b-c")) is False


def test_where_the_system_has_no_tables_the_name_of_the_machine_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_PROC", tmp_path)
    assert module._own_table.__wrapped__() == ""
