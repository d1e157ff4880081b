"""A store whose listings come late: nothing is lost, no number is given twice, and nothing is cleared away."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.memory_bucket import MemoryBucket
from tracelet.exceptions import ConfigError
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket import garbage
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.bucket import Listed

Seal = Callable[..., SealedArtifact]

LAG = 900.0


class LateBucket(MemoryBucket):
    """Each object is listed, and no longer listed, some time after it is written and deleted; what is read is as it is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        #: By key: when it was written or deleted, and what a listing says of it then.
        self._past: dict[str, list[tuple[float, Listed | None]]] = {}

    def _write(self, key: str, data: bytes, sha256: str = "") -> bool:
        self._past.setdefault(key, []).append((self.clock, Listed(key, len(data), self.clock)))
        return super()._write(key, data, sha256)

    def remove(self, key: str) -> None:
        self._past.setdefault(key, []).append((self.clock, None))
        super().remove(key)

    def below(self, folder: str, after: str = "") -> Iterator[Listed]:
        self.step()
        for key in sorted(self._past):
            if key.startswith(f"{folder}/") and key > after:
                until = self.clock - random.Random(f"{self._seed} {key}").random() * LAG
                shown = [listed for written_at, listed in self._past[key] if written_at <= until]
                if shown and shown[-1] is not None:
                    yield shown[-1]


@pytest.mark.parametrize("seed", range(40))
def test_each_version_that_was_told_of_is_there_under_its_number(seed: int, seal: Seal, tmp_path: Path) -> None:
    chance = random.Random(seed)
    bucket = LateBucket(seed)
    told: dict[int, SealedArtifact] = {}
    deleted: set[int] = set()
    best = None
    for _ in range(40):
        # As a rule another machine, which remembers nothing.
        backend = BucketBackend(bucket, "trials")
        job = chance.choice(["put", "put", "put", "again", "alias", "delete", "wait"])
        if job == "put":
            one = seal({"x": b"%d" % chance.randrange(5)})
            number = backend.put(one, Labels()).number
            assert number not in told
            assert number not in deleted
            told[number] = one
        elif job == "again" and told:
            number = chance.choice(list(told))
            assert backend.put(told[number], Labels()).number == number
        elif job == "alias" and told:
            best = chance.choice(list(told))
            stored = backend.find("data", f"v{best}")
            assert stored is not None
            backend.relabel(stored, Labels(None, ("best",)))
        elif job == "delete" and told:
            number = chance.choice(list(told))
            stored = backend.find("data", f"v{number}")
            assert stored is not None
            backend.delete(stored)
            del told[number]
            deleted.add(number)
            best = None if best == number else best
        elif job == "wait":
            bucket.clock += chance.random() * LAG
        if job != "wait":
            # Whoever has just written is not listed yet, or is by chance.
            with pytest.raises(ConfigError, match="not listed at once"):
                list(garbage.collect(bucket, time.time() + LAG))
        reader = BucketBackend(bucket, "trials")
        for number, one in told.items():
            found = reader.find("data", f"v{number}")
            assert found is not None
            assert found.manifest.put_id == one.manifest.put_id
            place = tmp_path / uuid.uuid4().hex
            place.mkdir()
            reader.fetch(found, ["x"], place)
            assert (place / "x").read_bytes() == one.sources["x"].read_bytes()
        holder = reader.find("data", "best")
        assert (None if holder is None else holder.number) == best
    bucket.clock += LAG
    reader = BucketBackend(bucket, "trials")
    assert {one.number for one in reader.list(name=None, type=None)} == set(told)
    newest = reader.find("data", "latest")
    assert (-1 if newest is None else newest.number) == max(told, default=-1)
