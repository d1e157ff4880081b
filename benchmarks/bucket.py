"""A bucket in moto's S3 beside what one would write with obstore: ``python benchmarks/bucket.py``.

*Plain* puts the file, as ``aws s3 cp`` does, and gets it back. *By hand* makes the promises: it hashes the file, puts its bytes under their
sha256, and writes a manifest under the version's number unless somebody has; it compares what it gets. moto's server is
written in Python, and slower than a cloud's; its share is in all ways the same, a request at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import measuring
from files import MB, fresh_folder, sha256
from measuring import OURS, Line, Step, Way, beside, seconds, times
from places import bucket_served

PLAIN, HAND = "plain put", "by hand"
_PART = 8 * MB


def _store() -> Any:
    from obstore.store import S3Store

    return S3Store("artifacts", prefix="beside", client_options={"allow_http": True})


def _put_plain(store: Any, folder: Path, number: int) -> None:
    for path in folder.iterdir():
        store.put(f"{number}/{path.name}", path, chunk_size=_PART)


def _put_by_hand(store: Any, folder: Path, number: int) -> None:
    entries = {path.name: sha256(path) for path in folder.iterdir()}
    for name, digest in entries.items():
        store.put(f"objects/{digest}", folder / name, chunk_size=_PART)
    store.put(f"data/v{number}.json", json.dumps(entries).encode(), mode="create")


_PUTS: dict[str, Callable[[Any, Path, int], None]] = {PLAIN: _put_plain, HAND: _put_by_hand}


@contextlib.contextmanager
def by_tracelet(count: int, size: int) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", backend="bucket", artifacts=True) as exp:

        def log(folder: Path) -> None:
            exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_dir(folder)).raise_for_errors()

        def step(number: int) -> float:
            folder = fresh_folder(count, size)
            return seconds(lambda: log(folder))

        yield step


@contextlib.contextmanager
def by_obstore(how: str, count: int, size: int) -> Iterator[Step]:
    store = _store()
    # A run before this one may have left its versions.
    begun = itertools.count(int.from_bytes(hashlib.sha256(str(Path.cwd()).encode()).digest()[:4]))

    def step(number: int) -> float:
        folder = fresh_folder(count, size)
        return seconds(lambda: _PUTS[how](store, folder, next(begun)))

    yield step


@contextlib.contextmanager
def getting_by_tracelet(size: int) -> Iterator[Step]:
    from tracelet import ArtifactType, Experiment

    with Experiment("bench", backend="bucket", artifacts=True) as exp:
        artifact = exp.create_artifact("got", ArtifactType.DATASET).add_dir(fresh_folder(1, size))
        exp.log_artifact(artifact).raise_for_errors()
    reader = Experiment("bench", backend="bucket", artifacts=True)

    def step(number: int) -> float:
        shutil.rmtree("got", ignore_errors=True)
        return seconds(lambda: reader.get_artifact("got").download("got"))

    yield step


@contextlib.contextmanager
def getting_by_obstore(how: str, size: int) -> Iterator[Step]:
    store = _store()
    (path,) = fresh_folder(1, size).iterdir()
    digest = sha256(path)
    store.put(f"objects/{digest}", path, chunk_size=_PART)

    def get() -> None:
        found = hashlib.sha256()
        with Path("got.bin").open("wb") as target:
            for part in store.get(f"objects/{digest}").stream(_PART):
                target.write(part)
                if how == HAND:
                    found.update(part)
        if how == HAND and found.hexdigest() != digest:
            raise ValueError(digest)

    yield lambda number: seconds(get)


def lines(*, quick: bool) -> list[Line]:
    count, large = (200, 50 * MB) if quick else (1000, 500 * MB)

    def put(**what: int) -> dict[str, Way]:
        others = {how: Way("bucket:by_obstore", {"how": how, **what}) for how in _PUTS}
        return {OURS: Way("bucket:by_tracelet", what), **others}

    got = {how: Way("bucket:getting_by_obstore", {"how": how, "size": large}) for how in _PUTS}
    where = "a bucket in moto's S3"
    found = [
        Line("bucket-1kb", f"{where}: 1 KB logged", put(count=1, size=1000), times(3, HAND), rounds=15, quick_rounds=7),
        Line("bucket-many", f"{where}: {count:,} files of 1 KB logged", put(count=count, size=1000), times(1.2, HAND)),
        Line("bucket-large", f"{where}: {large // MB} MB logged", put(count=1, size=large), times(1.2, HAND)),
        Line(
            "bucket-get",
            f"{where}: {large // MB} MB got, verified",
            {OURS: Way("bucket:getting_by_tracelet", {"size": large}), **got},
            beside(HAND, 0.1),
        ),
    ]
    environ = {"TRACELET_DEADLINE": "600"}
    return [attrs.evolve(line, environ=environ, place=bucket_served) for line in found]


if __name__ == "__main__":
    measuring.main(sys.modules[__name__])
