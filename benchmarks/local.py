"""The embedded backend beside the same job by hand, and beside a plain copy: ``python benchmarks/local.py``.

By hand means what a careful script would do without Tracelet, with the same promises: it hashes each file while it copies
it to a temporary name, has it on the disk, and gives it its name; the manifest comes last, in the same way, below the
artifact's name and version. A plain copy promises nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import measuring
from files import MB, fresh_folder, hash_and_copy, sha256, sync, write, write_durably
from measuring import OURS, Line, Step, Way, beside, seconds, times, together

#: The embedded backend takes files of any size.
_LARGE = {"TRACELET_ON_LARGE": "upload", "TRACELET_BACKEND": "local"}


@contextlib.contextmanager
def by_tracelet(count: int, size: int, *, same: bool = False) -> Iterator[Step]:
    """Log a folder; or the same one again."""
    from tracelet import ArtifactType, Experiment

    folder = fresh_folder(count, size)
    with Experiment("bench", artifacts=True) as exp:

        def log() -> None:
            artifact = exp.create_artifact("data", ArtifactType.DATASET)
            exp.log_artifact(artifact.add_dir(folder)).raise_for_errors()

        def step(number: int) -> float:
            if not same:
                fresh_folder(count, size)
            return seconds(log)

        yield step


@contextlib.contextmanager
def by_hand(count: int, size: int) -> Iterator[Step]:
    blobs, manifests = Path("store/blobs"), Path("store/data")
    blobs.mkdir(parents=True)
    manifests.mkdir()

    def keep(folder: Path, number: int) -> None:
        entries = {}
        for path in sorted(folder.iterdir()):
            temporary = blobs / f"{path.name}.tmp"
            entries[path.name] = hash_and_copy(path, temporary, durable=True)
            temporary.rename(blobs / entries[path.name])
        sync(blobs)
        write_durably(manifests / f"v{number}.json", json.dumps(entries).encode())

    def step(number: int) -> float:
        folder = fresh_folder(count, size)
        return seconds(lambda: keep(folder, number))

    yield step


@contextlib.contextmanager
def plain_copy(count: int, size: int) -> Iterator[Step]:
    def step(number: int) -> float:
        folder = fresh_folder(count, size)
        return seconds(lambda: shutil.copytree(folder, Path("copies", str(number))))

    yield step


@contextlib.contextmanager
def hashing(count: int, size: int) -> Iterator[Step]:
    """Read a folder's files once, and hash them."""
    folder = fresh_folder(count, size)
    yield lambda number: seconds(lambda: [sha256(path) for path in sorted(folder.iterdir())])


@contextlib.contextmanager
def hashing_and_copying(size: int) -> Iterator[Step]:
    """Copy a file, and hash it in the same pass."""
    source = write(Path("source.bin"), size)

    def step(number: int) -> float:
        Path("copy.bin").unlink(missing_ok=True)
        return seconds(lambda: hash_and_copy(source, Path("copy.bin")))

    yield step


@contextlib.contextmanager
def getting(size: int) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", artifacts=True) as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET).add_file(write(Path("source.bin"), size))
        exp.log_artifact(artifact).raise_for_errors()
    reader = Experiment("bench", artifacts=True)

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        return seconds(lambda: reader.get_artifact("data").download("got"))

    yield step


@contextlib.contextmanager
def copying(size: int) -> Iterator[Step]:
    source = write(Path("source.bin"), size)
    yield lambda number: seconds(lambda: shutil.copyfile(source, uuid.uuid4().hex))


@contextlib.contextmanager
def submitting(size: int) -> Iterator[Step]:
    """Only the time for which the caller is blocked counts; what is done behind is waited for between two calls."""
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", artifacts=True) as exp:

        def step(number: int) -> float:
            path = write(Path("source.bin"), size)
            took = seconds(
                lambda: exp.submit_artifact(exp.create_artifact("it", ArtifactType.CHECKPOINT).add_file(path))
            )
            exp.flush()
            return took

        yield step


def lines(*, quick: bool) -> list[Line]:
    count, large = (200, 100 * MB) if quick else (1000, 500 * MB)
    small, many, one = {"count": 1, "size": 1000}, {"count": count, "size": 1000}, {"count": 1, "size": large}
    mb = f"{large // MB} MB"

    def put(what: dict[str, int]) -> dict[str, Way]:
        return {
            OURS: Way("local:by_tracelet", what),
            "by hand": Way("local:by_hand", what),
            "plain copy": Way("local:plain_copy", what),
        }

    again = Way("local:by_tracelet", {**one, "same": True})
    got = {
        OURS: Way("local:getting", {"size": large}),
        "hash + copy": Way("local:hashing_and_copying", {"size": large}),
    }
    found = [
        Line(
            "local-1kb", "`local`: 1 KB logged", put(small), times(1.2, "by hand"), rounds=31, quick_rounds=15, warm=3
        ),
        Line("local-many", f"`local`: {count:,} files of 1 KB logged", put(many), times(1.1, "by hand")),
        Line(
            "local-large",
            f"`local`: {mb} logged",
            {**put(one), "sha256": Way("local:hashing", one)},
            together("plain copy", "sha256"),
        ),
        Line(
            "local-again",
            f"`local`: the same {mb} again",
            {OURS: again, "sha256": Way("local:hashing", one)},
            beside("sha256", 0.05),
        ),
        Line(
            "local-get",
            f"`local`: {mb} got, verified",
            {**got, "plain copy": Way("local:copying", {"size": large})},
            times(1.2, "hash + copy"),
        ),
        Line(
            "submit",
            "`submit_artifact` of 10 MB: the caller is blocked",
            {OURS: Way("local:submitting", {"size": 10 * MB}), "plain copy": Way("local:copying", {"size": 10 * MB})},
            beside("plain copy", 0.005),
            rounds=15,
            quick_rounds=7,
        ),
    ]
    return [attrs.evolve(line, environ=_LARGE) for line in found]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
