"""A page of 2,000 versions: made, and opened in Chromium until it is drawn: ``python benchmarks/report_page.py``."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tracelet import ArtifactType, Experiment, ExperimentConfig, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tracelet-core" / "tests"))
from browsing import browser

VERSIONS = 2_000
VIEWS = ("gallery", "timelines", "lineage", "numbers", "sizes")


def store(config: ExperimentConfig) -> Experiment:
    with Experiment("many", artifacts=True, config=config) as exp:
        for number in range(VERSIONS):
            artifact = exp.create_artifact(f"name-{number % 40}", ArtifactType.MODEL)
            artifact.metadata.update({"metrics": {f"m{key}": number / (key + 1) for key in range(20)}})
            exp.log_artifact(artifact.add_object({"number": number, "text": "x" * 500}, "settings"))
    return Experiment("many", artifacts=True, config=config)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        experiment = store(ExperimentConfig(dir=Path(name) / "tracelet"))
        began = time.perf_counter()
        made = report(experiment, Path(name) / "page.html")
        print(
            f"made of {made.versions:,} versions, {made.size_bytes / 1e6:.1f} MB: {time.perf_counter() - began:.1f} s"
        )
        with browser() as tab:
            for view in VIEWS:
                times = []
                for _ in range(3):
                    tab.open("about:blank")
                    began = time.perf_counter()
                    tab.open(f"{made.path.as_uri()}#{view}")
                    times.append(time.perf_counter() - began)
                print(f"opened at {view}: {1000 * statistics.median(times):.0f} ms (budget 2,000 ms)")


if __name__ == "__main__":
    main()
