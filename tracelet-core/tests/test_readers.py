"""Who can read what is stored: no copy of a file is for more people than the file was, and folders are their maker's alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from commanding import no_lanes_after, program
from making import write
from watching import Scripted

from tracelet import ArtifactType, Experiment, ExperimentConfig
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.system.files import copy_file, limit_readers, make_folder

SECRET = b"for my eyes only" * 200
SHA256 = hashlib.sha256(SECRET).hexdigest()

#: Keeps a private file in every way that there is, in a process that lets everybody read what it makes, and is killed.
KEEP = """
os.umask(0)

def private(path):
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(b"for my eyes only" * 200)
    return path

watched = Path("watched")
watched.mkdir()
exp = experiment(
    "local", "scripted", large_file_mb=0.003, automagic_artifacts=True, watch_filesystem=True, artifact_watch_dirs=["watched"]
).start()
for name in ("small", "large"):
    made = TraceletArtifact(name, ArtifactType.DATASET).add_file(private(name)).add_object({"a": 1}, "object")
    made.metadata["force_reference"] = name == "large"
    exp.log_artifact(made)
exp.submit_artifact(TraceletArtifact("submitted", ArtifactType.DATASET).add_file("small")).result()
exp.get_artifact("small").download()
private("watched/captured.bin")
while not any("captured" in one.name for one in exp.list_artifacts(backend="local")):
    time.sleep(0.05)
