"""Log one artifact of several kinds of things, and get it back: ``python examples/basic_artifact_example.py``.

It needs nothing but tracelet-core, and keeps what it logs in ``.tracelet/`` of the current folder. Run it twice: the
second run logs the same content again, so there is still one version.
"""

from __future__ import annotations

import csv
import logging
import tempfile
from pathlib import Path

from tracelet import ArtifactType, Experiment


def write_metrics(folder: Path) -> Path:
    path = folder / "metrics.csv"
    with path.open("w", newline="") as stream:
        rows = [(epoch, round(1 / (epoch + 1), 4)) for epoch in range(10)]
        csv.writer(stream).writerows([("epoch", "loss"), *rows])
    return path


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, Experiment("basic", artifacts=True) as exp:
        report = exp.create_artifact("experiment_results", ArtifactType.REPORT, "Loss of a run that went well")
        report.add_file(write_metrics(Path(folder)), "data/metrics.csv", "Loss by epoch")
        report.add_object({"learning_rate": 0.001, "batch_size": 32}, "hyperparameters")
        report.add_reference(
            "https://example.org/dataset.tar.gz", size_bytes=5_000_000, description="What it learned from"
        )
        report.metadata["final_loss"] = 0.1
        results = exp.log_artifact(report, aliases=["best"])
        for backend, result in results.items():
            what = "stored" if result.created else "had that content already, as"
            print(f"{backend} {what} {result.version}: {result.size_bytes:,} bytes, sha256 {result.digest[:12]}")

    # From here on this could be another process, on any machine that reaches the same backend.
    stored = Experiment("basic", artifacts=True).get_artifact("experiment_results", "best")
    print(f"{stored.name} {stored.version} ({stored.type.value}): {stored.description}")
    print(f"hyperparameters: {stored.load_object('hyperparameters')}, final loss: {stored.metadata['final_loss']}")
    with stored.open("data/metrics.csv") as stream:
        print(f"first line of the metrics: {stream.readline().decode().strip()}")
    for reference in stored.references:
        print(f"refers to {reference.uri} ({reference.size_bytes:,} bytes)")


if __name__ == "__main__":
    main()
