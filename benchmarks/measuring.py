"""What every benchmark shares: ways to do one job take turns, and what came of it becomes a table and JSON.

A line of the table compares ways to do one job, of which the first is Tracelet's. Each way is a process of its own, in a
folder of its own, so that no import and no cache of one helps or hinders another. All are prepared first; then each does
the job once, in turn (A B C A B C …), because a shared machine is not always as fast.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from timing import seconds as seconds  # every module of lines needs it

OURS = "Tracelet"
#: How long preparing, one job, or the end may take, in seconds.
LIMIT = 900.0
#: Variables of this shell that would lead a tracker elsewhere, and one that has each process compile our
#: sources again, as no user's process does.
_FOREIGN = ("MLFLOW_", "TRACELET_", "WANDB_", "CLEARML_", "AIM_", "AWS_", "PYTHONDONTWRITEBYTECODE")
_WORKER = Path(__file__).with_name("worker.py")

#: A job that is done once; returns the seconds it took, or those of several ways that take turns within one process.
Step = Callable[..., "float | dict[str, float]"]
Times = Mapping[str, Sequence[float]]
#: Gives the variables that lead to a server, as long as it serves.
Place = Callable[[Path], AbstractContextManager[dict[str, str]]]


class LineFailed(Exception):
    """A way could not do its job; the text says which, and why."""


@attrs.frozen
class Way:
    """A function, as ``module:name``, that yields a step; what it is called with, and what each step is called with."""

    function: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)
    job: Mapping[str, Any] = attrs.field(factory=dict)
    #: The Python that runs it.
    python: str = sys.executable

    @property
    def process(self) -> str:
        """Ways with the same may be one process, with other jobs."""
        return f"{self.function} {json.dumps(dict(self.arguments))}"


@attrs.frozen
class Budget:
    """What Tracelet may take, in seconds, given the medians of the ways beside it."""

    text: str
    limit: Callable[[Mapping[str, float]], float]


def at_most(seconds: float) -> Budget:
    """So many seconds, whatever the others take."""
    return Budget(shown(seconds), lambda medians: seconds)


def times(ratio: float, other: str) -> Budget:
    """So many times what another way takes."""
    return Budget(f"{ratio:g} x {other}", lambda medians: ratio * medians[other])


def beside(other: str, more: float) -> Budget:
    """What another way takes, and so many seconds more."""
    return Budget(f"{other} + {shown(more)}", lambda medians: medians[other] + more)


def together(*others: str) -> Budget:
    """What other ways take, one after the other."""
    return Budget(" + ".join(others), lambda medians: sum(medians[other] for other in others))


@contextlib.contextmanager
def nowhere(folder: Path) -> Iterator[dict[str, str]]:
    """Need no server."""
    yield {}


@attrs.frozen
class Line:
    """One line of the table. Steps that are not counted come first: `warm` of each way."""

    name: str
    title: str
    ways: Mapping[str, Way]
    budget: Budget | None = None
    place: Place = nowhere
    warm: int = 1
    rounds: int = 7
    quick_rounds: int = 3
    environ: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Spread:
    """What all times of one way come to, in seconds."""

    median: float
    least: float
    most: float
    count: int


@attrs.frozen
class Outcome:
    """A line that was measured, or why it was not."""

    line: Line
    spreads: Mapping[str, Spread] = attrs.field(factory=dict)
    failure: str = ""

    def ratio(self, other: str) -> float:
        """How many times as long as another way Tracelet takes."""
        return self.spreads[OURS].median / self.spreads[other].median

    @property
    def limit(self) -> float | None:
        """The budget in seconds."""
        if self.line.budget is None or self.failure:
            return None
        return self.line.budget.limit({name: spread.median for name, spread in self.spreads.items()})

    @property
    def met(self) -> str:
        """A word: yes, no, failed, or nothing if there is no budget."""
        if self.failure:
            return "failed"
        if self.limit is None:
            return ""
        return "yes" if self.spreads[OURS].median <= self.limit else "no"


def spread_of(taken: Sequence[float]) -> Spread:
    return Spread(statistics.median(taken), min(taken), max(taken), len(taken))


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any tracker's own variables, and `extra`."""
    return {**{key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}, **extra}


