"""What plugins get from the core for a directory of blobs, and for what a server is still to get."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from making import settle, without_rights, write

from tracelet.core.store import blob_key
from tracelet.plugin import (
    ArtifactFile,
    ArtifactType,
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "place"


@pytest.fixture
def folder(root: Path) -> FolderBackend:
    return FolderBackend("folder://place", root, "trials")


@pytest.fixture
def catalogue(root: Path) -> PendingCatalogue:
    return PendingCatalogue("offline://place", root, "trials")


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
    folder.delete(folder.put(seal("first"), Labels()))
    blob = settle(blob_of(root, "first"))
    folder.write_file(blob.relative_to(root).as_posix(), seal("first").sources["file"], blob.name, None)
    assert list(folder.collect(older_than=A_WHILE_AGO)) == []
    assert blob.exists()


def test_a_collection_clears_what_no_version_names_and_what_was_interrupted(
    folder: FolderBackend, root: Path, seal: Seal
) -> None:
    kept = folder.put(seal("kept"), Labels())
    gone = folder.put(seal("other"), Labels())
    folder.delete(gone)
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
    catalogue.put(seal("first"), Labels())
    catalogue.put(seal("second"), Labels())
    catalogue.forget("thing", "put-first")
    catalogue.forget("thing", "put-of-nobody")
    assert [stored.manifest.put_id for stored in catalogue.list(name=None, type=None)] == ["put-second"]
    settle(blob_of(root, "first"))
    assert list(catalogue.collect(older_than=A_WHILE_AGO)) == [len("first")]


def test_a_catalogue_whose_directory_was_taken_away_is_empty(
    catalogue: PendingCatalogue, root: Path, seal: Seal
) -> None:
    catalogue.put(seal("first"), Labels())
    shutil.rmtree(root)
    assert catalogue.find("thing", "latest") is None
    assert list(catalogue.list(name=None, type=None)) == []
