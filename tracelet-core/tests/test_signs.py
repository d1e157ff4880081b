"""Who waits for a call sees what it is doing, where a person is watching; and nothing stays, or goes into a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest
from commanding import begin, begin_program, environment
from watching import Scripted

from tracelet.core.system.signs import note, notebook_shell, sign_of_life, without_signs


class Terminal:
    """A terminal, and a person who looks at it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.seen = ""

    def look_for(self, text: str) -> None:
        """Look until the text has been there."""
        while text not in self.seen:
            self.seen += os.read(self.ours, 4096).decode()

    def look_to_the_end(self) -> None:
        """Look until nobody has the terminal open any more."""
        with contextlib.suppress(OSError):
            while block := os.read(self.ours, 4096):
                self.seen += block.decode()

    @property
    def line(self) -> str:
        """What is on the line in the end."""
        left: list[str] = []
        for part in self.seen.replace("\r\n", "\n").rpartition("\n")[2].split("\r"):
            left[: len(part)] = part
        return "".join(left).rstrip()


@contextlib.contextmanager
def watched() -> Iterator[Terminal]:
    """Meanwhile, a terminal is this process's stderr."""
    made = Terminal()
    stream = os.fdopen(made.theirs, "w")
    with contextlib.redirect_stderr(stream):
        yield made
    for close in (stream.close, lambda: os.close(made.ours)):
        with contextlib.suppress(OSError):
            close()


def write(text: str) -> None:
    """Write what a program would say next."""
    sys.stderr.write(text)
    sys.stderr.flush()


def test_a_terminal_shows_what_is_done_and_for_how_long_and_nothing_of_it_stays() -> None:
    with watched() as terminal:
        with sign_of_life("listing 'digits'"):
            terminal.look_for("tracelet: listing 'digits', ")
            terminal.look_for(" s\rtracelet: listing 'digits', ")
            assert terminal.line.startswith("tracelet: listing 'digits', ")
        write("then\n>")
        terminal.look_for(">")
        assert terminal.line == ">"
        assert terminal.seen.replace("\r\n", "\n").split("\r")[-1] == "then\n>"


def test_a_note_stays_in_the_place_of_the_sign_that_is_shown() -> None:
    with watched() as terminal:
        with sign_of_life("ending the run of 'digits'"):
            terminal.look_for("tracelet: ending the run")
            note("captured 2 artifacts\x1b[2J")
        write(">")
        terminal.look_for(">")
        shown = terminal.seen.replace("\r\n", "\n").split("\n")
        assert shown[-2].split("\r")[-1].rstrip() == "tracelet: captured 2 artifacts\N{REPLACEMENT CHARACTER}[2J"
        assert terminal.line == ">"


def test_what_is_over_at_once_shows_nothing() -> None:
    with watched() as terminal:
        with sign_of_life("blinking"):
            pass
        write("then")
        terminal.look_for("then")
        assert terminal.seen == "then"


def test_a_call_within_a_call_shows_nothing_of_its_own() -> None:
    with watched() as terminal:
        with sign_of_life("outside"), sign_of_life("within"):
            terminal.look_for("outside")
        with sign_of_life("afterwards"):
            terminal.look_for("afterwards")
        assert "within" not in terminal.seen


def test_who_shows_something_of_its_own_is_not_disturbed() -> None:
    before = set(threading.enumerate())
    with watched(), without_signs(), sign_of_life("within"):
        assert set(threading.enumerate()) <= before


def test_it_ends_with_a_call_that_fails() -> None:
    with watched() as terminal:
        with contextlib.suppress(ZeroDivisionError), sign_of_life("dividing"):
            terminal.look_for("dividing")
            raise ZeroDivisionError
        write(">")
        terminal.look_for(">")
        assert terminal.line == ">"


def test_a_long_line_is_cut_and_nothing_in_it_controls_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched() as terminal:
        monkeypatch.setenv("COLUMNS", "40")
        with sign_of_life("\x1b[2J" + "x" * 100):
            terminal.look_for("xxx")
            assert terminal.seen == "\rtracelet: \N{REPLACEMENT CHARACTER}[2J" + "x" * 25