class Worker:
    """The process of one way, which does its job once each time that it is asked."""

    def __init__(self, name: str, way: Way, folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True)
        self._name = name
        self._log = folder / "worker.log"
        # What a way keeps for itself is below its folder.
        own = {key: value.replace("{own}", str(folder)) for key, value in environ.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [way.python, str(_WORKER), way.function, json.dumps(dict(way.arguments))],
                cwd=folder,
                env=clean_environment({"TRACELET_DIR": str(folder / "tracelet"), **own}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def ask(self, number: int, job: Mapping[str, Any]) -> Any:
        """Order a job with this number, and wait for what it took."""
        self.send(number, job)
        return self.answer()

    def send(self, number: int, job: Mapping[str, Any]) -> None:
        """Order a job with this number."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write((json.dumps({"number": number, **job}) + "\n").encode())
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for what it says next: that it is ready, or what a job took."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], LIMIT)[0]:
            raise LineFailed(f"{self._name}: no answer in {LIMIT:.0f} s")
        said = self._process.stdout.readline()
        if not said:
            raise LineFailed(f"{self._name}: {self._last_words()}")
        return json.loads(said)

    def _last_words(self) -> str:
        # Its answers end before its traceback is written.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=LIMIT)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "ended without a word"

    def end(self) -> None:
        """Let it end, and wait for that; end it if it does not."""
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=LIMIT)
            return
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What was not read any more may be left in it.
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


class Workers:
    """The processes of a place. Lines share them, because a tracker takes seconds to import and to connect."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._workers: dict[str, Worker] = {}
        self._begun = 0

    def compare(self, ways: Mapping[str, Way], rounds: int, warm: int) -> dict[str, list[float]]:
        """Prepare all ways, then let them take turns; return what each took."""
        taken: dict[str, list[float]] = {}
        for name, way in ways.items():
            if way.process not in self._workers:
                self._begun += 1
                folder = self._folder / f"way-{self._begun}"
                self._workers[way.process] = worker = Worker(name, way, folder, self._environ)
                worker.answer()
        for turn in range(warm + rounds):
            for name, way in ways.items():
                answer = self._workers[way.process].ask(turn, way.job)
                for key, value in (answer if isinstance(answer, dict) else {name: answer}).items():
                    if turn >= warm:
                        taken.setdefault(key, []).append(value)
        return taken

    def end(self) -> None:
        """Let all end, and wait for that."""
        try:
            for worker in self._workers.values():
                worker.end()
        finally:
            self.kill()

    def kill(self) -> None:
        """End all at once; the next line begins with new ones."""
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()


def measure(line: Line, workers: Workers, *, quick: bool) -> Outcome:
    """Measure a line; whatever hinders it is its failure, and the next one can go on."""
    began = time.perf_counter()
    try:
        taken = workers.compare(line.ways, line.quick_rounds if quick else line.rounds, line.warm)
        if line.place is nowhere:
            workers.end()
        outcome = Outcome(line, {name: spread_of(some) for name, some in taken.items()})
    except Exception as error:  # noqa: BLE001 - the others are measured all the same
        workers.kill()
        outcome = _failed(line, error)
    took = ", ".join(f"{name} {shown(spread.median)}" for name, spread in outcome.spreads.items())
    lasted = time.perf_counter() - began
    print(f"{line.name}: {outcome.failure or took} {outcome.met} [{lasted:.0f} s]", file=sys.stderr, flush=True)
    return outcome


def _failed(line: Line, error: Exception) -> Outcome:
    return Outcome(line, failure=str(error) if isinstance(error, LineFailed) else f"{type(error).__name__}: {error}")


def measure_all(
    lines: Sequence[Line], *, quick: bool, keep: Callable[[list[Outcome]], object] = lambda outcomes: None
) -> list[Outcome]:
    """Measure lines, those of one place together; say on stderr what comes of each, and return all in their order.

    What is there so far is given to `keep` after each line, for a run may be ended before it is done.
    """
    places: dict[tuple[Place, tuple[tuple[str, str], ...]], list[Line]] = {}
    for line in lines:
        places.setdefault((line.place, tuple(line.environ.items())), []).append(line)
    found: dict[str, Outcome] = {}
    for (place, environ), some in places.items():
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir=Path.cwd()))
        (folder / "server").mkdir()
        try:
            with place(folder / "server") as leading:
                workers = Workers(folder, {**leading, **dict(environ)})
                try:
                    for line in some:
                        found[line.name] = measure(line, workers, quick=quick)
                        keep([found[one.name] for one in lines if one.name in found])
                    workers.end()
                finally:
                    workers.kill()
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            found.update((line.name, _failed(line, error)) for line in some if line.name not in found)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return [found[line.name] for line in lines]


