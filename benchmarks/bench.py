"""Every benchmark that has a budget, in one run: ``python benchmarks/bench.py``, or ``nox -s bench``.

After them come the series of `growth.py`. Writes a table and JSON into ``benchmarks/results/``; the files' name is the date. Exit code 1: something could not be
measured. A budget that is not met is said in the table, and is no failure: what a shared machine takes is no proof.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import growth
import measuring

#: Modules with lines, in the order of the table.
MODULES = (
    "import_time",
    "local",
    "trackers",
    "bucket",
    "processes",
    "commands",
    "catalogue",
    "torch_save",
    "lightning_step",
    "watcher",
)
PACKAGES = ("tracelet-core", "mlflow", "wandb", "clearml", "aim", "torch", "lightning")
RESULTS = Path(__file__).with_name("results")


def filesystem(folder: Path) -> str:
    """The kind of filesystem that a folder is on."""
    found = ""
    best = Path()
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.is_relative_to(place) and len(Path(place).parts) >= len(best.parts):
            found, best = kind, Path(place)
    return found


def surroundings(*, quick: bool) -> dict[str, Any]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "quick": quick,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "filesystem": filesystem(Path.cwd()),
        "kernel": platform.release(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def in_words(there: dict[str, Any], load_after: float) -> str:
    """The same in two sentences, for the table."""
    packages = ", ".join(f"{name} {version}" for name, version in there["versions"].items())
    return (
        f"{there['date'][:10]}, {'quick' if there['quick'] else 'full'} run: medians, and from the least to the most. "
        f"Python {there['python']}, {packages}. {there['cores']} cores, {there['memory_gb']} GB of memory, "
        f"{there['filesystem']}, Linux {there['kernel']}; the load was {there['load'][0]} at the beginning and "
        f"{load_after:.1f} at the end.\n"
    )


def main() -> None:
    chosen = growth.options(measuring.options(__doc__)).parse_args()
    every = [line for name in MODULES for line in importlib.import_module(name).lines(quick=chosen.quick)]
    some = growth.chosen_series(chosen)
    lines = measuring.chosen_lines(every, chosen.only, others=[one.name for one in some])
    if chosen.list:
        print("\n".join(one.name for one in [*lines, *some]))
        return
    there = surroundings(quick=chosen.quick)
    measuring.end_servers_when_ended()
    failed = bool(lines) and measure_lines(lines, chosen, there)
    if some:
        print(growth.measure_all(some, chosen, there), end="")
    sys.exit(failed)


def measure_lines(lines: Sequence[measuring.Line], chosen: argparse.Namespace, there: dict[str, Any]) -> bool:
    """Measure lines, and keep table and JSON after each; return whether one could not be measured."""
    RESULTS.mkdir(exist_ok=True)
    # A part of the lines is never taken for all of them.
    name = there["date"][:10] + ("-quick" if chosen.quick else "") + ("-part" if chosen.only else "")

    def keep(outcomes: list[measuring.Outcome]) -> None:
        missing = len(lines) - len(outcomes)
        more = f"\n{missing} lines were not measured: the run was ended before.\n" if missing else ""
        words = in_words(there, os.getloadavg()[0])
        (RESULTS / f"{name}.md").write_text(f"{words}\n{measuring.table(outcomes)}{more}")
        told = {**there, "lines": measuring.as_json(outcomes)}
        (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")

    outcomes = measuring.measure_all(lines, quick=chosen.quick, keep=keep)
    print((RESULTS / f"{name}.md").read_text(), end="")
    return any(outcome.failure for outcome in outcomes)


if __name__ == "__main__":
    main()
