"""The embedded backend beside the same job by hand: ``python benchmarks/local.py``.

By hand means what a careful script would do without Tracelet: hash each file, copy it to its place, fsync it, and
write a manifest after it, fsynced too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tracelet import ArtifactType, Experiment, ExperimentConfig

MB = 1_000_000


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def by_hand(files: list[Path], store: Path) -> None:
    store.mkdir(parents=True)
    entries = {}
    for path in files:
        entries[path.name] = sha256(path)
        target = store / entries[path.name]
        with path.open("rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, MB)
            copy.flush()
            os.fsync(copy.fileno())
    with (store / "manifest.json").open("w") as manifest:
        json.dump(entries, manifest)
        manifest.flush()
        os.fsync(manifest.fileno())


def median(times: int, call: Callable[[], None]) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def row(name: str, ours: float, theirs: float | None = None, budget: str = "") -> None:
    ratio = f"{ours / theirs:.2f}" if theirs else ""
    hand = f"{1000 * theirs:.1f}" if theirs else ""
    print(f"{name:<44}{1000 * ours:>10.1f}{hand:>10}{ratio:>8}   {budget}")


def write(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        for start in range(0, size, MB):
            stream.write(os.urandom(min(MB, size - start)))
    # Older than the clock's tick, as files of a real run are when they are logged again.
    past = time.time() - 60
    os.utime(path, (past, past))
    return path


def main() -> None:
    logging.disable(logging.WARNING)
    print(f"{'':<44}{'ms':>10}{'by hand':>10}{'ratio':>8}   budget")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        config = ExperimentConfig(dir=folder / "tracelet", on_large="upload")
        exp = Experiment("bench", artifacts=True, config=config)
        row("start()", median(1, lambda: exp.start()), budget="50 ms")

        def log(files: list[Path], artifact_name: str) -> None:
            artifact = exp.create_artifact(artifact_name, ArtifactType.DATASET)
            for path in files:
                artifact.add_file(path)
            assert exp.log_artifact(artifact).ok

        def hand(files: list[Path]) -> None:
            by_hand(files, folder / "hand" / uuid.uuid4().hex)

        def fresh(size: int) -> list[Path]:
            return [write(folder / "fresh.bin", size)]

        small = [[write(folder / f"small-{number}.bin", 1000)] for number in range(40)]
        log(fresh(1000), "small")
        ours, theirs = iter(small), iter(small)
        row(
            "log_artifact, 1 KB",
            median(20, lambda: log(next(ours), "small")),
            median(20, lambda: hand(next(theirs))),
            "1.2 x",
        )
        many = [write(folder / f"many-{number:04}.bin", 1000) for number in range(1000)]
        row(
            "log_artifact, 1,000 files of 1 KB",
            median(1, lambda: log(many, "many")),
            median(1, lambda: hand(many)),
            "1.1 x",
        )
        row("the same 1,000 files again", median(3, lambda: log(many, "many")))
        large = fresh(500 * MB)
        sha256(large[0])
        first = median(1, lambda: log(large, "large"))
        row("log_artifact, 500 MB", first, median(2, lambda: hand(large)))
        hashing = median(3, lambda: sha256(large[0]))
        row("the same 500 MB again, beside one sha256", median(3, lambda: log(large, "large")), hashing, "hash + 50 ms")
        submitted = [write(folder / f"submit-{number}.bin", 10 * MB) for number in range(5)]
        sources, copies = iter(submitted), iter(submitted)
        row(
            "submit_artifact, 10 MB, beside a plain copy",
            median(5, lambda: submit(exp, next(sources))),
            median(5, lambda: shutil.copyfile(next(copies), folder / uuid.uuid4().hex) and None),
            "copy + 5 ms",
        )
        row("stop()", median(1, lambda: exp.stop()))


def submit(exp: Experiment, path: Path) -> None:
    exp.submit_artifact(exp.create_artifact("submitted", ArtifactType.CHECKPOINT).add_file(path))


if __name__ == "__main__":
    main()