def shown(seconds: float) -> str:
    """A time with three digits, in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if abs(seconds) * factor >= 1:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _spread(spread: Spread) -> str:
    return f"{shown(spread.median)} ({shown(spread.least)} to {shown(spread.most)})"


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table, and what of it is not met."""
    rows = [
        "| job | Tracelet | beside | times as long | budget | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        budget = outcome.line.budget.text if outcome.line.budget else ""
        others = [name for name in outcome.spreads if name != OURS]
        ours = outcome.failure.replace("|", "\\|") if outcome.failure else _spread(outcome.spreads[OURS])
        theirs = "<br>".join(f"{name}: {_spread(outcome.spreads[name])}" for name in others)
        ratios = "<br>".join(f"{outcome.ratio(name):.2f}" for name in others)
        rows.append(f"| {outcome.line.title} | {ours} | {theirs} | {ratios} | {budget} | {outcome.met} |")
    return "\n".join([*rows, "", *_left_over(outcomes)]) + "\n"


def _left_over(outcomes: Sequence[Outcome]) -> list[str]:
    missed = [outcome for outcome in outcomes if outcome.met in ("no", "failed")]
    if not missed:
        return ["Every budget is met."]
    told = ["Not met:", ""]
    for outcome in missed:
        if outcome.limit is None:
            told.append(f"- {outcome.line.title}: it could not be measured")
        else:
            took = shown(outcome.spreads[OURS].median)
            told.append(f"- {outcome.line.title}: {took}, where {shown(outcome.limit)} is the budget")
    return told


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What was measured, for programs: times in seconds."""
    return [
        {
            "name": outcome.line.name,
            "title": outcome.line.title,
            "seconds": {name: attrs.asdict(spread) for name, spread in outcome.spreads.items()},
            "ratios": {name: round(outcome.ratio(name), 3) for name in outcome.spreads if name != OURS},
            "budget": outcome.line.budget.text if outcome.line.budget else None,
            "limit": outcome.limit,
            "met": outcome.met,
            "failure": outcome.failure or None,
        }
        for outcome in outcomes
    ]


def options(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark can be asked."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and smaller ones")
    parser.add_argument("--only", metavar="NAME", help="only lines whose name has this in it; commas between several")
    parser.add_argument("--list", action="store_true", help="print the names of the lines, and measure nothing")
    return parser


def end_servers_when_ended() -> None:
    """Have what was begun ended, too, if this process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def chosen_lines(lines: Sequence[Line], only: str | None, others: Sequence[str] = ()) -> list[Line]:
    """The lines that were asked for; all without a word, and none if it is others that are called so."""
    wanted = [line for line in lines if only is None or any(part in line.name for part in only.split(","))]
    if not wanted and not others:
        raise SystemExit(f"no line is called {only}; there are {', '.join(line.name for line in lines)}")
    return wanted


def main(module: ModuleType) -> None:
    """Measure the lines of one module, and print their table."""
    chosen = options(module.__doc__).parse_args()
    lines = chosen_lines(module.lines(quick=chosen.quick), chosen.only)
    if chosen.list:
        print("\n".join(line.name for line in lines))
        return
    end_servers_when_ended()
    outcomes = measure_all(lines, quick=chosen.quick)
    print(table(outcomes), end="")
    sys.exit(any(outcome.failure for outcome in outcomes))
