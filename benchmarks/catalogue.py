"""10,000 versions in the embedded backend: ``python benchmarks/catalogue.py``."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tracelet import ArtifactType, Experiment, ExperimentConfig

VERSIONS = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        config = ExperimentConfig(dir=Path(name) / "tracelet")
        began = time.perf_counter()
        with Experiment("many", artifacts=True, config=config) as exp:
            for number in range(VERSIONS):
                artifact = exp.create_artifact(f"name{number % 10}", ArtifactType.CONFIG).add_object(number, "number")
                artifact.metadata["loss"] = number / VERSIONS
                exp.log_artifact(artifact)
        print(
            f"logged {VERSIONS:,} versions of 10 names: {1000 * (time.perf_counter() - began) / VERSIONS:.1f} ms each"
        )
        reader = Experiment("many", artifacts=True, config=config)
        listing, filtering, latest = [], [], []
        for _ in range(3):
            began = time.perf_counter()
            assert len(reader.list_artifacts()) == VERSIONS
            listing.append(time.perf_counter() - began)
            began = time.perf_counter()
            assert len(reader.list_artifacts(where="loss < 0.3")) == 0.3 * VERSIONS
            filtering.append(time.perf_counter() - began)
        for number in range(30):
            began = time.perf_counter()
            assert reader.get_artifact(f"name{number % 10}").version == f"v{VERSIONS // 10 - 1}"
            latest.append(time.perf_counter() - began)
        print(f"list_artifacts: {1000 * statistics.median(listing):.0f} ms (budget 1,000 ms)")
        print(f"list_artifacts where: {1000 * statistics.median(filtering):.0f} ms (budget 1,000 ms)")
        print(f"get_artifact latest: {1000 * statistics.median(latest):.2f} ms (budget 10 ms)")


if __name__ == "__main__":
    main()
