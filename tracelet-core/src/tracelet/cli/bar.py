"""The progress bar on a terminal. It appears where a command takes a while, and what draws it is imported then."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tracelet.core.system.signs import without_signs

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar", "above", "progress"]

#: Seconds until the bar appears. Most commands are done before, and need nothing that draws.
_AFTER = 0.2
#: The bars that are on, the innermost last.
_ON: list[Bar] = []


class Bar:
    """What is being done, and how much of it is done. Several threads may tell it."""

    def __init__(self, doing: str) -> None:
        #: Whether a person sees it.
        self.is_watched = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._doing = doing
        self._done = 0
        self._total: int | None = None
        self._drawn: tuple[Progress, TaskID] | None = None

    def update(
        self, doing: str | None = None, *, total: int | None = None, done: int | None = None, more: int = 0
    ) -> None:
        """Tell what is being done now, of how many steps, and how many of them are done in all, or ``more`` than before."""
        with self._lock:
            self._doing = self._doing if doing is None else doing
            self._total = self._total if total is None else total
            self._done = (self._done if done is None else done) + more
            if self._drawn is not None:
                bar, task = self._drawn
                bar.update(task, description=self._doing, total=self._total, completed=self._done)

    def begin(self) -> None:
        """Show it from now on, where somebody watches."""
        if self.is_watched:
            threading.Thread(target=self._appear, name="tracelet-bar", daemon=True).start()

    def end(self) -> None:
        """Take it off the terminal."""
        self._ended.set()
        with self._lock:
            if self._drawn is not None:
                self._drawn[0].stop()
                self._drawn = None

    def above(self, text: str, style: str) -> bool:
        """Write a line above the bar; False where there is none to see."""
        drawn = self._drawn
        if drawn is None:
            return False
        from rich.text import Text

        drawn[0].console.print(Text(text, style), soft_wrap=True)
        return True

    def _appear(self) -> None:
        if self._ended.wait(_AFTER):
            return
        with contextlib.suppress(ModuleNotFoundError):  # without rich there is no bar
            bar = _drawing()
            with self._lock:
                if not self._ended.is_set():
                    self._drawn = bar, bar.add_task(self._doing, total=self._total, completed=self._done)
                    bar.start()


def _drawing() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class Terminal(Console):
        def on_broken_pipe(self) -> Any:
            """Leave the end of the program to the command. Versions of rich without such a method do that, too."""
            raise

    return Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Terminal(stderr=True, highlight=False),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextlib.contextmanager
def progress(doing: str) -> Iterator[Bar]:
    """Give a progress bar on stderr. It is shown only on a terminal, and disappears at the end."""
    bar = Bar(doing)
    with without_signs():
        _ON.append(bar)
        bar.begin()
        try:
            yield bar
        finally:
            bar.end()
            _ON.remove(bar)


def above(text: str, style: str) -> bool:
    """Write a line of stderr above the bar that is shown; False where none is."""
    return bool(_ON) and _ON[-1].above(text, style)
