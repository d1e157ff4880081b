"""What core asks of an open backend, and what it makes of the answers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from making import settle, write

from tracelet.builtin.local import LocalBackend
from tracelet.core.lanes.backend_service import BackendService
from tracelet.core.lanes.wire import error_from_wire, error_to_wire
from tracelet.core.system.files import FileChanged, stamp
from tracelet.exceptions import BackendError, IntegrityError
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
    BackendContext,
    BackendSpec,
    Labels,
    Manifest,
    RunInfo,
    SealedArtifact,
    StoredArtifact,
)
from tracelet.settings import NoSettings

RUN = RunInfo("run", "trials", 1.0)


def service(tmp_path: Path, kind: type[LocalBackend]) -> BackendService:
    spec = BackendSpec(name="kind", open=lambda experiment, settings, context: kind(tmp_path / "place", experiment))
    return BackendService(spec, "trials", NoSettings(), BackendContext(tmp_path))


class Bare:
    """What every backend can do, and nothing besides."""

    def __init__(self, root: Path, experiment: str) -> None:
        own = LocalBackend(root, experiment)
        self.start, self.stop, self.put, self.find, self.list, self.fetch = (
            own.start,
            own.stop,
            own.put,
            own.find,
            own.list,
            own.fetch,
        )


def one_file(tmp_path: Path, put_id: str = "put", content: str = "content") -> SealedArtifact:
    source = settle(write(tmp_path / "file", content))
    file = ArtifactFile("file", len(content), hashlib.sha256(content.encode()).hexdigest())
    manifest = Manifest("thing", ArtifactType.CONFIG, put_id, 1.0, files=(file,))
    return SealedArtifact(manifest, {"file": source}, {"file": stamp(source.stat())})


def test_a_source_that_is_gone_after_its_upload_has_not_changed(tmp_path: Path) -> None:
    class Slow(LocalBackend):
        def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
            stored = super().put(sealed, labels)
            sealed.sources["file"].unlink()
            return stored

    sealed = one_file(tmp_path)
    open_one = service(tmp_path, Slow)
    delivered = open_one.deliver(sealed, Labels(), RUN, False)
    assert delivered.created
    assert open_one.find("thing", "latest") == delivered.stored


def test_a_backend_that_cannot_heal_is_left_in_peace_and_another_way_is_told(tmp_path: Path) -> None:
    sealed = one_file(tmp_path)
    open_one = BackendService(
        BackendSpec(name="kind", open=lambda experiment, settings, context: Bare(tmp_path / "place", experiment)),
        "trials",
        NoSettings(),
        BackendContext(tmp_path),
    )
    stored = open_one.deliver(sealed, Labels(), RUN, False).stored
    (blob,) = (path for path in (tmp_path / "place" / "blobs").rglob("*") if path.is_file())
    blob.unlink()
    assert open_one.deliver(sealed, Labels(), RUN, False).stored == stored
    assert not blob.exists()
    assert open_one.remedy(stored, "file") == "Log it again with another description, which makes a new version"
    assert open_one.places(stored) == {"file": ""}


def test_a_backend_that_brings_back_what_is_gone_alone_promises_no_more(tmp_path: Path) -> None:
    """It does not look at the bytes that are there."""

    class Unlooking(LocalBackend):
        def place(self, stored: StoredArtifact, path: str) -> str:
            return ""

    open_one = service(tmp_path, Unlooking)
    stored = open_one.deliver(one_file(tmp_path), Labels(), RUN, False).stored
    assert open_one.remedy(stored, "file") == "Log it again with another description, which makes a new version"


def test_a_put_whose_manifest_was_damaged_is_stored_again(tmp_path: Path) -> None:
    """A second delivery of it finds nothing that can be read: the bytes must not be lost for that."""
    open_one = service(tmp_path, LocalBackend)
    sealed = one_file(tmp_path)
    assert open_one.deliver(sealed, Labels(), RUN, False).stored.number == 0
    (tmp_path / "place" / "trials" / "versions" / "thing" / "v0.json").write_bytes(b"")
    delivered = open_one.deliver(sealed, Labels(), RUN, True)
    assert (delivered.stored.number, delivered.created) == (1, True)
    assert open_one.deliver(sealed, Labels(), RUN, True).stored.number == 1


def test_a_put_that_is_delivered_again_is_healed(tmp_path: Path) -> None:
    open_one = service(tmp_path, LocalBackend)
    sealed = one_file(tmp_path)
    stored = open_one.deliver(sealed, Labels("1.0"), RUN, False).stored
    (blob,) = (path for path in (tmp_path / "place" / "blobs").rglob("*") if path.is_file())
    for again in (True, False):
        blob.write_bytes(b"CONTENT")
        assert open_one.deliver(sealed, Labels("1.0"), RUN, again).stored == stored
        assert blob.read_bytes() == b"content"


def test_what_could_be_listed_crosses_a_lane_with_the_error(tmp_path: Path) -> None:
    open_one = service(tmp_path, LocalBackend)
    kept = open_one.deliver(one_file(tmp_path), Labels(), RUN, False).stored
    (tmp_path / "place" / "trials" / "versions" / "thing" / "v1.json").write_bytes(b"")
    with pytest.raises(IntegrityError) as caught:
        open_one.list(None, None)
    told = error_from_wire(json.loads(json.dumps(error_to_wire(caught.value))), "kind")
    assert isinstance(told, IntegrityError)
    assert (str(told), told.answers) == (str(caught.value), (kept,))


class Forgetful(LocalBackend):
    """Remembers what it has seen last, and finds out when it puts where that is not the newest."""

    remembered: StoredArtifact | None = None
    looks = 0

    def recall(self, name: str) -> StoredArtifact | None:
        return self.remembered

    def find(self, name: str, ref: str) -> StoredArtifact | None:
        self.looks += 1
        self.remembered = super().find(name, ref)
        return self.remembered

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        self.remembered = super().put(sealed, labels)
        return self.remembered

    def put_next(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact | None:
        newest = super().find(sealed.manifest.name, "latest")
        return self.put(sealed, labels) if newest == self.remembered else None


def test_a_backend_that_remembers_is_asked_only_where_that_may_matter(tmp_path: Path) -> None:
    open_one = service(tmp_path, Forgetful)
    backend = open_one._backend
    assert isinstance(backend, Forgetful)

    def log(content: str, put_id: str) -> tuple[str, bool, int]:
        """The version, whether it is new, and how often the backend was asked for that."""
        before = backend.looks
        delivered = open_one.deliver(one_file(tmp_path, put_id, content), Labels(), RUN, False)
        return delivered.stored.version, delivered.created, backend.looks - before

    assert log("first", "a") == ("v0", True, 1)
    assert log("second", "b") == ("v1", True, 0)
    assert log("second", "c") == ("v1", False, 1)
    another = LocalBackend(tmp_path / "place", "trials")
    another.put(one_file(tmp_path, "d", "third"), Labels())
    assert log("third", "e") == ("v2", False, 1)
    another.put(one_file(tmp_path, "f", "fourth"), Labels())
    assert log("fifth", "g") == ("v4", True, 1)


class Touched(LocalBackend):
    """What it stores is written to again before it is done."""

    def put(self, sealed: SealedArtifact, labels: Labels) -> StoredArtifact:
        stored = super().put(sealed, labels)
        if sealed.manifest.put_id != "first":
            write(sealed.sources["file"], "other content")
        return stored


class Deleting(Touched):
    take_back = None  # type: ignore[assignment]


class Fixed(Deleting):
    relabel = None  # type: ignore[assignment]


class Keeping(Deleting):
    delete = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "versions", "holder", "free"),
    [(Touched, 1, 0, True), (Deleting, 1, 0, False), (Fixed, 1, None, False), (Keeping, 2, 1, False)],
)
def test_a_put_whose_source_changed_meanwhile_is_undone_as_far_as_the_backend_can(
    tmp_path: Path, kind: type[LocalBackend], versions: int, holder: int | None, free: bool
) -> None:
    open_one = service(tmp_path, kind)
    open_one.deliver(one_file(tmp_path, "first"), Labels(None, ("best",)), RUN, False)
    with pytest.raises(FileChanged):
        open_one.deliver(one_file(tmp_path, "second", "new"), Labels("1.0", ("best",)), RUN, False)
    assert len(open_one.list("thing", None)) == versions
    best = open_one.find("thing", "best")
    assert (best and best.number) == holder
    if free:
        third = one_file(tmp_path, "first", "third")
        assert open_one.deliver(third, Labels("1.0"), RUN, False).stored.label == "1.0"


class Moved(Deleting):
    """Another process moves the alias while a put is undone."""

    def delete(self, stored: StoredArtifact) -> None:
        super().delete(stored)
        self.relabel(
            next(one for one in self.list(name="thing", type=None) if one.number == 1), Labels(None, ("best",))
        )


def test_an_alias_that_another_process_moved_meanwhile_stays_where_it_is(tmp_path: Path) -> None:
    open_one = service(tmp_path, Moved)
    open_one.deliver(one_file(tmp_path, "first"), Labels(None, ("best",)), RUN, False)
    LocalBackend(tmp_path / "place", "trials").put(one_file(tmp_path, "other", "other"), Labels())
    with pytest.raises(FileChanged):
        open_one.deliver(one_file(tmp_path, "third", "new"), Labels(None, ("best",)), RUN, False)
    best = open_one.find("thing", "best")
    assert best is not None
    assert best.number == 1


class OneByOne(LocalBackend):
    """It deletes one version after the other, and says of them what the test tells it."""

    answers: ClassVar[list[object]]
    delete_many = None  # type: ignore[assignment]

    def delete(self, stored: StoredArtifact) -> int | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self._forget_version(stored)
        return answer  # type: ignore[return-value]


class AllAtOnce(LocalBackend):
    """It says of many that it was to delete what the test tells it."""

    answers: ClassVar[list[object]]

    def delete_many(self, stored: Sequence[StoredArtifact]) -> Iterator[int | None]:
        return self.answers.pop(0)  # type: ignore[return-value]


def two_of(
    tmp_path: Path, kind: type[LocalBackend], *answers: object
) -> tuple[BackendService, tuple[StoredArtifact, ...]]:
    """A backend that answers so, and two versions in it."""
    kind.answers = list(answers)  # type: ignore[attr-defined]
    opened = service(tmp_path, kind)
    stored = (opened.deliver(one_file(tmp_path, text, text), Labels(), RUN, False).stored for text in "ab")
    return opened, tuple(stored)


@pytest.mark.parametrize(("answers", "freed"), [((3, 4), (3, 4)), ((3, None), (3, None)), (("plenty", 3), (None, 3))])
def test_of_each_deleted_version_the_backend_says_what_became_free_if_it_knows_it(
    tmp_path: Path, answers: tuple[object, ...], freed: tuple[int | None, ...]
) -> None:
    opened, stored = two_of(tmp_path, OneByOne, *answers)
    assert opened.delete_many(stored) == freed
    assert opened.list(None, None) == ()


def test_what_went_before_a_version_that_cannot_be_deleted_is_told_and_the_error_to_who_asks_for_that_one(
    tmp_path: Path,
) -> None:
    opened, stored = two_of(tmp_path, OneByOne, 3, OSError("read-only"), OSError("read-only"))
    assert opened.delete_many(stored) == (3,)
    with pytest.raises(BackendError, match="read-only"):
        opened.delete_many(stored[1:])
    assert [one.number for one in opened.list(None, None)] == [1]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EACCES, "as a user who may write there"), (errno.EROFS, "as a user who may"), (errno.ENOSPC, "Free space")],
)
def test_what_the_system_refuses_is_told_with_what_to_do(tmp_path: Path, number: int, advice: str) -> None:
    opened, stored = two_of(tmp_path, OneByOne, OSError(number, os.strerror(number), "/x"))
    with pytest.raises(BackendError, match=rf"'/x'\. .*{advice}.*\.$"):
        opened.delete_many(stored)


@pytest.mark.parametrize("answer", [7, (), (1, 2, 3)])
def test_a_backend_that_does_not_answer_about_each_version_is_broken(tmp_path: Path, answer: object) -> None:
    opened, stored = two_of(tmp_path, AllAtOnce, answer)
    with pytest.raises(BackendError, match=r"delete_many (must return|was given)"):
        opened.delete_many(stored)
