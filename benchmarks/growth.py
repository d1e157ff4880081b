"""How jobs grow with what is stored: ``python benchmarks/growth.py``, or ``nox -s bench -- --only growth``.

Each series does the same jobs with ten times as much, and ten times as much again, in several ways that take turns. What
comes of it is a table, with the slope of log(least time) over log(n) in the upper half of the points, JSON, and plots.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import measuring
import plots
from files import MB
from measuring import OURS, LineFailed, Place, Way, Worker, nowhere, shown
from places import PLACES

PLAIN, COPY = "plain SDK", "plain copy"
RESULTS = Path(__file__).with_name("results")
#: How long a full run, and a quick one, may take by itself, in minutes.
MINUTES, QUICK_MINUTES = 40.0, 8.0
#: As many rounds as that at least, if there is time; and more, up to so many, as long as they take no longer than that.
_ROUNDS, _QUICK_ROUNDS = 7, 3
_MANY_ROUNDS, _SHORT = 31, 2.0


@attrs.frozen
class Measure:
    """What is measured at each point, and how it may grow."""

    title: str
    unit: str
    #: The largest slope: 1 and a little for what is done with all, 0 and a little for what is done with one.
    slope: float
    #: Whether more is better, and `slope` the smallest.
    falls: bool = False

    def breaks(self, slope: float) -> bool:
        """Whether such a slope is worse than it may be."""
        return slope < self.slope if self.falls else slope > self.slope

    @property
    def word(self) -> str:
        """What it is called when it breaks that."""
        if self.falls:
            return "fewer by more at once"
        return "grows faster than linear" if self.slope > 1 else "slower among more"


def one(title: str) -> Measure:
    """A job done with one among many. Twice as long among a hundred times as many is a shared machine's noise."""
    return Measure(title, "s", 0.15)


def every(title: str) -> Measure:
    """A job done with all."""
    return Measure(title, "s", 1.1)


@attrs.frozen
class Series:
    """One job for more and more. Each point is processes of its own, unless what is stored is logged on to (`grows`)."""

    name: str
    title: str
    axis: str
    points: Sequence[int]
    measures: Mapping[str, Measure]
    ways: Mapping[str, Way]
    #: Its part of the time.
    weight: float
    grows: bool = False
    #: Whether the processes serve every point.
    lasting: bool = False
    #: Whether the processes come to their own end; ClearML's takes minutes to see which packages it used.
    ended: bool = True
    #: The argument of the ways that is the point, where each point has processes of its own.
    argument: str = "n"
    place: Place = nowhere
    environ: Mapping[str, str] = attrs.field(factory=dict)


def _peer(peers: Path | None, which: str, function: str, arguments: Mapping[str, Any] | None = None) -> Way:
    python = str(peers / which / "bin" / "python") if peers else ""
    return Way(f"growth_peers:{which}_{function}", arguments or {}, python=python)


@contextlib.contextmanager
def _all_backends(folder: Path) -> Iterator[dict[str, str]]:
    found: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for place in ("wandb-offline", "clearml-offline", "mlflow-disk", "aim-disk"):
            found.update(stack.enter_context(PLACES[place](folder)))
        yield found


def _decades(first: int, last: int) -> tuple[int, ...]:
    return tuple(10**power for power in range(round(math.log10(first)), round(math.log10(last)) + 1))


