"""``import tracelet`` over bare Python, beside the SDKs that are installed: ``python benchmarks/import_time.py``."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time

RUNS = 7
CANDIDATES = {
    "bare Python": "pass",
    "import tracelet": "import tracelet",
    "from tracelet import Experiment": "from tracelet import Experiment",
    "Experiment(...) and discovery": "from tracelet import Experiment; Experiment('x', artifacts=True)",
    **{
        f"import {sdk}": f"import {sdk}"
        for sdk in ("mlflow", "wandb", "clearml", "aim", "torch")
        if importlib.util.find_spec(sdk)
    },
}


def seconds(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    medians = {}
    for name, program in CANDIDATES.items():
        seconds(program)
        runs = RUNS if program.count("tracelet") or program == "pass" else 3
        medians[name] = statistics.median(seconds(program) for _ in range(runs))
    bare = medians["bare Python"]
    ours = medians["import tracelet"] - bare
    print(f"{'':<34}{'median ms':>10}{'over bare':>11}{'x tracelet':>12}")
    for name, took in medians.items():
        over = took - bare
        ratio = f"{over / ours:,.1f}" if name != "bare Python" else ""
        print(f"{name:<34}{1000 * took:>10.1f}{1000 * over:>11.1f}{ratio:>12}")


if __name__ == "__main__":
    main()
