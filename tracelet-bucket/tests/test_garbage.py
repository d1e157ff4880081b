"""What is cleared away, while others store and read: garbage, and nothing else."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracelet.exceptions import NewerFormat
from tracelet.plugin import Labels, SealedArtifact, StoredArtifact
from tracelet_bucket import garbage
from tracelet_bucket.backend import BucketBackend
from tracelet_bucket.bucket import Bucket
from tracelet_bucket.keys import ASIDE, NOTES, OBJECTS, blob_key, ref_key
from tracelet_bucket.places import open_bucket
from tracelet_bucket.store import BucketStore

Opened = Callable[..., BucketBackend]
Seal = Callable[..., SealedArtifact]

LATER = 3600.0


class Interrupted(Exception):
    """Where a process was killed."""


class Watched:
    """A bucket that calls something before the first call of a method."""

    def __init__(self, bucket: Bucket, method: str, call: Callable[[], object], *, after: bool = False) -> None:
        self._bucket = bucket
        self._method = method
        self._call: Callable[[], object] | None = call
        self._after = after

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._bucket, name)
        if name != self._method or self._call is None:
            return own

        def watched(*arguments: Any, **named: Any) -> Any:
            call, self._call = self._call, None
            if call is not None and not self._after:
                call()
            given = own(*arguments, **named)
            if call is not None and self._after:
                call()
            return given

        return watched


@pytest.fixture(params=["folder", "url", "google_url"], ids=["folder", "S3", "Google"])
def place(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def all_notes_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that was killed would keep its bytes for an hour."""
    monkeypatch.setattr(garbage, "STALE_SECONDS", -1.0)


def held(place: str, folder: str = OBJECTS) -> list[str]:
    return [one.key for one in open_bucket(place).below(folder)]


def content(backend: BucketBackend, stored: StoredArtifact, tmp_path: Path) -> dict[str, bytes]:
    dest = tmp_path / f"got-{time.monotonic_ns()}"
    dest.mkdir()
    backend.fetch(stored, [file.artifact_path for file in stored.manifest.payload], dest)
    return {file.artifact_path: (dest / file.artifact_path).read_bytes() for file in stored.manifest.payload}


def collect(bucket: Bucket, older_than: float | None = None) -> list[int]:
    return list(garbage.collect(bucket, time.time() + LATER if older_than is None else older_than))


def test_bytes_that_no_version_of_any_experiment_needs_are_cleared(
    opened: Opened, seal: Seal, place: str, tmp_path: Path
) -> None:
    one, other = opened(place, "one"), opened(place, "other")
    kept = one.put(seal({"shared": b"shared", "own": b"kept"}), Labels())
    gone = one.put(seal({"shared": b"shared", "own": b"gone!"}), Labels())
    theirs = other.put(seal({"own": b"theirs", "gone too": b"gone"}), Labels())
    one.delete(gone)
    other.put(seal({"own": b"theirs"}), Labels())
    other.delete(theirs)
    assert sorted(collect(open_bucket(place))) == [4, 5]
    assert content(one, kept, tmp_path) == {"shared": b"shared", "own": b"kept"}
    assert len(held(place)) == 3
    assert held(place, ASIDE) == []


def test_bytes_that_a_version_of_another_backend_points_at_stay(opened: Opened, seal: Seal, place: str) -> None:
    sealed = seal({"large": b"large"})
    opened(place).delete(opened(place).put(sealed, Labels()))
    (file,) = sealed.manifest.payload
    open_bucket(place).put(ref_key(str(file.sha256), "a-put"), b"")
    assert collect(open_bucket(place)) == []
    assert held(place) == [blob_key(str(file.sha256))]


def test_a_put_that_begins_while_bytes_are_taken_aside_sends_them_again(
    opened: Opened, seal: Seal, place: str, tmp_path: Path
) -> None:
    """It finds no bytes where they were a moment ago, and nobody deletes those that it sends."""
    opened(place).delete(opened(place).put(seal({"x": b"content"}), Labels()))
    stored: list[StoredArtifact] = []
    watched = Watched(
        open_bucket(place),
        "move",
        lambda: stored.append(opened(place).put(seal({"x": b"content"}), Labels())),
        after=True,
    )
    collect(watched)
    assert content(opened(place), stored[0], tmp_path) == {"x": b"content"}
    assert collect(open_bucket(place)) == []