def series(*, quick: bool, peers: Path | None) -> list[Series]:
    growing = {"log": one("one more logged"), "get": one("one got by its name"), "list": every("all listed")}
    stored = {"log": every("logged"), "get": every("got"), "memory": Measure("peak memory of the process", "B", 0.15)}
    total = 32 if quick else 160

    def ours(function: str, arguments: Mapping[str, Any] | None = None) -> Way:
        return Way(f"growth_ways:{function}", arguments or {})

    files, size = {"size": 1000}, {"count": 1}
    found = [
        Series(
            "growth-versions",
            "Versions of a name in `local`",
            "versions that are there",
            _decades(10, 1_000 if quick else 100_000),
            growing,
            {OURS: ours("versions", {"backend": "local"}), "trackio": _peer(peers, "trackio", "versions")},
            10,
            grows=True,
        ),
        Series(
            "growth-names",
            "Names in an experiment of `local`",
            "names that are there",
            _decades(10, 1_000 if quick else 100_000),
            growing,
            {OURS: ours("names"), "trackio": _peer(peers, "trackio", "names"), "DVC": _peer(peers, "dvc", "names")},
            10,
            grows=True,
        ),
        Series(
            "growth-files",
            "Files of 1 KB in an artifact of `local`",
            "files",
            _decades(1, 1_000 if quick else 100_000),
            stored,
            {
                OURS: ours("stored", files),
                "trackio": _peer(peers, "trackio", "storing", files),
                "DVC": _peer(peers, "dvc", "storing", files),
                COPY: ours("copied", files),
            },
            7,
            argument="count",
        ),
        Series(
            "growth-bytes",
            "Bytes of a file in `local`",
            "bytes",
            (*_decades(1_000, 10_000_000), *(() if quick else (100 * MB, 1_000 * MB, 4_000 * MB))),
            stored,
            {
                OURS: ours("stored", size),
                "trackio": _peer(peers, "trackio", "storing", size),
                "DVC": _peer(peers, "dvc", "storing", size),
                COPY: ours("copied", size),
            },
            6,
            argument="size",
        ),
        Series(
            "growth-mlflow",
            "Versions of a name in MLflow, a real server",
            "versions that are there",
            (10, 100) if quick else (10, 100, 1_000, 2_000),
            growing,
            {OURS: ours("versions", {"backend": "mlflow"}), PLAIN: ours("mlflow_versions")},
            4,
            grows=True,
            place=PLACES["mlflow-server"],
        ),
        Series(
            "growth-backends",
            "Backends at once: `local`, MLflow, W&B offline, ClearML offline, Aim",
            "backends",
            (1, 2, 3, 4, 5),
            {"log": every("1 KB logged")},
            {OURS: ours("into_backends"), f"{PLAIN}s, one after the other": ours("into_sdks")},
            3,
            ended=False,
            place=_all_backends,
        ),
        Series(
            "growth-at-once",
            "Threads and processes that log to `local` at once",
            "threads or processes",
            (1, 2, 4, 8, 16),
            {"rate": Measure("artifacts of 1 KB", "1/s", -0.15, falls=True)},
            {f"{OURS}, {how}": ours(how, {"total": total}) for how in ("threads", "processes")}
            | {f"trackio, {how}": _peer(peers, "trackio", how, {"total": total}) for how in ("threads", "processes")},
            2,
            lasting=True,
        ),
        Series(
            "growth-outbox",
            "Deliveries that wait in the outbox",
            "deliveries that wait",
            (0, *_decades(1, 100 if quick else 10_000)),
            {
                "submit": one("one more submitted"),
                "start": every("`start()`"),
                "sync": every("all delivered by `tracelet sync`"),
            },
            {OURS: ours("outbox")},
            5,
        ),
    ]
    environ = {
        "TRACELET_ON_LARGE": "upload",
        "TRACELET_DEADLINE": "600",
        "TRACELET_BACKEND": "local",
        "TRACKIO_DIR": "{own}/trackio",
        "HF_HUB_OFFLINE": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": "{own}/site",
        "DVC_GLOBAL_CONFIG_DIR": "{own}/config",
    }
    return [attrs.evolve(one, environ=environ) for one in found]


