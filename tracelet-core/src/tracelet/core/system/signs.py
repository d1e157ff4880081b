"""Signs of life: what a call is doing, if it takes longer than a second and a person is watching.

A person watches a terminal or a notebook. Nothing is written into a pipe or a file, and nothing stays when the call ends,
except for a note.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

__all__ = ["note", "notebook_shell", "sign_of_life", "without_signs"]

#: Seconds until the first sign, and from one to the next.
_EVERY = 1.0
#: Who shows something holds it: calls within that call, and at the same time, show nothing of their own.
_SHOWING = threading.Lock()


class _Place(Protocol):
    """Where a person looks."""

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        ...

    def clear(self) -> None:
        """Leave nothing of it."""
        ...

    def leave(self, text: str) -> None:
        """Show a text that stays."""
        ...


class _Terminal:
    """The line of a terminal that the cursor is on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._length = 0

    def show(self, text: str) -> None:
        told = text[: max(shutil.get_terminal_size().columns - 1, 1)]
        self._write(f"\r{told:{self._length}}")
        self._length = len(told)

    def clear(self) -> None:
        if self._length:
            self._write(f"\r{'':{self._length}}\r")

    def leave(self, text: str) -> None:
        # A sign may be on the line.
        self._write(f"\r{text:{shutil.get_terminal_size().columns - 1}}\n")

    def _write(self, text: str) -> None:
        # A terminal that is gone, or has no such character, is no reason for a call to fail.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


class _Cell:
    """An output of the cell that runs in a notebook."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self._id = uuid.uuid4().hex
        self._shown = False

    def show(self, text: str) -> None:
        self._publisher.publish({"text/plain": text}, transient={"display_id": self._id}, update=self._shown)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            self.show("")

    def leave(self, text: str) -> None:
        self.show(text)


def notebook_shell() -> Any:
    """Return the IPython in which this program runs; None where it runs in none."""
    # Another thread may be importing IPython at this moment: then the module is there, and the function is not.
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython() if get_ipython is not None else None


def _watched() -> _Place | None:
    """Return where a person is watching, or None where nobody is."""
    shell = notebook_shell()
    if hasattr(shell, "kernel"):
        return _Cell(shell.display_pub)
    with contextlib.suppress(AttributeError, ValueError):  # there is no stderr, or it is closed
        if sys.stderr.isatty():
            return _Terminal(sys.stderr)
    return None


def _harmless(text: str) -> str:
    """Return a text that cannot control the terminal: a tracker may have named what is done."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class _Sign:
    """Says from time to time what is being done and for how long, on a thread of its own."""

    def __init__(self, doing: str, place: _Place) -> None:
        self._doing = _harmless(doing)
        self._place = place
        self._began = time.monotonic()
        self._change = threading.Condition()
        self._ended = False

    def begin(self) -> None:
        with contextlib.suppress(RuntimeError):  # Python 3.12 starts no thread at the interpreter's exit
            threading.Thread(target=self._go_on, name="tracelet-sign", daemon=True).start()

    def end(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify()
            self._place.clear()

    def _go_on(self) -> None:
        with self._change:
            while not self._change.wait_for(lambda: self._ended, _EVERY):
                self._place.show(f"tracelet: {self._doing}, {time.monotonic() - self._began:.0f} s")


@contextlib.contextmanager
def sign_of_life(doing: str) -> Iterator[None]:
    """Show meanwhile what is being done, such as ``"listing 'digits'"``, from the first second on."""
    with _alone() as alone:
        place = _watched() if alone else None
        if place is None:
            yield
            return
        sign = _Sign(doing, place)
        sign.begin()
        try:
            yield
        finally:
            sign.end()


def note(text: str) -> None:
    """Show a line that stays, such as ``"captured 2 artifacts: …"``."""
    place = _watched()
    if place is not None:
        place.leave(f"tracelet: {_harmless(text)}")


@contextlib.contextmanager
def without_signs() -> Iterator[None]:
    """Show no signs meanwhile: the caller shows something of its own."""
    with _alone():
        yield


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    alone = _SHOWING.acquire(blocking=False)
    try:
        yield alone
    finally:
        if alone:
            _SHOWING.release()