def test_a_terminal_that_is_gone_is_no_reason_to_fail() -> None:
    with watched() as terminal, sign_of_life("listing"):
        terminal.look_for("listing")
        os.close(terminal.ours)


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, io.StringIO(), _closed()])
def test_where_nobody_can_watch_nothing_is_shown(stream: Any) -> None:
    before = set(threading.enumerate())
    with contextlib.redirect_stderr(stream), sign_of_life("listing"):
        assert set(threading.enumerate()) <= before


class Publisher:
    """The part of a notebook's shell that shows outputs."""

    def __init__(self) -> None:
        self.outputs: dict[str, str] = {}
        self.shown = threading.Event()

    def publish(self, data: dict[str, str], *, transient: dict[str, str], update: bool) -> None:
        assert update is (transient["display_id"] in self.outputs)
        self.outputs[transient["display_id"]] = data["text/plain"]
        self.shown.set()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """What IPython looks like from a cell of a notebook."""
    publisher = Publisher()
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=object(), display_pub=publisher)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    return publisher


def test_a_notebook_shows_it_as_an_output_that_is_emptied(notebook: Publisher) -> None:
    with sign_of_life("listing"):
        assert notebook.shown.wait(60)
        assert [text.partition(",")[0] for text in notebook.outputs.values()] == ["tracelet: listing"]
    assert list(notebook.outputs.values()) == [""]
    with sign_of_life("blinking"):
        pass
    assert list(notebook.outputs.values()) == [""]


def test_an_ipython_that_another_thread_is_importing_is_no_notebook_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is there before anything is in it. Some trackers import it in a thread of their own."""
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    with sign_of_life("listing"):
        pass
    assert notebook_shell() is None


#: What a program waits for, what the backend is told, and what a person reads meanwhile.
CALLS = {
    "list": ("exp.list_artifacts()", "listing 'trials' in scripted, "),
    "find": ("exp.get_artifact('thing')", "looking for 'thing' latest in scripted, "),
    "fetch": ("exp.get_artifact('thing').download('there')", "downloading 'thing' v1 from scripted, "),
    "put": ("exp.start().log_artifact(artifact('new'))", "storing 'new' in scripted, "),
    "stop": ("exp.start(), exp.log_artifact(artifact('new')), exp.stop()", "ending the run of 'trials', and making "),
}


@pytest.mark.parametrize("method", CALLS)
def test_a_call_that_takes_longer_than_a_second_says_what_it_does(stored: Scripted, method: str) -> None:
    stored.told(**{method: "held"})
    call, told = CALLS[method]
    terminal = Terminal()
    script = f"exp = experiment(deadline=60.0, stop_timeout=60.0)\nprint('ready', flush=True)\n{call}\nexp.stop()"
    waiting = begin_program(script, stderr=terminal.theirs, TERM="xterm")
    os.close(terminal.theirs)
    terminal.look_for(f"tracelet: {told}")
    stored.told()
    terminal.look_to_the_end()
    assert waiting.wait(180) == 0
    assert terminal.line == ""
    waiting.communicate()


def test_nothing_goes_into_a_pipe(stored: Scripted) -> None:
    stored.told(list="sleep 1.5")
    waiting = begin_program("exp = experiment()\nprint('ready', flush=True)\nexp.list_artifacts()\nexp.stop()")
    out, err = waiting.communicate(timeout=180)
    assert (waiting.returncode, out, err) == (0, "", "")


def test_the_command_shows_one_thing_at_a_time(stored: Scripted) -> None:
    stored.told(list="held")
    terminal = Terminal()
    ls = begin("ls", "trials", "--backend", "scripted", stderr=terminal.theirs, env=environment(TERM="xterm-256color"))
    os.close(terminal.theirs)
    terminal.look_for("0:00:02")
    stored.told()
    terminal.look_to_the_end()
    assert ls.communicate(timeout=180)[0].count("\n") == 4
    assert "tracelet: " not in terminal.seen
