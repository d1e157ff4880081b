"""Large files go once to a shared store, and backends get references: ``python examples/large_artifacts.py``.

The store is a folder beside this program unless ``TRACELET_STORE`` names another place: a directory that others see,
or a URL such as ``s3://bucket/prefix`` (extra ``remote``, and the package that its scheme needs, such as s3fs). A second
process, which has nothing but the names of the store and of the experiment, gets every byte back, verified.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tracelet import ArtifactType, Experiment, LoggedArtifact
from tracelet.settings import TraceletSettings

MB = 1_000_000
BLOCK = 4 * MB
LARGE = 150 * MB


def settings(folder: Path) -> TraceletSettings:
    given = TraceletSettings(enable_artifacts=True, dir=folder / ".tracelet")
    return given if given.store else TraceletSettings(enable_artifacts=True, dir=given.dir, store=folder / "store")


def write_large_file(path: Path) -> None:
    with path.open("wb") as stream:
        for _ in range(0, LARGE, BLOCK):
            stream.write(os.urandom(BLOCK)[: LARGE - stream.tell()])


def peak_memory() -> float:
    """Megabytes; Linux counts in units of 1,024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def log(folder: Path) -> None:
    write_large_file(folder / "embeddings.bin")
    (folder / "readme.txt").write_text("150 MB of random numbers.\n")
    with Experiment("large", settings=settings(folder)) as exp:
        dataset = exp.create_artifact("embeddings", ArtifactType.DATASET, "More than trackers should be given")
        dataset.add_file(folder / "embeddings.bin")  # over 100 MB: to the store, once
        dataset.add_file(folder / "readme.txt")  # small: to the backend itself
        dataset.add_reference("s3://elsewhere/raw.tar.gz", size_bytes=10_000_000_000)  # stays where it is
        before = peak_memory()
        for result in exp.log_artifact(dataset).values():
            grown = peak_memory() - before
            print(
                f"logged {result.size_bytes / MB:,.0f} MB as {result.version}; memory grew by less than 100 MB: {grown < 100}"
            )
        again = exp.log_artifact(dataset)["local"]
        print(f"the same again: created={again.created}, still {again.version}")

        small = exp.create_artifact("private", ArtifactType.CUSTOM).add_file(folder / "readme.txt")
        small.metadata["force_reference"] = True  # to the store whatever its size
        exp.log_artifact(small)


def show(artifact: LoggedArtifact) -> None:
    folder = artifact.download()  # files and what the store has, verified; other references only where asked for
    for path in sorted(folder.rglob("*")):
        print(f"{artifact.name} {artifact.version}: {path.name}, {path.stat().st_size:,} bytes, verified")
    for reference in artifact.references:
        if reference.path is None:
            print(f"{artifact.name} refers to {reference.uri} ({reference.size_bytes or 0:,} bytes), not fetched")


def main() -> None:
    if sys.argv[1:2] == ["read"]:
        exp = Experiment("large", settings=settings(Path(sys.argv[2])))
        for name in ("embeddings", "private"):
            show(exp.get_artifact(name))
        return
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere:
        log(Path(folder))
        for path in Path(folder).glob("*.*"):
            if path.is_file():
                path.unlink()  # the originals are not needed any more
        print("another process:", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).resolve()), "read", folder], cwd=elsewhere, check=True)


if __name__ == "__main__":
    main()
