"""Versions, labels and aliases on a bag of blobs, where several write to it at once or one is interrupted."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import attrs
import pytest
from bags import Bag
from making import write

from tracelet.builtin.local import LocalBackend
from tracelet.core.storage import blob_backend, pointers
from tracelet.exceptions import BackendError, VersionConflict
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, SealedArtifact

Seal = Callable[..., SealedArtifact]
RELEASE = Labels("1.0")


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return LocalBackend(tmp_path / "place", "trials")


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    """Seal one file, as a put of its own each time."""
    count = 0

    def make(text: str = "content") -> SealedArtifact:
        nonlocal count
        count += 1
        source = write(tmp_path / f"source-{count}", text)
        file = ArtifactFile("file", len(text), hashlib.sha256(text.encode()).hexdigest())
        manifest = Manifest("thing", ArtifactType.CONFIG, f"put{count}", 1.0 * count, files=(file,))
        return SealedArtifact(manifest, {"file": source})

    return make


def test_of_two_that_take_a_label_for_the_same_content_one_stores_it(backend: LocalBackend, seal: Seal) -> None:
    first = backend.put(seal(), RELEASE)
    assert backend.put(seal(), RELEASE) == first
    assert [stored.version for stored in backend.list(name="thing", type=None)] == ["1.0"]
    with pytest.raises(VersionConflict, match="is v0, which has other content"):
        backend.put(seal("other"), RELEASE)


def test_a_label_of_which_a_later_release_says_more_still_belongs_to_its_content(
    backend: LocalBackend, seal: Seal
) -> None:
    first = backend.put(seal(), RELEASE)
    with backend.read("trials/labels/thing/1.0") as stream:
        noted = stream.read()
    backend.write("trials/labels/thing/1.0", BytesIO(noted + b" by:ada"))
    assert backend.put(seal(), RELEASE) == first


def test_a_label_whose_writer_was_interrupted_goes_to_who_brings_the_same_content(
    backend: LocalBackend, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: str, data: BinaryIO) -> None:
        if "/versions/" in key:
            raise OSError(28, "No space left on device")
        write_it(key, data)

    write_it = backend.write
    with monkeypatch.context() as patched:
        patched.setattr(backend, "write", full)
        with pytest.raises(OSError, match="No space left"):
            backend.put(seal(), RELEASE)
    assert backend.find("thing", "1.0") is None
    stored = backend.put(seal(), RELEASE)
    assert (stored.version, stored.number) == ("1.0", 1)
    assert backend.find("thing", "1.0") == stored


def test_a_label_that_is_being_written_is_waited_for(
    backend: LocalBackend, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = seal()
    key = "trials/labels/thing/1.0"
    assert backend.create_exclusive(key, b"")

    def and_meanwhile(seconds: float) -> None:
        backend.remove(key)
        assert backend.create_exclusive(key, f"0 {sealed.manifest.digest}".encode())

    monkeypatch.setattr(pointers.time, "sleep", and_meanwhile)
    assert backend.put(sealed, RELEASE).version == "1.0"


def test_a_label_that_was_never_written_is_told_in_time(
    backend: LocalBackend, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(pointers.time, "sleep", waits.append)
    backend.create_exclusive("trials/labels/thing/1.0", b"")
    with pytest.raises(BackendError, match=r"its writer was interrupted\. Use another label"):
        backend.put(seal(), RELEASE)
    assert 0.5 < sum(waits) < 5


def test_what_is_no_version_among_the_versions_is_passed_over(backend: LocalBackend, seal: Seal) -> None:
    stored = backend.put(seal(), Labels())
    backend.create_exclusive("trials/versions/thing/notes.txt", b"somebody's")
    assert list(backend.list(name=None, type=None)) == [stored]


def test_an_alias_that_goes_while_it_is_looked_at_is_gone(tmp_path: Path, seal: Seal) -> None:
    class Moving(LocalBackend):
        def read(self, key: str) -> BinaryIO:
            if key.endswith("/aliases/thing/best"):
                self.remove(key)
            return super().read(key)

    backend = Moving(tmp_path / "place", "trials")
    backend.put(seal(), Labels(aliases=("best", "good")))
    (stored,) = backend.list(name="thing", type=None)
    assert stored.aliases == ("good",)


def test_a_version_is_not_overwritten_when_its_claim_is_lost(backend: LocalBackend, seal: Seal, tmp_path: Path) -> None:
    for text in ("first", "second"):
        backend.put(seal(text), Labels())
    kept = (tmp_path / "place" / "trials" / "versions" / "thing" / "v1.json").read_bytes()
    shutil.rmtree(tmp_path / "place" / "trials" / "claims")
    assert backend.put(seal("third"), Labels()).number == 2
    assert (tmp_path / "place" / "trials" / "versions" / "thing" / "v1.json").read_bytes() == kept
    assert [stored.number for stored in backend.list(name="thing", type=None)] == [2, 1, 0]


@pytest.mark.parametrize("hint", [None, b"0"], ids=["no hint", "an old hint"])
def test_the_newest_version_is_found_without_claims(
    backend: LocalBackend, seal: Seal, tmp_path: Path, hint: bytes | None
) -> None:
    for text in ("first", "second", "third"):
        last = backend.put(seal(text), Labels())
    shutil.rmtree(tmp_path / "place" / "trials" / "claims")
    latest = tmp_path / "place" / "trials" / "latest" / "thing"
    latest.unlink() if hint is None else latest.write_bytes(hint)
    assert backend.find("thing", "latest") == last


def test_healing_brings_only_what_the_version_holds(backend: LocalBackend, seal: Seal, tmp_path: Path) -> None:
    stored, other = backend.put(seal(), Labels()), seal("other")
    backend.heal(stored, other)
    assert len([path for path in (tmp_path / "place" / "blobs").rglob("*") if path.is_file()]) == 1


def test_a_bag_of_blobs_gets_back_what_it_lost(seal: Seal, tmp_path: Path) -> None:
    bag, sealed = Bag(), seal()
    stored = bag.put(sealed, Labels())
    assert bag.put(seal(), Labels()).number == 1
    key = bag.place(stored, "file").removeprefix("bag://here/")
    assert bag.blobs.pop(key) == b"content"
    bag.heal(stored, sealed)
    bag.heal(stored, sealed)
    bag.fetch(stored, ["file"], tmp_path)
    assert (tmp_path / "file").read_text() == "content"


class CountedBag(Bag):
    """Counts how often it is asked for its keys."""

    asked = 0

    def keys(self, prefix: str) -> list[str]:
        self.asked += 1
        return super().keys(prefix)


def test_a_listing_asks_for_keys_as_often_however_many_names_there_are() -> None:
    asked = []
    for names in (1, 7):
        bag = CountedBag()
        for number in range(names):
            manifest = Manifest(f"net{number}", ArtifactType.CONFIG, f"put{number}", 1.0)
            bag.put(SealedArtifact(manifest, {}), Labels("1.0", ("best",)))
        bag.asked = 0
        found = list(bag.list(name=None, type=None))
        assert [(one.label, one.aliases) for one in found] == [("1.0", ("best",))] * names
        asked.append(bag.asked)
    assert asked[0] == asked[1]


def test_an_alias_in_a_listing_is_on_the_newest_of_its_versions_that_are_listed(
    backend: LocalBackend, seal: Seal
) -> None:
    first = backend.put(seal("first"), Labels(aliases=("best",)))
    second = backend.put(seal("second"), Labels(aliases=("best",)))
    backend.put(seal("third"), Labels(aliases=("other",)))
    backend.take_back(second)
    assert {one.number: one.aliases for one in backend.list(name=None, type=None)} == {
        first.number: ("best",),
        2: ("other",),
    }
    backend.take_back(first)
    assert {one.number: one.aliases for one in backend.list(name="thing", type=None)} == {2: ("other",)}
    found = backend.find("thing", "v2")
    assert found is not None
    assert found.aliases == ("other",)


def test_the_next_version_is_put_without_a_look_where_nobody_was_faster(backend: LocalBackend, seal: Seal) -> None:
    assert backend.recall("thing") is None
    assert backend.put_next(seal("first"), Labels()) is None
    first = backend.put(seal("first"), Labels())
    assert backend.recall("thing") == first
    second = backend.put_next(seal("second"), RELEASE)
    assert second is not None
    assert (second.number, second.label) == (1, "1.0")
    assert backend.recall("thing") == backend.find("thing", "latest") == second


def test_where_another_process_was_faster_or_deleted_what_was_seen_nothing_is_put(tmp_path: Path, seal: Seal) -> None:
    ours, theirs = (LocalBackend(tmp_path / "place", "trials") for _ in range(2))
    ours.put(seal("first"), Labels())
    second = theirs.put(seal("second"), Labels())
    assert ours.put_next(seal("third"), Labels()) is None
    assert ours.find("thing", "latest") == second
    theirs.delete(second)
    assert ours.put_next(seal("third"), Labels()) is None
    assert [stored.number for stored in ours.list(name=None, type=None)] == [0]
    # What was begun and never stored has its number for ever.
    assert ours.put(seal("third"), Labels()).number == 2


def test_a_version_whose_claim_was_lost_is_not_overwritten(backend: LocalBackend, tmp_path: Path, seal: Seal) -> None:
    backend.put(seal("first"), Labels())
    theirs = LocalBackend(tmp_path / "place", "trials").put(seal("second"), Labels())
    backend.remove("trials/claims/thing/v1")
    assert backend.put_next(seal("third"), Labels()) is None
    assert backend.find("thing", "v1") == theirs


def test_the_newest_versions_of_few_names_are_remembered_and_of_few_files(
    backend: LocalBackend, tmp_path: Path
) -> None:
    file = ArtifactFile("file", 4, hashlib.sha256(b"text").hexdigest())
    sources = {"file": write(tmp_path / "source", "text")}
    for number in range(257):
        manifest = Manifest(f"name{number}", ArtifactType.CONFIG, f"put{number}", 1.0, files=(file,))
        backend.put(SealedArtifact(manifest, sources), Labels())
    assert backend.recall("name0") is None
    assert backend.recall("name1") is not None
    many = tuple(attrs.evolve(file, artifact_path=f"{number}") for number in range(blob_backend._FEW_FILES + 1))
    manifest = Manifest("name1", ArtifactType.CONFIG, "many", 1.0, files=many)
    backend.put(SealedArtifact(manifest, {str(number): sources["file"] for number in range(len(many))}), Labels())
    assert backend.recall("name1") is None
