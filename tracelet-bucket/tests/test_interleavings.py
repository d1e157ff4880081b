"""Two or three users of one bucket, interleaved at their requests: whatever the order, nothing is lost and every name is right."""

from __future__ import annotations

import hashlib
import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from servers.memory_bucket import MemoryBucket, take_turns
from tracelet.exceptions import ArtifactNotFound, VersionConflict
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, SealedArtifact, StoredArtifact
from tracelet_bucket import garbage, together
from tracelet_bucket.backend import BucketBackend

DAY = 86_400.0


class Killed(Exception):
    """Where a process was killed."""


def at_once(call: Callable[[Any], object], item: object) -> Future[object]:
    """Make a call where it is begun: the order of requests is the plan's alone."""
    answer: Future[object] = Future()
    try:
        answer.set_result(call(item))
    except Exception as error:  # noqa: BLE001 - it is the future's
        answer.set_exception(error)
    return answer


class World:
    """A bucket with v0, which has a label and the alias `best`; v1; bytes of a deleted v2; and a put that was killed hours ago."""

    def __init__(self, folder: Path) -> None:
        self.bucket = MemoryBucket()
        self._folder = folder
        self.puts: list[tuple[SealedArtifact, Labels, StoredArtifact]] = []
        self.deleted: set[int] = set()
        #: By alias: the versions that may have it when all is over.
        self.moved: dict[str, set[int]] = {}
        first = self.backend()
        self.v0 = first.put(self.seal(b"zero"), Labels("1.0", ("best",)))
        self.v1 = first.put(self.seal(b"one"), Labels(None, ("newest",)))
        first.delete(first.put(self.seal(b"garbage"), Labels()))
        create = self.bucket.create

        def killed(key: str, data: bytes) -> bool:
            if "/versions/" in key and "-v" in key:
                raise Killed
            return create(key, data)

        self.bucket.create = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            self.backend().put(self.seal(b"killed", "killed"), Labels(None, ("best",)))
        self.bucket.create = create  # type: ignore[method-assign]
        self.bucket.clock += DAY

    def backend(self) -> BucketBackend:
        return BucketBackend(self.bucket, "trials")

    def seal(self, content: bytes, put_id: str = "") -> SealedArtifact:
        source = self._folder / hashlib.sha256(content).hexdigest()
        source.write_bytes(content)
        file = ArtifactFile("x", len(content), source.name)
        manifest = Manifest("data", ArtifactType.DATASET, put_id or uuid.uuid4().hex, 1.0, files=(file,))
        return SealedArtifact(manifest, {"x": source})

    def fetched(self, stored: StoredArtifact) -> None:
        dest = self._folder / uuid.uuid4().hex
        dest.mkdir()
        self.backend().fetch(stored, ["x"], dest)

    def collect(self) -> None:
        list(garbage.collect(self.bucket, time.time() + DAY))


Operation = Callable[[World], Callable[[], object]]


def put(content: bytes, labels: Labels, put_id: str = "") -> Operation:
    def begun(world: World) -> Callable[[], object]:
        sealed, backend = world.seal(content, put_id), world.backend()

        def made() -> None:
            stored = backend.put(sealed, labels)
            world.puts.append((sealed, labels, stored))
            for alias in labels.aliases:
                world.moved.setdefault(alias, set()).add(stored.number)

        return made

    return begun


def relabel(which: str, labels: Labels) -> Operation:
    def begun(world: World) -> Callable[[], object]:
        stored: StoredArtifact = getattr(world, which)
        for alias in labels.aliases:
            world.moved.setdefault(alias, set()).add(stored.number)
        return lambda: world.backend().relabel(stored, labels)

    return begun


def delete(which: str) -> Operation:
    def begun(world: World) -> Callable[[], object]:
        stored: StoredArtifact = getattr(world, which)
        world.deleted.add(stored.number)
        return lambda: world.backend().delete(stored)

    return begun


def put_and_take_back(world: World) -> Callable[[], object]:
    sealed, backend = world.seal(b"taken back"), world.backend()
    return lambda: backend.take_back(backend.put(sealed, Labels("2.0", ("best",))))


def collect(world: World) -> Callable[[], object]:
    return world.collect


def remove_alias(world: World) -> Callable[[], object]:
    return lambda: world.backend().remove_aliases(world.v0, ["best"])


def read(world: World) -> Callable[[], object]:
    return lambda: world.fetched(world.v1)


OPERATIONS: dict[str, Operation] = {
    "a put": put(b"new", Labels("2.0", ("best",)), "one-put"),
    "another delivery of it": put(b"new", Labels("2.0", ("best",)), "one-put"),
    "a put of its content": put(b"new", Labels("2.0", ("best", "own"))),
    "a put with its label": put(b"other", Labels("2.0", ("best",))),
    "a put of bytes that are garbage": put(b"garbage", Labels(None, ("best",))),
    "a put that was killed": put(b"killed", Labels(None, ("best",)), "killed"),
    "a put that is taken back": put_and_take_back,
    "a label for v1": relabel("v1", Labels("2.0")),
    "best moves to v1": relabel("v1", Labels(None, ("best",))),
    "newest moves to v0": relabel("v0", Labels(None, ("newest",))),
    "best is removed": remove_alias,
    "v0 is deleted": delete("v0"),
    "v1 is deleted": delete("v1"),
    "clearing": collect,
    "other clearing": collect,
    "reading": read,
}