class _Run:
    """A series while it is measured: its processes, what they took, and which of them had to give up, and why."""

    def __init__(self, what: Series, folder: Path, environ: Mapping[str, str], *, quick: bool, limit: float) -> None:
        self._what = what
        self._folder = folder
        self._environ = environ
        self._rounds = _QUICK_ROUNDS if quick else _ROUNDS
        self._limit = limit
        self._end = time.monotonic() + limit
        self._workers: dict[str, Worker] = {}
        self._begun = 0
        self._asked = 0
        self.points: dict[str, list[dict[str, Any]]] = {name: [] for name in what.ways}
        self.over: dict[str, str] = {}
        for name, way in what.ways.items():
            if not Path(way.python).is_file():
                self.over[name] = "not installed"

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def measure(self) -> None:
        """Go from point to point, as far as the time suffices."""
        took, before = 0.0, 0
        for n in self._what.points:
            alive = [name for name in self._what.ways if name not in self.over]
            # The next point takes so many times as long as its size; the small ones all take next to nothing.
            more = 1.0 if self._what.lasting else n / before if before else 0.0
            next_takes = took * more if took > 1 else 0.0
            if not self._what.grows and next_takes > self.left:
                self.over.update((name, f"not tried from {n:,} on: the time is too short") for name in alive)
            if not alive or set(alive) <= set(self.over):
                break
            took, before = self._point(n, alive), n
            if not self._what.grows and not self._what.lasting:
                self.end()

    def _point(self, n: int, alive: Sequence[str]) -> float:
        """Measure one point; return how long one round of it takes."""
        reached = dict.fromkeys(alive, n)
        for name in alive:
            self._guard(name, n, lambda name=name: self._begin(name, n))
        if self._what.grows:
            limit = self.left * 0.9
            asked = [name for name in alive if name not in self.over]
            for name in asked:
                self._workers[name].send(self._next(), {"n": n, "grow": True, "limit": limit, "patient": name == OURS})
            for name in asked:
                self._guard(name, n, lambda name=name: reached.update({name: self._workers[name].answer()["reached"]}))
        taken: dict[str, dict[str, list[float]]] = {name: {} for name in alive}
        began, rounds = time.monotonic(), 0
        # One point takes a fourth of the time that is left, or one round.
        share = self.left / 4
        while not rounds or (rounds < _MANY_ROUNDS and time.monotonic() - began < share):
            for name in alive:
                if name not in self.over:
                    self._guard(name, n, lambda name=name: self._once(name, n, taken[name]))
            rounds += 1
            if rounds >= self._rounds:
                share = min(share, _SHORT)
        lasted = (time.monotonic() - began) / rounds
        for name in alive:
            if taken[name]:
                spreads = {key: attrs.asdict(measuring.spread_of(some)) for key, some in taken[name].items()}
                self.points[name].append({"n": reached[name], **spreads})
            if reached[name] < n and name not in self.over:
                self.over[name] = f"reached {reached[name]:,} of {n:,}: the time is too short for more"
        said = "; ".join(
            f"{name} {', '.join(f'{key} {self._shown(key, statistics.median(some))}' for key, some in taken[name].items())}"
            for name in alive
            if taken[name]
        )
        print(f"{self._what.name} {n:,}: {said} [{rounds} x {lasted:.1f} s]", file=sys.stderr, flush=True)
        return lasted

    def _shown(self, key: str, value: float) -> str:
        return in_unit(value, self._what.measures[key].unit)

    def _next(self) -> int:
        self._asked += 1
        return self._asked

    def _begin(self, name: str, n: int) -> None:
        if name in self._workers:
            return
        way = self._what.ways[name]
        if not self._what.grows and not self._what.lasting:
            way = attrs.evolve(way, arguments={**way.arguments, self._what.argument: n})
        self._begun += 1
        self._workers[name] = worker = Worker(name, way, self._folder / f"way-{self._begun}", self._environ)
        worker.answer()

    def _once(self, name: str, n: int, taken: dict[str, list[float]]) -> None:
        job = {"n": n} if self._what.grows or self._what.lasting else {}
        for key, value in self._workers[name].ask(self._next(), job).items():
            taken.setdefault(key, []).append(value)

    def _guard(self, name: str, n: int, do: Callable[[], object]) -> None:
        """What hinders one way does not hinder the others."""
        try:
            do()
        except LineFailed as error:
            self.over[name] = f"failed at {n:,}: {error}"
            print(f"{self._what.name} {n:,}: {error}", file=sys.stderr, flush=True)
            if name in self._workers:
                self._workers.pop(name).kill()

    def end(self) -> None:
        """Let all processes end, and free the disk."""
        for worker in self._workers.values():
            if self._what.ended:
                worker.end()
        self.kill()

    def kill(self) -> None:
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()
        for folder in self._folder.glob("way-*"):
            shutil.rmtree(folder, ignore_errors=True)


