"""Importing from a folder on disk: what in it is an artifact, when it is the same one again, and what cannot be one."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanding import run_both
from making import full_disk, settle, without_rights, write

from tracelet import ArtifactError, ArtifactNotFound, ArtifactType, IntegrityError
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.transfer.folders import Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "results"
    place.mkdir()
    return place


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def found(place: Path | str) -> dict[str, ForeignArtifact]:
    return {one.name: one for one in Folders().discover(str(place))}


def fetched(one: ForeignArtifact, dest: Path) -> dict[str, bytes]:
    dest.mkdir()
    Folders().fetch_foreign(one, dest)
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}


def reason(one: ForeignArtifact, dest: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        Folders().fetch_foreign(one, dest)
    return str(caught.value)


# -- what is an artifact


def test_each_entry_at_the_top_is_an_artifact_with_all_that_is_in_it(folder: Path, tmp_path: Path) -> None:
    write(folder / "net.json", "{}")
    write(folder / "run" / "a.txt", "a")
    write(folder / "run" / "deep" / "er" / ".hidden", "b")
    one, two = found(folder)["net.json"], found(folder)["run"]
    assert (one.kind, [file.path for file in one.files]) == ("file", ["net.json"])
    assert (two.kind, two.size_bytes, two.experiment) == ("folder", 2, "results")
    assert fetched(one, tmp_path / "1") == {"net.json": b"{}"}
    assert fetched(two, tmp_path / "2") == {"a.txt": b"a", "deep/er/.hidden": b"b"}


def test_a_file_given_as_the_place_is_one_artifact(folder: Path, tmp_path: Path) -> None:
    write(folder / "beside")
    one = found(write(folder / "weights.bin", b"w"))["weights.bin"]
    assert one.experiment == "results"
    assert fetched(one, tmp_path / "1") == {"weights.bin": b"w"}


def test_the_type_is_told_as_for_what_is_logged(folder: Path) -> None:
    write(folder / "page.md", "# Title\n")
    write(folder / "settings" / "a.yaml", "a: 1\n")
    write(folder / "mixed" / "a.yaml", "a: 1\n")
    write(folder / "mixed" / "b.md", "# Title\n")
    types = {name: one.type for name, one in found(folder).items()}
    assert types == {"page.md": ArtifactType.REPORT, "settings": ArtifactType.CONFIG, "mixed": ArtifactType.CUSTOM}


def test_an_artifact_is_as_old_as_its_newest_file(folder: Path) -> None:
    settle(write(folder / "run" / "old"))
    os.utime(write(folder / "run" / "new"), (1_650_000_000, 1_650_000_000))
    assert found(folder)["run"].created_at == 1_650_000_000


def test_a_file_from_before_1970_is_as_old_as_a_file_can_be(folder: Path) -> None:
    os.utime(write(folder / "old"), (-5, -5))
    assert found(folder)["old"].created_at == 0


def test_what_holds_no_files_and_what_was_logged_are_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "empty" / "deeper").mkdir(parents=True)
    write(folder / ".tracelet" / "outbox" / "x")
    write(folder / "run" / ".tracelet" / "x")
    write(folder / "run" / "a", "a")
    (folder / "run" / "nothing").mkdir()
    assert list(found(folder)) == ["run"]
    assert fetched(found(folder)["run"], tmp_path / "1") == {"a": b"a"}


# -- the same again, or a version of its own


def test_what_has_not_changed_has_the_same_address(folder: Path) -> None:
    write(folder / "run" / "a")
    (one,) = Folders().discover(str(folder))
    (two,) = Folders().discover(f"{folder}/.")
    assert one.address == two.address
    assert one.address.startswith(f"{(folder / 'run').as_uri()}#")


@pytest.mark.parametrize("change", ["size", "mtime", "added", "deleted", "renamed"])
def test_what_has_changed_has_another_address(change: str, folder: Path) -> None:
    file = settle(write(folder / "run" / "a", "one"))
    settle(write(folder / "run" / "b"))
    before = found(folder)["run"].address
    if change == "size":
        settle(write(file, "longer"))
    elif change == "mtime":
        write(file, "two")
    elif change == "added":
        settle(write(folder / "run" / "c"))
    elif change == "deleted":
        file.unlink()
    else:
        file.rename(folder / "run" / "c")
    assert found(folder)["run"].address != before


def test_equal_entries_have_addresses_of_their_own(folder: Path) -> None:
    for name in ("one", "two"):
        settle(write(folder / name / "a"))
    assert found(folder)["one"].address != found(folder)["two"].address


# -- fetching


def test_the_users_file_is_copied_and_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    file = settle(write(folder / "a", "one"))
    before = file.stat()
    fetched(found(folder)["a"], tmp_path / "1")
    write(tmp_path / "1" / "a", "other")
    after = file.stat()
    assert (file.read_text(), after.st_mtime_ns, after.st_nlink) == ("one", before.st_mtime_ns, 1)


def test_a_file_that_changed_since_it_was_listed_is_told(folder: Path, tmp_path: Path) -> None:
    file = settle(write(folder / "run" / "a", "one"))
    listed = found(folder)["run"]
    write(file, "two")
    with pytest.raises(IntegrityError, match=r"run/a' changed since it was listed: import again when nobody writes"):
        fetched(listed, tmp_path / "1")


def test_a_file_that_went_since_it_was_listed_is_told(folder: Path, tmp_path: Path) -> None:
    file = write(folder / "run" / "a", "one")
    listed = found(folder)["run"]
    file.unlink()
    with pytest.raises(ArtifactNotFound, match=r"run/a' cannot be read: No such file or directory. Import again"):
        fetched(listed, tmp_path / "1")


def test_a_full_disk_is_told_of_the_target(folder: Path, tmp_path: Path) -> None:
    listed = found(write(folder / "a", bytes(100_000)))["a"]
    (tmp_path / "1").mkdir()
    with full_disk(1000), pytest.raises(ArtifactError, match=r"/1' does not take the files: .* Free space there"):
        Folders().fetch_foreign(listed, tmp_path / "1")


# -- links


def test_links_that_stay_inside_are_followed(folder: Path, tmp_path: Path) -> None:
    write(folder / "run" / "a", "a")
    (folder / "run" / "again").symlink_to("a")
    (folder / "latest").symlink_to("run")
    (folder / "file").symlink_to(folder / "run" / "a")
    assert fetched(found(folder)["latest"], tmp_path / "1") == {"a": b"a", "again": b"a"}
    assert fetched(found(folder)["file"], tmp_path / "2") == {"file": b"a"}


def test_the_place_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    write(folder / "a", "a")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "file").symlink_to(folder / "a")
    assert fetched(found(tmp_path / "link")["a"], tmp_path / "1") == {"a": b"a"}
    assert fetched(found(tmp_path / "file")["file"], tmp_path / "2") == {"file": b"a"}


def test_a_link_out_of_the_folder_takes_nothing_along_and_is_told(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret", "s")
    (folder / "top").symlink_to(tmp_path / "secret")
    write(folder / "run" / "a")
    (folder / "run" / "out").symlink_to(tmp_path / "secret")
    write(folder / "good", "g")
    assert "top' is a link out of the folder: import what it leads to by itself" in reason(
        found(folder)["top"], tmp_path
    )
    assert "run/out' is a link out of the folder" in reason(found(folder)["run"], tmp_path)
    assert fetched(found(folder)["good"], tmp_path / "1") == {"good": b"g"}


def test_the_command_names_what_has_no_version_by_its_name_alone(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret", "s")
    (folder / "top").symlink_to(tmp_path / "secret")
    _, err = run_both("import", "dir", str(folder), "--to", "local", "--dir", str(tmp_path / "stored"), code=1)
    assert err.startswith("error: top: '")


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_link_to_nothing_is_told(target: str, folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(target)
    assert "link' cannot be added" in reason(found(folder)["link"], tmp_path)


# -- what cannot be imported


def test_what_is_no_file_is_told_and_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock"))
        (folder / "run").mkdir()
        os.mkfifo(folder / "run" / "pipe")
        write(folder / "good", "g")
        listed = found(folder)
        assert "sock' is not a regular file: only files can be stored" in reason(listed["sock"], tmp_path)
        assert "run/pipe' is not a regular file" in reason(listed["run"], tmp_path)
        assert fetched(listed["good"], tmp_path / "1") == {"good": b"g"}
        assert listed["sock"].kind == "file that cannot be imported"
        # It counts as one that has files: what has none is nothing to be told.
        assert listed["run"].files
        assert not listed["run"].files_known
        # It does not make the import look older than what is in it.
        assert listed["run"].created_at >= listed["good"].created_at


def test_a_file_that_cannot_be_read_is_told(open_folder: Path, tmp_path: Path) -> None:
    with without_rights(write(open_folder / "run" / "a")):
        listed = found(open_folder)["run"]
    assert "run/a' cannot be read: check its permissions" in reason(listed, tmp_path)


def test_a_name_that_not_every_system_can_hold_is_told(folder: Path, tmp_path: Path) -> None:
    write(folder / os.fsdecode(b"caf\xe9"))
    write(folder / "run" / "a\nb")
    listed = found(folder)
    assert "it is not valid Unicode" in reason(listed["caf\ufffd"], tmp_path)
    assert "it has a backslash or a control character" in reason(listed["run"], tmp_path)


@pytest.mark.parametrize("place", ["nowhere", "file/below"])
def test_a_place_that_is_not_there_is_told(place: str, folder: Path) -> None:
    write(folder / "file")
    with pytest.raises(ArtifactNotFound, match=r"cannot be listed: .*\. Give a folder or a file of this machine"):
        found(folder / place)


def test_a_folder_that_cannot_be_listed_is_told(open_folder: Path) -> None:
    with without_rights(open_folder), pytest.raises(ArtifactNotFound, match="cannot be listed: Permission denied"):
        found(open_folder)