def test_a_put_that_had_found_bytes_gets_them_back(
    opened: Opened, seal: Seal, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has noted that it needs them before it looked for them."""
    monkeypatch.setattr(garbage, "STALE_SECONDS", LATER)
    opened(place).delete(opened(place).put(seal({"x": b"content"}), Labels()))
    freed: list[list[int]] = []
    # The record of a version is what a put creates after it has looked for its bytes.
    late = Watched(open_bucket(place), "holds", lambda: freed.append(collect(open_bucket(place))), after=True)
    stored = BucketBackend(late, "trials").put(seal({"x": b"content"}), Labels())
    assert freed == [[]]
    assert content(opened(place), stored, tmp_path) == {"x": b"content"}


def test_bytes_are_read_while_they_are_aside(opened: Opened, seal: Seal, place: str, tmp_path: Path) -> None:
    """Whoever clears was killed; the next one puts them back."""
    backend = opened(place)
    stored = backend.put(seal({"x": b"content"}), Labels())
    (key,) = held(place)
    open_bucket(place).move(key, f"{ASIDE}/{key.rpartition('/')[2]}/somebody", 7)
    assert content(opened(place), stored, tmp_path) == {"x": b"content"}
    assert collect(open_bucket(place)) == []
    assert (held(place), held(place, ASIDE)) == ([key], [])


@pytest.mark.parametrize("inner", ["jobs", "objects", "aside", "refs"])
def test_a_prefix_below_another_one_loses_nothing(
    opened: Opened, seal: Seal, place: str, tmp_path: Path, inner: str
) -> None:
    """The bucket itself may be one team's, and a folder of it, whatever its name is, another one's."""
    ours = opened(place)
    ours.delete(ours.put(seal({"x": b"content"}), Labels()))
    theirs = opened(f"{place}/{inner}")
    stored = theirs.put(seal({"x": b"theirs"}), Labels("1.0", ("best",)))
    (key,) = held(f"{place}/{inner}")
    open_bucket(f"{place}/{inner}").move(key, f"{ASIDE}/{key.rpartition('/')[2]}/somebody", 6)
    assert collect(open_bucket(place)) == [7]
    assert theirs.find("data", "best") == stored
    assert content(theirs, stored, tmp_path) == {"x": b"theirs"}


def test_what_others_have_in_the_folders_stays(opened: Opened, seal: Seal, place: str) -> None:
    """Somebody gave a whole bucket to Tracelet that was not empty."""
    bucket = open_bucket(place)
    foreign = [f"objects/copies/{'a' * 64}", "objects/scene.glb", "jobs/night/train.json", "jobs/slurm.log"]
    for key in foreign:
        bucket.put(key, b"theirs")
    backend = opened(place)
    backend.delete(backend.put(seal({"x": b"content"}), Labels()))
    assert collect(bucket) == [7]
    assert sorted(held(place) + held(place, NOTES)) == sorted(foreign)


def test_what_ended_jobs_left_is_cleared(place: str) -> None:
    bucket = open_bucket(place)
    store = BucketStore(place, lambda: bucket)
    call = "slurm%3A7/my%20trials/data/0"
    for name in ("call", f"part-{'0' * 32}-12", f"done-{'0' * 32}"):
        store.put_note(f"{call}/{name}.json", b"{}")
    assert collect(bucket) == [2, 2, 2]
    assert held(place, NOTES) == []


def test_the_store_gives_bytes_while_they_are_aside(place: str, tmp_path: Path) -> None:
    """A version of another backend has begun to need them while somebody clears."""
    bucket = open_bucket(place)
    store = BucketStore(place, lambda: bucket)
    source, sha256 = tmp_path / "large", hashlib.sha256(b"large").hexdigest()
    source.write_bytes(b"large")
    store.record(sha256, "a-put")
    store.put(source, sha256)
    bucket.move(blob_key(sha256), f"{ASIDE}/{sha256}/somebody", 5)
    store.fetch(sha256, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"large"


def test_who_was_killed_while_clearing_leaves_nothing_for_ever(opened: Opened, seal: Seal, place: str) -> None:
    def killed() -> None:
        raise Interrupted

    opened(place).delete(opened(place).put(seal({"x": b"content"}), Labels()))
    with pytest.raises(Interrupted):
        collect(Watched(open_bucket(place), "move", killed, after=True))
    assert len(held(place, ASIDE)) == 1
    assert collect(open_bucket(place)) == [7]
    assert (held(place), held(place, ASIDE)) == ([], [])


def test_two_that_clear_at_once_keep_what_is_needed(
    opened: Opened, seal: Seal, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "STALE_SECONDS", LATER)
    backend = opened(place)
    kept = backend.put(seal({"x": b"kept"}), Labels())
    backend.delete(backend.put(seal({"x": b"content"}), Labels()))
    inner: list[list[int]] = []
    outer = collect(Watched(open_bucket(place), "move", lambda: inner.append(collect(open_bucket(place))), after=True))
    assert [*outer, *inner[0]] == [7]
    assert content(opened(place), kept, tmp_path) == {"x": b"kept"}


@pytest.mark.parametrize("hours", [-30.0, 30.0], ids=["slow", "fast"])
def test_young_bytes_stay_whatever_the_clock_of_this_machine_says(
    opened: Opened, seal: Seal, place: str, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    backend = opened(place)
    backend.delete(backend.put(seal({"x": b"content"}), Labels()))
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + 3600 * hours)
    assert collect(open_bucket(place), time.time() - 60) == []
    assert collect(open_bucket(place), time.time() + 60) == [7]


def test_all_bytes_stay_where_a_record_is_damaged(
    opened: Opened, seal: Seal, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = opened(place)
    backend.delete(backend.put(seal({"x": b"content"}), Labels()))
    damaged = backend.put(seal({"x": b"other"}), Labels())
    bucket = open_bucket(place)
    key = damaged.uri.removeprefix(f"{bucket.url}/")
    record = bucket.get(key)
    assert record is not None
    for data in (
        record.data.replace(b'"size_bytes": 5', b'"size_bytes": 6'),
        record.data.replace(b'"schema": 1', b'"schema": 9'),
    ):
        bucket.put(key, data)
        with caplog.at_level(logging.WARNING, "tracelet.bucket"):
            assert collect(bucket) == []
        assert key in caplog.text
        caplog.clear()
    bucket.put(key, record.data)
    assert collect(bucket) == [7]


def test_what_a_killed_put_left_is_cleared_when_its_note_is_old(
    opened: Opened, seal: Seal, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        # Bytes are there, and the record is not.
        BucketBackend(Dying(open_bucket(place)), "trials").put(seal({"x": b"content"}), Labels())
    monkeypatch.setattr(garbage, "STALE_SECONDS", LATER)
    assert collect(open_bucket(place)) == []
    monkeypatch.setattr(garbage, "STALE_SECONDS", -1.0)
    assert collect(open_bucket(place)) == [7]


class Dying(Watched):
    """A bucket whose user is killed before a version's record is written."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket, "", lambda: None)

    def create(self, key: str, data: bytes) -> bool:
        if "/versions/" in key:
            raise Interrupted
        return self._bucket.create(key, data)


def test_a_later_release_that_begins_the_experiment_in_the_same_moment_is_seen(
    opened: Opened, seal: Seal, folder: str
) -> None:
    bucket = open_bucket(folder)
    key = "experiments/trials/experiment.json"
    late = Watched(bucket, "create", lambda: bucket.put(key, b'{"schema": 9}'))
    with pytest.raises(NewerFormat):
        BucketBackend(late, "trials").put(seal({"x": b"content"}), Labels())
    assert [one.key for one in bucket.below("experiments")] == [key]
    # What a later release keeps there is not known to be garbage.
    opened(folder, "other").delete(opened(folder, "other").put(seal({"x": b"content"}), Labels()))
    assert collect(bucket) == []