@pytest.fixture(autouse=True)
def the_plan_alone_orders_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_begun", at_once)


def plans(counts: Sequence[int]) -> Iterator[list[int]]:
    """Every way in which one of two begins, the other makes some requests then, and both go on."""
    for first, second in ((0, 1), (1, 0)):
        for begun, between in itertools.product(range(counts[first] + 1), range(1, counts[second] + 1)):
            yield [*[first] * begun, *[second] * between, *[first] * counts[first]]


def check(world: World, names: Sequence[str], given: Sequence[object]) -> None:
    for name, answer in zip(names, given, strict=True):
        allowed = (VersionConflict, ArtifactNotFound) if world.deleted else VersionConflict
        assert not isinstance(answer, Exception) or isinstance(answer, allowed), (name, answer)
    reader = world.backend()
    every = list(reader.list(name="data", type=None))
    put_ids = [one.manifest.put_id for one in every]
    assert len(set(put_ids)) == len(put_ids)
    for sealed, labels, stored in world.puts:
        assert stored.manifest.digest == sealed.manifest.digest
        found = reader.find("data", stored.version)
        assert found is not None
        assert found.manifest.put_id == stored.manifest.put_id
        assert reader.find("data", f"put:{stored.manifest.put_id}") == found
        assert reader.find("data", f"sha256:{sealed.manifest.digest}") is not None
        if labels.version:
            assert reader.find("data", labels.version) == found
            assert found.label == labels.version
        world.fetched(found)
    for one in every:
        for name in (one.label, *one.aliases):
            assert name is None or reader.find("data", name) == one, name
        if one.label:  # no other content can take it
            with pytest.raises(VersionConflict):
                reader.put(world.seal(b"thief"), Labels(one.label))
    for alias, numbers in world.moved.items():
        holder = reader.find("data", alias)
        assert numbers & world.deleted or (holder is not None and holder.number in numbers), alias
    world.bucket.clock += DAY
    world.collect()
    world.bucket.clock += DAY
    world.collect()
    needed = {str(file.sha256) for one in reader.list(name="data", type=None) for file in one.manifest.payload}
    assert {key.rpartition("/")[2] for key in world.bucket.held if key.startswith("objects/")} == needed
    assert not [key for key in world.bucket.held if key.startswith("aside/")]


#: Those that once lost something: of them every order is tried in which one waits for all that the other does.
ONCE_LOST = {
    ("a put", "best is removed"),
    ("a put", "v0 is deleted"),
    ("a put", "a put of its content"),
    ("a put that was killed", "clearing"),
    ("best moves to v1", "v0 is deleted"),
    ("newest moves to v0", "v1 is deleted"),
}


@pytest.mark.parametrize("names", list(itertools.combinations(OPERATIONS, 2)), ids=" + ".join)
def test_two_at_once(names: tuple[str, str], tmp_path: Path) -> None:
    """Some of all orders, drawn by chance."""
    counts = run(names, [], tmp_path)
    for plan in random.Random(" + ".join(names)).sample(list(plans(counts)), 2):
        run(names, plan, tmp_path)
    if names in ONCE_LOST:
        for first, second in ((0, 1), (1, 0)):
            for begun in range(1, counts[first]):
                run(names, [*[first] * begun, *[second] * 2 * counts[second]], tmp_path)


def test_who_clears_keeps_what_another_has_aside_and_a_put_needs(tmp_path: Path) -> None:
    """One has copied bytes and not deleted them yet; the other would delete the copy; and the put has found the bytes."""
    names = ("clearing", "other clearing", "a put of bytes that are garbage")
    for taken, looked, found in itertools.product(range(11, 14), range(18, 21), range(6, 13)):
        run(names, [*[0] * taken, *[1] * looked, *[2] * found, 1, 1, *[0] * 40], tmp_path)


def run(names: Sequence[str], plan: Sequence[int], folder: Path) -> list[int]:
    world = World(folder)
    given, counts = take_turns(world.bucket, [OPERATIONS[name](world) for name in names], plan)
    check(world, names, given)
    return counts


def test_a_label_that_is_freed_is_not_taken_from_who_has_claimed_it_meanwhile(tmp_path: Path) -> None:
    """Another put of the same content takes the label in the middle of the taking back."""
    labels = Labels("2.0")
    for begun in range(2, 7):
        world = World(tmp_path)
        backend = world.backend()
        stored = backend.put(world.seal(b"new"), labels)
        take_back = partial(backend.take_back, stored)
        put_again = partial(world.backend().put, world.seal(b"new"), labels)
        (_, again), _ = take_turns(world.bucket, [take_back, put_again], [0] * begun + [1] * 40)
        assert isinstance(again, StoredArtifact)
        assert (again.number, again) == (4, world.backend().find("data", "2.0"))
        with pytest.raises(VersionConflict):
            world.backend().put(world.seal(b"other"), labels)
