"""How long a put waits, whoever else stores, and however long its bytes take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from servers.memory_bucket import MemoryBucket
from tracelet.plugin import Labels, SealedArtifact
from tracelet_bucket import putting
from tracelet_bucket.backend import BucketBackend

Seal = Callable[..., SealedArtifact]

MINUTE, HOUR = 60.0, 3600.0


class Clock:
    """A clock that only runs when something takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []
        monkeypatch.setattr(putting, "_clocks", lambda: (self.now, self.now))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.slept.append)
        # Who is least lucky waits longest.
        monkeypatch.setattr(random, "uniform", lambda least, most: most)


class SlowBucket(MemoryBucket):
    """A bucket to which each upload, each small write, and each reading of a whole file takes its time."""

    def __init__(self, clock: Clock, *, upload: float = 0.0, write: float = 0.0, read: float = 0.0) -> None:
        super().__init__()
        self._clock = clock
        self._takes = (upload, write, read)
        #: Called when an upload ends.
        self.uploaded: Callable[[], object] = lambda: None
        self.looks = 0

    def upload(self, key: str, source: Path, sha256: str, size_bytes: int, *, replace: bool) -> bool:
        is_written = super().upload(key, source, sha256, size_bytes, replace=replace)
        self._clock.now += self._takes[0]
        uploaded, self.uploaded = self.uploaded, lambda: None
        uploaded()
        return is_written

    def create(self, key: str, data: bytes) -> bool:
        self._clock.now += self._takes[1]
        return super().create(key, data)

    def holds(self, key: str, sha256: str, size_bytes: int) -> bool:
        self.looks += 1
        assert self.looks < 20, "nobody stops looking"
        self._clock.now += self._takes[2]
        return super().holds(key, sha256, size_bytes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def race(bucket: SlowBucket, seal: Seal, contents: Iterable[bytes]) -> list[int]:
    """Store a version, and two of somebody else's while its bytes are sent; return the numbers of all, in that order."""
    mine, other, another = (seal({"x": content}) for content in contents)
    theirs: list[int] = []
    bucket.uploaded = lambda: theirs.extend(
        BucketBackend(bucket, "trials").put(one, Labels()).number for one in (other, another)
    )
    return [BucketBackend(bucket, "trials").put(mine, Labels()).number, *theirs]


def test_who_lost_a_number_waits_no_time_for_the_hours_that_its_bytes_took(clock: Clock, seal: Seal) -> None:
    assert race(SlowBucket(clock, upload=HOUR), seal, (b"mine", b"one", b"two")) == [2, 0, 1]
    assert clock.slept == [0.0]


def test_who_lost_a_number_waits_some_seconds_at_most_however_slow_the_store_is(clock: Clock, seal: Seal) -> None:
    assert race(SlowBucket(clock, write=MINUTE), seal, (b"mine", b"one", b"two")) == [2, 0, 1]
    assert clock.slept
    assert max(clock.slept) <= 10.0


def test_a_put_ends_also_where_reading_its_bytes_again_takes_long(clock: Clock, seal: Seal) -> None:
    """In a folder whoever looks whether bytes are whole reads them: a terabyte takes more than an hour."""
    bucket = SlowBucket(clock, upload=HOUR, read=HOUR)
    backend = BucketBackend(bucket, "trials")
    assert backend.put(seal({"x": b"large", "y": b"larger"}), Labels()).number == 0
    assert BucketBackend(bucket, "trials").put(seal({"x": b"large", "y": b"larger"}), Labels()).number == 1