def measure(what: Series, *, quick: bool, limit: float) -> dict[str, Any]:
    """Measure a series, in so many seconds or a little more; what came of it is plain data."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=Path.cwd()))
    (folder / "server").mkdir()
    began = time.monotonic()
    try:
        with what.place(folder / "server") as leading:
            run = _Run(what, folder, {**leading, **what.environ}, quick=quick, limit=limit)
            try:
                run.measure()
                run.end()
            finally:
                run.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "name": what.name,
        "title": what.title,
        "axis": what.axis,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "measures": {
            key: {**attrs.asdict(one), "word": one.word, "slopes": _slopes(run.points, key, falls=one.falls)}
            for key, one in what.measures.items()
        },
        "ways": {name: {"over": run.over.get(name, ""), "points": run.points[name]} for name in what.ways},
    }


def _slopes(points: Mapping[str, Sequence[Mapping[str, Any]]], key: str, *, falls: bool) -> dict[str, float]:
    """How fast what is measured grows, for each way of which there is more than a point."""
    found = {}
    for name, some in points.items():
        # What else a machine does only adds to a time, and takes from a rate.
        best = "most" if falls else "least"
        slope = fitted([(point["n"], point[key][best]) for point in some if key in point])
        if slope is not None:
            found[name] = round(slope, 2)
    return found


def fitted(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of log(y) over log(x) in the upper half of the points: at the small ones, what is the same for all counts most."""
    some = [(math.log(x), math.log(y)) for x, y in points if x > 0]
    upper = some[len(some) // 2 :] if len(some) > 3 else some[-2:]
    if len(upper) < 2:
        return None
    return statistics.linear_regression([x for x, _ in upper], [y for _, y in upper]).slope


def in_unit(value: float, unit: str) -> str:
    if unit == "s":
        return shown(value)
    return f"{value / MB:,.0f} MB" if unit == "B" else f"{value:,.0f}/s"


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of all series, and what grows as it should not."""
    rows = ["| job | way | least | most | slope |", "| --- | --- | --- | --- | --- |"]
    broken, over = [], []
    for one in found:
        for key, measure_ in one["measures"].items():
            for name, way in one["ways"].items():
                points = [(point["n"], point[key]["median"]) for point in way["points"] if key in point]
                if not points:
                    continue
                slope = measure_["slopes"].get(name)
                first, last = (f"{in_unit(value, measure_['unit'])} at {n:,}" for n, value in (points[0], points[-1]))
                job = f"{one['title']}: {measure_['title']}"
                rows.append(f"| {job} | {name} | {first} | {last} | {'' if slope is None else f'{slope:.2f}'} |")
                rule = Measure(measure_["title"], measure_["unit"], measure_["slope"], measure_["falls"])
                if slope is not None and rule.breaks(slope) and name.startswith(OURS):
                    broken.append(
                        f"- {job}, {name}: {rule.word}: the slope is {slope:.2f}, where {rule.slope:g} is the limit"
                    )
        over += [f"- {one['title']}, {name}: {way['over']}" for name, way in one["ways"].items() if way["over"]]
    told = (
        ["These grow as they should not:", "", *broken]
        if broken
        else ["Nothing of Tracelet's grows faster than linear, and nothing is found by its name slower among more."]
    )
    return "\n".join([*rows, "", *told, *(["", "Not measured to the end:", "", *over] if over else [])]) + "\n"


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what these series can be asked."""
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"how long all series may take; {MINUTES:g} minutes, or {QUICK_MINUTES:g} if quick",
    )
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where DVC and trackio have their environments")
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="where the plots go; beside the results if not said"
    )
    return parser


def chosen_series(chosen: argparse.Namespace) -> list[Series]:
    """The series that were asked for, which may be none."""
    peers = chosen.peers.absolute() if chosen.peers else None
    every_one = series(quick=chosen.quick, peers=peers)
    return [one for one in every_one if not chosen.only or any(part in one.name for part in chosen.only.split(","))]


def measure_all(some: Sequence[Series], chosen: argparse.Namespace, there: Mapping[str, Any]) -> str:
    """Measure series, and keep table, JSON and plots after each; return the table."""
    minutes = chosen.minutes or (QUICK_MINUTES if chosen.quick else MINUTES)
    end = time.monotonic() + minutes * 60
    part = len(some) < len(series(quick=chosen.quick, peers=None))
    name = there["date"][:10] + ("-quick" if chosen.quick else "") + "-growth" + ("-part" if part else "")
    RESULTS.mkdir(exist_ok=True)
    found: list[dict[str, Any]] = []
    for number, one in enumerate(some):
        # What one series leaves of its time, the others have.
        share = one.weight / sum(other.weight for other in some[number:])
        limit = max((end - time.monotonic()) * share, 1.0)
        try:
            found.append(measure(one, quick=chosen.quick, limit=limit))
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            print(f"{one.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        (RESULTS / f"{name}.md").write_text(table(found))
        (RESULTS / f"{name}.json").write_text(json.dumps({**there, "series": found}, indent=1) + "\n")
        plots.draw(found[-1], chosen.plots or RESULTS)
    return table(found)


def main() -> None:
    from bench import surroundings

    chosen = options(measuring.options(__doc__)).parse_args()
    some = chosen_series(chosen)
    if chosen.list:
        print("\n".join(one.name for one in some))
        return
    measuring.end_servers_when_ended()
    print(measure_all(some, chosen, surroundings(quick=chosen.quick)), end="")


if __name__ == "__main__":
    main()