os._exit(9)
"""


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What is made without a thought is for everybody to read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def wide(folder: Path) -> dict[str, str]:
    """What others than its owner can do something with."""
    return {str(path.relative_to(folder)): oct(mode(path)) for path in folder.rglob("*") if mode(path) & 0o077}


def bytes_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == SECRET]


def test_nothing_in_a_tracelet_directory_is_for_others(scripted: Scripted, home: Path) -> None:
    scripted.told(put="away")
    with no_lanes_after():
        program(KEEP, code=9)
    directory = home / ".tracelet"
    assert mode(directory) == 0o700
    assert {name: modes for name, modes in wide(directory).items() if not (directory / name).is_file()} == {}
    assert len(bytes_of(directory)) >= 2
    assert [path for path in bytes_of(directory) if mode(path) & 0o077] == []
    kinds = {path.suffix for path in directory.rglob("*") if path.is_file()}
    assert {".json", ".lease", ".log", ".jsonl"} <= kinds
    notes = [path for path in directory.rglob("*") if path.suffix in {".json", ".lease", ".log", ".jsonl"}]
    assert [path for path in notes if mode(path) & 0o077 and "downloads" not in path.parts] == []


def test_in_a_directory_of_an_earlier_release_new_copies_are_not_for_others(home: Path, open_umask: None) -> None:
    directory = home / ".tracelet"
    for folder in ("local/blobs/sha256", "objects/sha256", "staging", "outbox"):
        (directory / folder).mkdir(parents=True)
    for folder in (directory, *directory.rglob("*")):
        folder.chmod(0o755)
    secret = write(home / "secret", SECRET)
    secret.chmod(0o600)
    with Experiment("study", artifacts=True, config=ExperimentConfig(large_file_mb=0.001)) as exp:
        for large in (True, False):
            artifact = exp.create_artifact(f"secret-{large}", ArtifactType.DATASET).add_file(secret)
            artifact.metadata["force_reference"] = large
            exp.log_artifact(artifact)
    assert len(bytes_of(directory)) == 2
    assert [path for path in bytes_of(directory) if mode(path) & 0o077] == []
    assert mode(directory / "objects" / "sha256" / SHA256[:2]) == 0o700


@pytest.mark.parametrize(
    ("has", "gets"),
    [
        (0o600, 0o600),
        (0o400, 0o600),
        (0o000, 0o600),
        (0o640, 0o640),
        (0o660, 0o640),
        (0o644, 0o644),
        (0o666, 0o644),
        (0o755, 0o644),
        (0o6755, 0o644),
    ],
    ids=oct,
)
def test_a_copy_is_for_the_files_readers_and_nobodys_to_run_or_change(
    tmp_path: Path, open_umask: None, has: int, gets: int
) -> None:
    source = write(tmp_path / "source", SECRET)
    source.chmod(has)
    if not os.access(source, os.R_OK):
        pytest.skip("only root reads what nobody may read")
    store = LocalStore(tmp_path / "store")
    store.put(source, SHA256)
    store.fetch(SHA256, tmp_path / "back")
    assert [mode(path) for path in (store.path(SHA256), tmp_path / "back")] == [gets, gets]


def test_of_two_files_with_the_same_bytes_the_one_for_fewer_people_counts(tmp_path: Path, open_umask: None) -> None:
    for first, second in ((0o644, 0o600), (0o600, 0o644)):
        store = LocalStore(tmp_path / f"store{first}")
        for way, has in ((store.put, first), (store.put, second), (store.adopt, second)):
            source = write(tmp_path / f"{has}", SECRET)
            source.chmod(has)
            way(source, SHA256)
        assert mode(store.path(SHA256)) == 0o600


def test_a_version_is_for_fewer_people_once_the_same_content_is_logged_from_a_file_that_is(
    home: Path, open_umask: None
) -> None:
    source = write(home / "data", SECRET)
    for has, name, wanted in ((0o644, "data", 0o644), (0o600, "data", 0o600), (0o644, "other", 0o600)):
        source.chmod(has)
        with Experiment("study", artifacts=True) as exp:
            exp.log_artifact(exp.create_artifact(name, ArtifactType.DATASET).add_file(source))
        assert [mode(path) for path in bytes_of(home / ".tracelet")] == [wanted]


@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_what_is_downloaded_is_for_the_files_readers_in_folders_like_the_one_that_was_named(
    home: Path, open_umask: None, large: bool
) -> None:
    source = write(home / "data", SECRET)
    source.chmod(0o600)
    with Experiment("study", artifacts=True) as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET).add_file(source, "deep/er/data")
        artifact.metadata["force_reference"] = large
        exp.log_artifact(artifact)
        (home / "out").mkdir(mode=0o750)
        own, named = exp.get_artifact("data").download(), exp.get_artifact("data").download(home / "out")
    assert wide(home / ".tracelet" / "downloads") == {}
    assert mode(own / "deep" / "er" / "data") == mode(named / "deep" / "er" / "data") == 0o600
    assert mode(named / "deep") == mode(named / "deep" / "er") == 0o750


def test_a_copy_is_nobody_elses_while_it_is_written(
    tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, seen = write(tmp_path / "source", SECRET), []
    honest = shutil.copyfileobj

    def look(reader: Any, writer: Any, *length: int) -> None:
        honest(reader, writer, *length)
        seen.append(stat.S_IMODE(os.fstat(writer.fileno()).st_mode))

    monkeypatch.setattr(shutil, "copyfileobj", look)
    copy_file(source, tmp_path / "copy")
    assert seen in ([0o600], [])  # a filesystem that shares blocks copies nothing


# -- places that several people share


@pytest.fixture
def everyday_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("root", [0o2770, 0o770, 0o2775], ids=oct)
def test_in_a_store_that_a_group_shares_the_group_reads_and_writes(
    tmp_path: Path, everyday_umask: None, root: int
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(root)
    store, source = LocalStore(shared), write(tmp_path / "source", SECRET)
    source.chmod(0o640)
    store.put(source, SHA256)
    store.record(SHA256, "put")
    assert {mode(path) for path in shared.rglob("*") if path.is_dir()} == {root}
    assert mode(store.path(SHA256)) == 0o640
    assert mode(shared / "refs" / SHA256 / "put") == root & 0o664
    source.chmod(0o600)
    store.put(source, SHA256)
    assert mode(store.path(SHA256)) == 0o600


def test_a_tracelet_directory_that_a_group_shares_stays_shared(home: Path, everyday_umask: None) -> None:
    (home / ".tracelet").mkdir()
    (home / ".tracelet").chmod(0o2770)
    with Experiment("study", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_file(write(home / "data", SECRET)))
    folders = [path for path in (home / ".tracelet" / "local").rglob("*") if path.is_dir()]
    assert {mode(path) for path in folders} == {0o2770}
    assert {mode(path) for path in (home / ".tracelet" / "local").rglob("*.json")} == {0o660}
    assert [mode(path) for path in bytes_of(home / ".tracelet" / "local")] == [0o644]


@pytest.mark.parametrize("above", [0o1777, 0o755, 0o2770, 0o775], ids=oct)
def test_a_store_or_directory_that_is_made_is_its_makers_alone(
    tmp_path: Path, open_umask: None, above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(above)
    monkeypatch.chdir(place)
    LocalStore(place / "store").put(write(tmp_path / "source", SECRET), SHA256)
    with Experiment("study", artifacts=True):
        pass
    assert {mode(path) & 0o777 for path in (place / "store", place / ".tracelet")} == {0o700}
    assert list(wide(place / "store")) == [f"objects/sha256/{SHA256[:2]}/{SHA256}"]


def test_in_a_place_where_everybody_keeps_to_their_own_folders_are_their_makers(
    tmp_path: Path, open_umask: None
) -> None:
    tmp_path.chmod(0o1777)
    make_folder(tmp_path / "mine" / "too")
    assert [mode(path) for path in (tmp_path / "mine", tmp_path / "mine" / "too")] == [0o700, 0o700]
    tmp_path.chmod(0o700)


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        make_folder(write(tmp_path / "file"))


def test_a_place_that_takes_no_folders_is_an_error() -> None:
    with pytest.raises(OSError, match="/proc/none"):
        make_folder(Path("/proc/none/folder"))


def test_a_folder_that_several_make_at_once_is_there_for_each(tmp_path: Path) -> None:
    for lot in range(200):
        together = Barrier(2)

        def make(number: int, lot: int = lot, together: Barrier = together) -> None:
            together.wait()
            make_folder(tmp_path / str(lot) / "deep" / str(number))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(make, range(2)))
        assert len(list((tmp_path / str(lot) / "deep").iterdir())) == 2


@pytest.fixture
def without_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem, such as those of memory sticks, that keeps no modes and says so."""

    def no(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", no)


def test_where_there_are_no_modes_everything_is_stored(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    source, other = write(tmp_path / "source", SECRET), write(tmp_path / "other", SECRET)
    other.chmod(0o600)
    request.getfixturevalue("without_modes")
    store = LocalStore(shared)
    for one in (source, other):
        store.put(one, SHA256)
    store.record(SHA256, "put")
    limit_readers(store.path(SHA256), other)
    assert store.has(SHA256, len(SECRET))
    assert Outbox(shared).store.recorded() == {SHA256}
