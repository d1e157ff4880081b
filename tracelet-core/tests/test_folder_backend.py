"""What plugins get from the core for a directory of blobs, and for what a server is still to get."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import attrs
import pytest
from making import settle, without_rights, write

from tracelet.builtin.local import LocalBackend
from tracelet.core.storage.blob_store import LocalStore, blob_key
from tracelet.core.system import durability
from tracelet.core.system.files import hash_file
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
    FileBlob,
    FileChanged,
    FolderBackend,
    Labels,
    Manifest,
    PendingCatalogue,
    SealedArtifact,
)

Seal = Callable[[str], SealedArtifact]
A_WHILE_AGO = time.time() - 3600


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    """Seal one file of a text, as the put of that name."""

    def make(text: str) -> SealedArtifact:
        source = write(tmp_path / "sources" / text, text)
        file = ArtifactFile("file", len(text), hashlib.sha256(text.encode()).hexdigest())
        manifest = Manifest("thing", ArtifactType.CONFIG, f"put-{text}", 1.0, files=(file,))
        return SealedArtifact(manifest, {"file": source})

    return make


def stamped(sealed: SealedArtifact) -> SealedArtifact:
    """The same, of a file that is the user's and may change."""
    return attrs.evolve(sealed, stamps={name: hash_file(path)[1] for name, path in sealed.sources.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "place"


@pytest.fixture
def folder(root: Path) -> FolderBackend:
    return FolderBackend("folder://place", root, "trials")


@pytest.fixture
def catalogue(root: Path) -> PendingCatalogue:
    return PendingCatalogue("offline://place", root, "trials", root.parent)


def content(backend: FolderBackend, ref: str, dest: Path) -> str | None:
    """What another reader of the same directory gets."""
    stored = backend.find("thing", ref)
    if stored is None:
        return None
    backend.fetch(stored, ["file"], dest)
    return (dest / "file").read_text()


def blob_of(root: Path, text: str) -> Path:
    return root / "blobs" / blob_key(hashlib.sha256(text.encode()).hexdigest())


def test_what_is_put_into_a_directory_is_there_for_the_next_reader(
    folder: FolderBackend, root: Path, seal: Seal, tmp_path: Path
) -> None:
    folder.put(seal("first"), Labels("1.0", ("best",)))
    folder.put(seal("second"), Labels())
    reader = FolderBackend("folder://place", root, "trials")
    tmp_path.joinpath("dest").mkdir()
    assert [content(reader, ref, tmp_path / "dest") for ref in ("v0", "1.0", "best", "latest", "v2")] == [
        "first",
        "first",
        "first",
        "second",
        None,
    ]
    assert [stored.version for stored in reader.list(name=None, type=None)] == ["v1", "1.0"]
    assert not any(stored.pending for stored in reader.list(name=None, type=None))


def test_a_file_that_changed_after_it_was_hashed_leaves_nothing_in_the_directory(
    folder: FolderBackend, root: Path, seal: Seal
) -> None:
    sealed = seal("first")
    sealed.sources["file"].write_text("later")
    with pytest.raises(FileChanged, match="is not the file that was hashed"):
        folder.put(sealed, Labels())
    assert folder.find("thing", "latest") is None
    assert not blob_of(root, "first").exists()
    assert not list(root.rglob("*.tmp"))


def test_bytes_that_are_stored_again_are_young_again(folder: FolderBackend, root: Path, seal: Seal) -> None:
    """Or a collection that began meanwhile would take them from the version that is just being written."""
    folder.take_back(folder.put(seal("first"), Labels()))
    blob = settle(blob_of(root, "first"))
    key, source = blob.relative_to(root).as_posix(), seal("first").sources["file"]
    folder.write_files([FileBlob(key, source, blob.name, None)])
    assert list(folder.collect(older_than=A_WHILE_AGO)) == []
    assert blob.exists()


def test_a_collection_clears_what_no_version_names_and_what_was_interrupted(
    folder: FolderBackend, root: Path, seal: Seal
) -> None:
    kept = folder.put(seal("kept"), Labels())
    gone = folder.put(seal("other"), Labels())
    folder.take_back(gone)
    interrupted = write(root / "blobs" / ".half.tmp", "half")
    for path in (blob_of(root, "kept"), blob_of(root, "other"), interrupted):
        settle(path)
    assert sorted(folder.collect(older_than=A_WHILE_AGO)) == [4, 5]
    assert blob_of(root, "kept").exists()
    assert folder.find("thing", "latest") == kept


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(folder: FolderBackend, root: Path, seal: Seal) -> None:
    assert list(folder.list(name=None, type=None)) == []
    folder.put(seal("first"), Labels())
    with without_rights(root / "trials" / "versions"), pytest.raises(PermissionError):
        list(folder.list(name=None, type=None))


def test_what_a_server_is_still_to_get_is_marked_wherever_it_is_shown(catalogue: PendingCatalogue, seal: Seal) -> None:
    stored = catalogue.put(seal("first"), Labels())
    found = catalogue.find("thing", "latest")
    assert found is not None
    moved = catalogue.relabel(found, Labels("1.0", ("best",)))
    assert (moved.version, moved.aliases) == ("1.0", ("best",))
    assert [one.pending for one in (stored, found, moved, *catalogue.list(name="thing", type=None))] == [True] * 4


def test_what_the_server_has_by_now_is_forgotten_and_its_bytes_cleared_away(
    catalogue: PendingCatalogue, root: Path, seal: Seal
) -> None:
    sealed = seal("first")
    catalogue.put(sealed, Labels())
    catalogue.put(seal("second"), Labels())
    for source in sealed.sources.values():
        source.unlink()  # what waits for the server is Tracelet's own, and linked
    catalogue.forget("thing", "put-first")
    catalogue.forget("thing", "put-of-nobody")
    assert [stored.manifest.put_id for stored in catalogue.list(name=None, type=None)] == ["put-second"]
    settle(blob_of(root, "first"))
    assert list(catalogue.collect(older_than=A_WHILE_AGO)) == [0], "the outbox has the bytes, too"
    assert not blob_of(root, "first").exists()


def test_what_waits_for_a_server_is_on_the_disk_once_and_is_no_file_of_the_users(
    catalogue: PendingCatalogue, root: Path, seal: Seal
) -> None:
    """As the outbox's blob, which the catalogue has another name for. What the user writes later is not in it."""
    sealed = stamped(seal("first"))
    catalogue.put(sealed, Labels())
    sealed.sources["file"].write_text("later")
    blob, kept = blob_of(root, "first"), LocalStore(root.parent).path(blob_of(root, "first").name)
    assert blob.samefile(kept)
    assert blob.stat().st_nlink == 2
    assert blob.read_text() == "first"
    assert [path.read_text() for path in catalogue.as_kept(sealed).sources.values()] == ["first"]


def test_what_waits_for_a_server_is_copied_where_nothing_can_be_linked(
    catalogue: PendingCatalogue, root: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refused(source: str | Path, target: str | Path) -> None:
        if "blobs" in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", refused)
    catalogue.put(stamped(seal("first")), Labels())
    assert blob_of(root, "first").read_text() == "first"
    assert blob_of(root, "first").stat().st_nlink == 1


def test_a_catalogue_whose_directory_was_taken_away_is_empty(
    catalogue: PendingCatalogue, root: Path, seal: Seal
) -> None:
    catalogue.put(seal("first"), Labels())
    shutil.rmtree(root)
    assert catalogue.find("thing", "latest") is None
    assert list(catalogue.list(name=None, type=None)) == []


def test_a_damaged_blob_is_found_out_where_its_time_cannot_be_set(
    folder: FolderBackend, root: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory of several users, a blob may be another's: it is read then, each time."""

    def forbidden(*path: Path, ns: object = None) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", forbidden)
    sealed = seal("first")
    stored = folder.put(sealed, Labels())
    folder.heal(stored, sealed)
    blob_of(root, "first").write_text("FIRST")
    folder.heal(stored, sealed)
    assert blob_of(root, "first").read_text() == "first"


@pytest.mark.parametrize("data", [b"", b'{"schema": 1}', b'{"schema": 1, "name": "../x"}'])
def test_a_collection_takes_no_blob_that_a_damaged_manifest_may_name(
    folder: FolderBackend, root: Path, seal: Seal, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    folder.put(seal("first"), Labels())
    folder.put(seal("second"), Labels())
    manifest = root / "trials" / "versions" / "thing" / "v0.json"
    manifest.write_bytes(data)
    interrupted = write(root / "blobs" / ".half.tmp", "half")
    for path in (blob_of(root, "first"), blob_of(root, "second"), interrupted):
        settle(path)
    assert list(folder.collect(older_than=A_WHILE_AGO)) == [4]
    assert blob_of(root, "first").exists()
    assert "folder://place/trials/versions/thing/v0.json: restore it, delete it" in caplog.text
    manifest.unlink()
    assert list(folder.collect(older_than=A_WHILE_AGO)) == [5]


def test_a_version_that_goes_while_garbage_is_sought_is_no_trouble(root: Path, seal: Seal, tmp_path: Path) -> None:
    class Busy(FolderBackend):
        def read(self, key: str) -> BinaryIO:
            if key.endswith("v0.json"):
                self.remove(key)
            return super().read(key)

    FolderBackend("folder://place", root, "trials").put(seal("first"), Labels())
    settle(blob_of(root, "first"))
    assert list(Busy("folder://place", root, "trials").collect(older_than=A_WHILE_AGO)) == [5]


class Disk:
    """Notes in their order what a put has on the disk, and what it gives a name."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        sync, sync_all, replace = os.fsync, durability._sync, Path.replace

        def synced(descriptor: int) -> None:
            sync(descriptor)
            self.events.append("sync one")

        def all_synced(descriptor: int) -> None:
            sync_all(descriptor)
            self.events.append("sync all")

        def replaced(path: Path, target: Path) -> Path:
            self.events.append(f"name {target.relative_to(root).parts[0]}")
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(durability, "_sync", all_synced)
        monkeypatch.setattr(Path, "replace", replaced)


def in_groups(events: Iterable[str]) -> list[tuple[str, int]]:
    return [(event, len(list(group))) for event, group in itertools.groupby(events)]


MANY = 300


def put_many(root: Path) -> None:
    """Put many files of the user's."""
    root.mkdir()
    sources = {f"{number}": write(root.parent / "sources" / f"{number}", f"{number}") for number in range(MANY)}
    hashed = {name: hash_file(path) for name, path in sources.items()}
    files = tuple(ArtifactFile(name, stamp.size_bytes, sha256) for name, (sha256, stamp) in hashed.items())
    manifest = Manifest("thing", ArtifactType.DATASET, "put", 1.0, files=files)
    stamps = {name: stamp for name, (_, stamp) in hashed.items()}
    LocalBackend(root, "trials").put(SealedArtifact(manifest, sources, stamps), Labels())


def test_the_bytes_of_many_files_are_on_the_disk_at_once_before_one_has_its_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the filesystem of this machine is, its own call is made where it is told to have one."""
    monkeypatch.setattr(durability, "_can_all_at_once", lambda folder: True)
    monkeypatch.setattr(durability, "_waiting_bytes", lambda: 0)
    disk = Disk(root, monkeypatch)
    put_many(root)
    blobs = [event for event in disk.events if event in {"sync all", "name blobs"}]
    assert in_groups(blobs) == [("sync all", 1), ("name blobs", MANY), ("sync all", 1)]
    # The manifest comes last: itself, then its name and those of its folders.
    assert disk.events.count("sync one") < 20


@pytest.mark.parametrize(("whole", "waiting"), [(False, 0), (True, 10**12)], ids=["the system cannot", "others write"])
def test_many_files_are_on_the_disk_each_by_itself_where_all_at_once_is_not_to_be_had(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: bool,
    waiting: int,
) -> None:
    monkeypatch.setattr(durability, "_can_all_at_once", lambda folder: whole)
    monkeypatch.setattr(durability, "_waiting_bytes", lambda: waiting)
    disk = Disk(root, monkeypatch)
    put_many(root)
    assert "sync all" not in disk.events
    named = [number for number, event in enumerate(disk.events) if event == "name blobs"]
    folders = list((root / "blobs" / "sha256").iterdir())
    assert disk.events[: named[0]].count("sync one") >= MANY
    assert disk.events[named[-1] :].count("sync one") >= len(folders)


def test_a_filesystem_that_could_not_write_all_leaves_nothing_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durability, "_can_all_at_once", lambda folder: True)
    monkeypatch.setattr(durability, "_waiting_bytes", lambda: 0)
    monkeypatch.setattr(durability, "_sync", fails)
    with pytest.raises(OSError, match="Input/output"):
        put_many(root)
    assert not [path for path in (root / "blobs").rglob("*") if path.is_file()]
    assert not list(root.glob("trials/versions/*/*"))


def test_bytes_and_their_names_are_on_the_disk_before_the_manifest_and_its_name_before_the_end(
    root: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace, link = os.fsync, os.replace, os.link

    def synced(descriptor: int) -> None:
        sync(descriptor)
        events.append(f"sync {os.path.relpath(os.readlink(f'/proc/self/fd/{descriptor}'), root)}")

    def replaced(source: Path | str, target: Path | str) -> None:
        events.append(f"name {os.path.relpath(target, root)}")
        replace(source, target)

    def linked(source: Path | str, target: Path | str) -> None:
        events.append(f"name {os.path.relpath(target, root)}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "link", linked)
    for make in (LocalBackend, lambda root, experiment: FolderBackend("folder://place", root, experiment)):
        root.mkdir()
        events.clear()
        make(root, "trials").put(seal("first"), Labels())
        blob = blob_of(root, "first").relative_to(root)
        named, committed = events.index(f"name {blob}"), events.index("name trials/versions/thing/v0.json")
        before = events[named:committed]
        assert f"sync {blob.parent}" in before
        assert {"sync blobs", "sync blobs/sha256", "sync ."} <= set(before)
        assert "sync trials/versions/thing" in events[committed:]
        shutil.rmtree(root)
