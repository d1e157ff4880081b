"""Getting artifacts back: the very bytes, in their place, or an error that says what to do."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import fsspec
import pytest
from making import elsewhere, full_disk, without_rights, write
from watching import Scripted

from tracelet import Experiment, ExperimentConfig, LoggedArtifact
from tracelet.core.artifacts.entries import ArtifactReference
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import StoredArtifact
from tracelet.core.reading.content import StoredContent
from tracelet.core.storage.blob_store import LocalStore
from tracelet.exceptions import (
    AmbiguousVersion,
    ArtifactError,
    ArtifactNotFound,
    BackendAuthError,
    BackendError,
    BackendUnavailable,
    ConfigError,
    IntegrityError,
    UnknownPlugin,
    UnsafeContent,
    UnsafePath,
)
from tracelet.plugin import ArtifactType

FILES = {"a.txt": b"aaa", "deep/b.bin": b"b" * 3000, "deep/er/c": b"", "odd #?%ü": b"odd"}


def study(**config: Any) -> Experiment:
    return Experiment("study", artifacts=True, config=ExperimentConfig(**config))


@pytest.fixture
def logged(home: Path) -> LoggedArtifact:
    """Four files, found by an experiment that has no run."""
    with study() as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET)
        for number, (path, data) in enumerate(FILES.items()):
            artifact.add_file(write(home / "in" / str(number), data), path)
        exp.log_artifact(artifact)
    return study().get_artifact("data")


def blob(home: Path, data: bytes) -> Path:
    """The embedded backend's own copy of these bytes."""
    (found,) = [
        path
        for path in (home / ".tracelet" / "local" / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == data
    ]
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- files


def test_every_byte_comes_back_in_a_folder_that_is_made(logged: LoggedArtifact, tmp_path: Path) -> None:
    folder = logged.download(tmp_path / "some" / "where")
    assert folder == tmp_path / "some" / "where"
    assert contents(folder) == FILES


def test_without_a_folder_it_has_one_of_its_own(logged: LoggedArtifact, home: Path) -> None:
    folder = logged.download()
    assert folder.is_relative_to(home / ".tracelet" / "downloads")
    assert contents(folder) == FILES
    assert logged.download() == folder


def test_a_relative_folder_is_in_the_working_directory(logged: LoggedArtifact, home: Path) -> None:
    assert logged.download("out") == home / "out"
    assert logged.download(dest=str(home / "out2"), paths=None) == home / "out2"


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a.txt"], {"a.txt"}),
        (["deep"], {"deep/b.bin", "deep/er/c"}),
        (["deep/", "a.txt"], {"deep/b.bin", "deep/er/c", "a.txt"}),
        (["deep/er/c", "deep/er"], {"deep/er/c"}),
        ([], set()),
        (("odd #?%ü",), {"odd #?%ü"}),
    ],
)
def test_some_paths_or_folders_can_be_asked_for(
    logged: LoggedArtifact, tmp_path: Path, paths: list[str], found: set[str]
) -> None:
    assert set(contents(logged.download(tmp_path / "out", paths))) == found


@pytest.mark.parametrize(
    ("path", "hint"),
    [("a.tx", "did you mean 'a.txt'"), ("zzzz", "it has a.txt, deep/b.bin"), ("", "it has"), ("dee", "")],
)
def test_a_path_that_is_not_in_it_is_answered_with_the_nearest(
    logged: LoggedArtifact, tmp_path: Path, path: str, hint: str
) -> None:
    with pytest.raises(ArtifactNotFound, match=f"'data' has no file '{path}'; .*{hint}"):
        logged.download(tmp_path / "out", [path])


def test_an_artifact_without_files_says_so(home: Path, tmp_path: Path) -> None:
    with study() as exp:
        artifact = exp.create_artifact("empty", ArtifactType.CUSTOM)
        artifact.metadata["note"] = "all there is"
        exp.log_artifact(artifact)
    with pytest.raises(ArtifactNotFound, match="it has no files"):
        study().get_artifact("empty").download(paths=["x"])


def test_what_is_there_already_is_not_fetched_again(logged: LoggedArtifact, home: Path) -> None:
    folder = logged.download()
    before = {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    blob(home, b"aaa").unlink()
    logged.download()
    assert {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("data", [b"xxx", b"longer than it was", b""])
def test_what_was_changed_in_the_folder_is_brought_anew(logged: LoggedArtifact, data: bytes) -> None:
    folder = logged.download()
    (folder / "a.txt").write_bytes(data)
    (folder / "deep" / "b.bin").unlink()
    assert contents(logged.download()) == FILES


def test_other_files_in_the_folder_stay(logged: LoggedArtifact, tmp_path: Path) -> None:
    write(tmp_path / "out" / "mine.txt", "mine")
    write(tmp_path / "out" / "deep" / "mine.txt", "mine too")
    write(tmp_path / "out" / "a.txt", "old")
    assert contents(logged.download(tmp_path / "out")) == FILES | {"mine.txt": b"mine", "deep/mine.txt": b"mine too"}


@pytest.mark.parametrize("way", ["folder-for-file", "file-for-folder"])
def test_what_is_in_the_way_is_named_and_nothing_is_left(logged: LoggedArtifact, tmp_path: Path, way: str) -> None:
    out = tmp_path / "out"
    if way == "folder-for-file":
        write(out / "a.txt" / "x")
    else:
        write(out / "deep", "x")
    before = contents(out)
    with pytest.raises(ArtifactError, match=r"is in the way. Choose another folder"):
        logged.download(out)
    assert contents(out) == before


def test_a_file_is_no_folder_to_download_to(logged: LoggedArtifact, tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(ArtifactError, match="is a file: give the path of a folder"):
        logged.download(tmp_path / "out")
    with pytest.raises(ArtifactError, match=r"cannot be made: .*Give the path of another folder"):
        logged.download(tmp_path / "out" / "below")


def test_a_folder_that_cannot_be_written_is_named(logged: LoggedArtifact, tmp_path: Path) -> None:
    content = logged._content
    assert isinstance(content, StoredContent)
    (tmp_path / "out").mkdir()
    with (
        without_rights(tmp_path / "out"),
        pytest.raises(ArtifactError, match=r"does not take the files|cannot be made"),
    ):
        logged.download(tmp_path / "out")


def test_a_disk_that_is_full_is_named(logged: LoggedArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        ArtifactError, match=r"does not take the files: .*No space left.* Free space there, or give another folder"
    ):
        logged.download(tmp_path / "out")
    monkeypatch.undo()
    assert contents(tmp_path / "out") == {}


# -- links


def test_a_link_out_of_the_folder_gets_nothing_written_behind_it(logged: LoggedArtifact, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePath, match=r"leads out of it. Choose another folder"):
        logged.download(tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_that_is_a_link_is_replaced_and_not_written_through(logged: LoggedArtifact, tmp_path: Path) -> None:
    for data in (b"precious", b"aaa"):
        outside = write(tmp_path / "outside.txt", data)
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "a.txt").unlink(missing_ok=True)
        (tmp_path / "out" / "a.txt").symlink_to(outside)
        logged.download(tmp_path / "out", ["a.txt"])
        assert outside.read_bytes() == data
        assert not (tmp_path / "out" / "a.txt").is_symlink()
        assert (tmp_path / "out" / "a.txt").read_bytes() == b"aaa"


def test_a_folder_that_is_a_link_is_the_folder_it_means(logged: LoggedArtifact, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    logged.download(tmp_path / "link")
    assert contents(tmp_path / "real") == FILES


def test_a_fifo_in_the_way_is_replaced_without_a_wait(logged: LoggedArtifact, tmp_path: Path) -> None:
    (tmp_path / "out" / "deep" / "er").mkdir(parents=True)
    os.mkfifo(tmp_path / "out" / "deep" / "er" / "c")
    assert contents(logged.download(tmp_path / "out")) == FILES


# -- bytes that are not what they were


@pytest.mark.parametrize("data", [b"xxx", b"", b"aaaa"])
def test_bytes_that_were_changed_are_not_left_under_their_name(
    logged: LoggedArtifact, home: Path, tmp_path: Path, data: bytes
) -> None:
    place = blob(home, b"aaa")
    place.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"'a.txt' has sha256 .* local holds them") as caught:
        logged.download(tmp_path / "out")
    assert f"They are {place.as_uri()}: log the same content again" in str(caught.value)
    assert contents(tmp_path / "out") == {}
    logged.download(tmp_path / "out", ["deep"])
    assert set(contents(tmp_path / "out")) == {"deep/b.bin", "deep/er/c"}


def test_bytes_that_were_changed_do_not_replace_good_ones(logged: LoggedArtifact, home: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "a.txt", "my own")
    blob(home, b"aaa").write_bytes(b"bad")
    with pytest.raises(IntegrityError):
        logged.download(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"my own"


@pytest.mark.parametrize("data", [b"xxx", b"", b"longer", None], ids=["same size", "none", "more", "gone"])
def test_logging_the_same_content_again_heals_it(
    logged: LoggedArtifact, home: Path, tmp_path: Path, data: bytes | None
) -> None:
    """It is the same version, and it can be read again."""
    place = blob(home, b"aaa")
    place.unlink() if data is None else place.write_bytes(data)
    with study() as exp:
        artifact = exp.create_artifact("data", ArtifactType.DATASET)
        for number, path in enumerate(FILES):
            artifact.add_file(home / "in" / str(number), path)
        result = exp.log_artifact(artifact)["local"]
    assert (result.version, result.created) == ("v0", False)
    assert contents(logged.download(tmp_path / "out")) == FILES


def test_a_new_version_does_not_share_a_damaged_blob(logged: LoggedArtifact, home: Path, tmp_path: Path) -> None:
    blob(home, b"aaa").write_bytes(b"xxx")
    with study() as exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_file(home / "in" / "0", "alone"))
        assert contents(exp.get_artifact("data", "v1").download(tmp_path / "new")) == {"alone": b"aaa"}
    assert contents(logged.download(tmp_path / "old")) == FILES


def test_a_blob_that_nobody_touched_is_not_read_again(logged: LoggedArtifact, home: Path) -> None:
    """Logging 500 MB again costs one hash of the source, and none of what is stored."""
    place = blob(home, b"aaa")
    status = place.stat()
    place.write_bytes(b"xxx")
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    with study() as exp:
        exp.log_artifact(exp.create_artifact("other", ArtifactType.DATASET).add_file(home / "in" / "0"))
    assert place.read_bytes() == b"xxx"


def test_a_folder_without_room_is_told_as_that(logged: LoggedArtifact, tmp_path: Path) -> None:
    with full_disk(), pytest.raises(ArtifactError, match=r"does not take the files: .*Free space there, or give"):
        logged.download(tmp_path / "out")
    assert contents(logged.download(tmp_path / "out")) == FILES


def test_a_stored_version_is_shown_in_a_line(logged: LoggedArtifact) -> None:
    assert repr(logged) == "<LoggedArtifact 'data' v0, dataset, 3006 bytes, in local>"
    assert (
        repr(attrs.evolve(logged, pending=True)) == "<LoggedArtifact 'data' v0, dataset, 3006 bytes, in local, pending>"
    )


@pytest.fixture
def damaged(home: Path) -> Path:
    """Three versions, the newest of which a power cut emptied."""
    for number in range(3):
        with study() as exp:
            exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(number, "n"))
    place = home / ".tracelet" / "local" / "study" / "versions" / "data" / "v2.json"
    place.write_bytes(b"")
    return place


def test_a_damaged_manifest_is_told_with_its_file_and_the_others(damaged: Path) -> None:
    with pytest.raises(
        IntegrityError, match=r"local: 'data' v2: a manifest is not JSON.*delete it to forget that version"
    ) as caught:
        study().list_artifacts()
    assert damaged.as_uri() in str(caught.value)
    assert "(2 in number) is in the error's .answers" in str(caught.value)
    assert [found.version for found in caught.value.answers] == ["v1", "v0"]
    with pytest.raises(IntegrityError, match=damaged.as_uri()):
        study().get_artifact("data")
    assert study().get_artifact("data", "v1").load_object("n") == 1
    with pytest.raises(ArtifactNotFound, match="did you mean 'data'"):
        study().get_artifact("dat")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"size_bytes": 1', b'"size_bytes": 1' + b"0" * 400),
        (b'"size_bytes": 1', b'"size_bytes": 1' + b"0" * 5000),
        (b'"size_bytes": 1', b'"size_bytes": true'),
        (b'"size_bytes": 1', b'"size_bytes": "1"'),
        (b'"created_at": ', b'"created_at": 1e300, "was": '),
        (b'"created_at": ', b'"created_at": 1e400, "was": '),
        (b'"created_at": ', b'"created_at": -1, "was": '),
        (b'"created_at": ', b'"created_at": NaN, "was": '),
        (b'"name": "data"', b'"name": "other"'),
        (b'"schema": 1', b'"schema": true'),
        (b'"metadata": {', b'"metadata": {"a": 1, "a": 2'),
        (b'"metadata": {', b'"metadata": {"a": ' + b"[" * 500 + b"]" * 500),
        (b'"metadata": {', b'"metadata": {"a": ' + b"[" * 50_000),
        (b"{", b"\xef\xbb\xbf{"),
        (b'"type": "dataset"', b'"type": "\xff"'),
    ],
)
def test_one_manifest_with_an_absurd_value_does_not_hide_the_others(damaged: Path, before: bytes, after: bytes) -> None:
    sound = damaged.with_name("v1.json").read_bytes()
    assert before in sound
    damaged.write_bytes(sound.replace(before, after, 1))
    with pytest.raises(IntegrityError, match=r"local: 'data' v2: ") as caught:
        study().list_artifacts()
    assert [found.version for found in caught.value.answers] == ["v1", "v0"]
    for version in ("latest", "v2"):
        with pytest.raises(IntegrityError, match=r"or get another one by its number, such as version='v0'"):
            study().get_artifact("data", version)
    assert study().get_artifact("data", "v1").load_object("n") == 1


def test_what_lies_among_the_stored_versions_and_is_none_is_passed_over(damaged: Path) -> None:
    damaged.unlink()
    place = damaged.parents[2]
    for stray in (
        "versions/data/deep/v1.json",
        "versions/data/v" + "9" * 100 + ".json",
        "versions/v0.json",
        "labelled/x",
    ):
        (place / stray).parent.mkdir(parents=True, exist_ok=True)
        (place / stray).write_bytes(b"\xff")
    for pointer in (
        "aliases/data/best",
        "aliases/data/worst",
        "latest/data",
        "labels/data/odd",
        "labelled/data/vx/odd",
    ):
        (place / pointer).parent.mkdir(parents=True, exist_ok=True)
        (place / pointer).write_text("9" * 5000 if pointer.endswith("worst") else "²")
    assert [found.version for found in study().list_artifacts()] == ["v1", "v0"]
    assert study().get_artifact("data").version == "v1"
    for label in ("best", "worst", "odd"):
        with pytest.raises(ArtifactNotFound):
            study().get_artifact("data", label)


def test_every_damaged_manifest_is_told_of(damaged: Path) -> None:
    damaged.with_name("v0.json").write_bytes(b"{")
    with pytest.raises(IntegrityError, match=damaged.as_uri()) as caught:
        study().list_artifacts()
    assert damaged.with_name("v0.json").as_uri() in caught.value.__notes__[0]
    assert [found.version for found in caught.value.answers] == ["v1"]


def test_logging_goes_on_past_a_damaged_manifest(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No version is lost, the name keeps its type, and what was deleted as told is forgotten."""
    with study() as exp:
        with (
            caplog.at_level(logging.WARNING, "tracelet.artifacts"),
            pytest.raises(ArtifactError, match="a name has one type"),
        ):
            exp.log_artifact(exp.create_artifact("data", ArtifactType.MODEL).add_object(3, "n"))
        assert "the newest version of 'data' is passed over" in caplog.text
        results = exp.log_artifact(
            exp.create_artifact("data", ArtifactType.DATASET).add_object(3, "n"), aliases=["best"]
        )
        assert results["local"].version == "v3"
        assert exp.get_artifact("data", "best").load_object("n") == 3
    damaged.unlink()
    assert [found.version for found in study().list_artifacts()] == ["v3", "v1", "v0"]


def test_an_alias_of_a_damaged_version_can_be_moved(damaged: Path) -> None:
    with study() as exp:
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(3, "n"), aliases=["best"])
        damaged.with_name("v3.json").write_bytes(b"")
        exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(4, "n"), aliases=["best"])
        assert exp.get_artifact("data", "best").load_object("n") == 4


def test_bytes_that_are_gone_are_not_found(logged: LoggedArtifact, home: Path, tmp_path: Path) -> None:
    blob(home, b"aaa").unlink()
    with pytest.raises(ArtifactNotFound, match=r"the bytes of 'a.txt' are gone: there is no file:"):
        logged.download(tmp_path / "out")


def with_content(logged: LoggedArtifact, **changes: Any) -> LoggedArtifact:
    """The same artifact, with something about where it comes from changed."""
    return attrs.evolve(logged, content=attrs.evolve(logged._content, **changes))


@pytest.mark.parametrize("gives", ["nothing", "a link"])
def test_a_backend_that_gives_no_file_is_not_believed(logged: LoggedArtifact, tmp_path: Path, gives: str) -> None:
    def request(what: str, size: int, *, stored: StoredArtifact, paths: tuple[str, ...], dest: Path) -> None:
        for path in paths if gives == "a link" else ():
            (dest / path).parent.mkdir(parents=True, exist_ok=True)
            (dest / path).symlink_to("/etc/passwd")

    with pytest.raises(BackendError, match=r"local did not give 'a.txt'") as caught:
        with_content(logged, request=request).download(tmp_path / "out")
    assert (caught.value.backend, caught.value.retryable) == ("local", False)
    assert contents(tmp_path / "out") == {}


def test_a_backend_that_fails_where_there_is_room_is_what_failed(logged: LoggedArtifact, tmp_path: Path) -> None:
    def request(what: str, size: int, **arguments: Any) -> None:
        raise BackendUnavailable("it is away", backend="local") from OSError(111, "Connection refused")

    with pytest.raises(BackendUnavailable, match="it is away"):
        with_content(logged, request=request).download(tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_bytes_that_are_in_another_store_are_told_with_where_that_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "f", b"x" * 2000)
    with study(large_file_mb=0.001) as exp:
        exp.log_artifact(exp.create_artifact("large", ArtifactType.CUSTOM).add_file("f"))
    monkeypatch.setenv("TRACELET_STORE", str(tmp_path / "another"))
    with pytest.raises(
        ArtifactNotFound, match=r"too large for the backend, and are .*; they are not at .*another.* Set TRACELET_STORE"
    ):
        study().get_artifact("large").download(tmp_path / "out")


def test_a_blob_of_the_store_that_was_changed_is_told_to_be_deleted(
    home: Path, tmp_path: Path, memory: Callable[[str, bytes], str]
) -> None:
    write(home / "f", b"x" * 2000)
    exp = study(large_file_mb=0.001)
    with exp:
        artifact = exp.create_artifact("large", ArtifactType.CUSTOM).add_file("f").add_reference(memory("b/k", b"1"))
        exp.log_artifact(artifact)
    found = exp.get_artifact("large")
    (reference,) = (one for one in found.references if one.path == "f")
    assert reference.sha256 is not None
    place = LocalStore(home / ".tracelet").path(reference.sha256)
    place.write_bytes(b"y" * 2000)
    with pytest.raises(IntegrityError, match=r"'f' has sha256 .* The store holds them: delete") as caught:
        found.download(tmp_path / "out")
    assert f"{place} and log the same content again." in str(caught.value)
    assert contents(tmp_path / "out") == {}
    place.unlink()
    with pytest.raises(ArtifactNotFound, match=r"gone from the store.* Log the same content again"):
        found.download(tmp_path / "out")
    with exp:
        exp.log_artifact(exp.create_artifact("large", ArtifactType.CUSTOM).add_file("f", "again"))
    assert contents(found.download(tmp_path / "out")) == {"f": b"x" * 2000}
    assert contents(found.download(tmp_path / "out", references=True)) == {"f": b"x" * 2000, "references/k": b"1"}


def test_another_process_elsewhere_gets_the_same_bytes(logged: LoggedArtifact, home: Path, tmp_path: Path) -> None:
    script = """
        from tracelet import Experiment
        exp = Experiment("study", artifacts=True)
        out = exp.get_artifact("data").download("out")
        answer({path.relative_to(out).as_posix(): path.stat().st_size for path in out.rglob("*") if path.is_file()})
    """
    found = elsewhere(script, cwd=tmp_path / "there", TRACELET_DIR=str(home / ".tracelet"))
    assert found == {path: len(data) for path, data in FILES.items()}
    assert contents(tmp_path / "there" / "out") == FILES


# -- what is loaded


class Bomb:
    """What a pickle can do."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("exploded",))


def test_no_pickle_runs_without_trust(home: Path) -> None:
    with study() as exp:
        exp.log_artifact(exp.create_artifact("bomb", ArtifactType.CUSTOM).add_object(Bomb(), "b", "pickle"))
    found = study().get_artifact("bomb")
    for trust in (False, None, 0):
        with pytest.raises(UnsafeContent, match="'b' is stored as pickle, and loading that runs code"):
            found.load_object("b", trust=trust)  # type: ignore[arg-type]
    found.download()
    assert not (home / "exploded").exists()
    found.load_object("b", trust=True)
    assert (home / "exploded").exists()


def test_an_object_that_was_changed_is_not_loaded(home: Path) -> None:
    with study() as exp:
        exp.log_artifact(exp.create_artifact("o", ArtifactType.CUSTOM).add_object([1, 2], "o", "pickle"))
    blob(home, pickle.dumps([1, 2], protocol=5)).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(IntegrityError):
        study().get_artifact("o").load_object("o", trust=True)
    assert not (home / "exploded").exists()


# -- references


def referring(logged: LoggedArtifact, *references: ArtifactReference) -> LoggedArtifact:
    """An artifact as somebody else's server might give it: with references that no builder would let pass."""
    manifest = attrs.evolve(logged.manifest, references=references)
    stored = attrs.evolve(logged._content.stored, manifest=manifest)  # type: ignore[attr-defined]
    return attrs.evolve(with_content(logged, stored=stored), manifest=manifest)


@pytest.fixture
def memory() -> Iterator[Callable[[str, bytes], str]]:
    """Put bytes to a place that is not this machine's disk."""

    def put(path: str, data: bytes) -> str:
        with fsspec.open(f"memory://{path}", "wb") as stream:
            stream.write(data)
        return f"memory://{path}"

    yield put
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


def test_references_are_left_alone_unless_they_are_asked_for(
    home: Path, tmp_path: Path, memory: Callable[[str, bytes], str]
) -> None:
    uri = memory("bucket/data.bin", b"12345")
    with study() as exp:
        artifact = exp.create_artifact("far", ArtifactType.DATASET).add_reference(uri, 5).add_object({}, "o")
        artifact.add_reference(memory("other/data.bin", b"678"), checksum=True)
        exp.log_artifact(artifact)
    found = study().get_artifact("far")
    assert set(contents(found.download(tmp_path / "one"))) == {"objects/o.json"}
    assert contents(found.download(tmp_path / "two", references=True)) == {
        "objects/o.json": b"{}",
        "references/data.bin": b"12345",
        "references/0-data.bin": b"678",
    }


def test_a_reference_never_takes_the_place_of_a_file(
    logged: LoggedArtifact, home: Path, tmp_path: Path, memory: Callable[[str, bytes], str]
) -> None:
    uri = memory("x/data.bin", b"theirs")
    with study() as exp:
        artifact = exp.create_artifact("mixed", ArtifactType.DATASET).add_file(
            write(home / "f", "mine"), "references/data.bin"
        )
        exp.log_artifact(artifact.add_reference(uri))
    folder = study().get_artifact("mixed").download(tmp_path / "out", references=True)
    assert contents(folder) == {"references/data.bin": b"mine", "references/0-data.bin": b"theirs"}


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "etc/passwd",
        "local:///etc/passwd",
        "simplecache::file:///etc/passwd",
        " file:///etc/passwd",
    ],
)
def test_a_manifest_cannot_make_its_reader_copy_private_files(logged: LoggedArtifact, tmp_path: Path, uri: str) -> None:
    evil = referring(logged, ArtifactReference(uri))
    with pytest.raises(UnsafeContent, match="say trust=True if you trust whoever logged it"):
        evil.download(tmp_path / "out", references=True)
    assert not (tmp_path / "out" / "references").exists()


def test_a_file_reference_is_copied_on_trust(logged: LoggedArtifact, tmp_path: Path) -> None:
    path = write(tmp_path / "mine", b"mine")
    found = referring(logged, ArtifactReference(path.as_uri()))
    folder = found.download(tmp_path / "out", [], references=True, trust=True)
    assert contents(folder) == {"references/mine": b"mine"}


@pytest.mark.parametrize(
    "reference",
    [
        {"size_bytes": 6},
        {"sha256": "ab" * 32},
        {"etag": "another"},
    ],
)
def test_a_reference_that_holds_other_content_now_is_not_left(
    logged: LoggedArtifact, tmp_path: Path, memory: Callable[[str, bytes], str], reference: dict[str, Any]
) -> None:
    found = referring(logged, ArtifactReference(memory("b/k", b"12345"), **reference))
    with pytest.raises(IntegrityError, match="memory://b/k holds other content now than when it was logged"):
        found.download(tmp_path / "out", [], references=True)
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("uri", "kind", "name"),
    [
        ("memory://not/there", ArtifactNotFound, "memory://not/there"),
        ("http://127.0.0.1:9/x", BackendUnavailable, "http://127.0.0.1:9/x cannot be reached"),
        ("gs://bucket/x", ConfigError, "gcsfs"),
        ("nosuch://bucket/x", ConfigError, "Protocol not known"),
    ],
)
def test_a_reference_that_cannot_be_fetched_says_why(
    logged: LoggedArtifact, tmp_path: Path, uri: str, kind: type, name: str
) -> None:
    with pytest.raises(kind, match=name):
        referring(logged, ArtifactReference(uri)).download(tmp_path / "out", [], references=True)
    assert contents(tmp_path / "out") == {}


def test_a_reference_to_the_root_of_a_place_has_a_name(
    logged: LoggedArtifact, tmp_path: Path, memory: Callable[[str, bytes], str]
) -> None:
    memory("x", b"1")
    found = referring(logged, ArtifactReference("memory://x"), ArtifactReference("memory://x/"))
    folder = found.download(tmp_path / "out", [], references=True)
    assert set(contents(folder)) == {"references/reference", "references/0-reference"}


# -- finding


def log(exp: Experiment, name: str, content: Any, kind: ArtifactType = ArtifactType.CUSTOM, **labels: Any) -> None:
    exp.log_artifact(exp.create_artifact(name, kind).add_object(content, "o"), **labels).raise_for_errors()


@pytest.fixture
def history(home: Path) -> Experiment:
    """Three versions of one name, one of another."""
    with study() as exp:
        log(exp, "net", 0, ArtifactType.MODEL)
        log(exp, "net", 1, ArtifactType.MODEL, version="v1.2.0", aliases=["best"])
        log(exp, "data", 0, ArtifactType.DATASET)
        log(exp, "net", 2, ArtifactType.MODEL)
    return study()


@pytest.mark.parametrize(
    ("version", "value"), [("latest", 2), ("v0", 0), ("v1", 1), ("v1.2.0", 1), ("best", 1), ("v2", 2)]
)
def test_a_version_is_found_by_each_of_its_names(history: Experiment, version: str, value: int) -> None:
    found = history.get_artifact("net", version)
    assert found.load_object("o") == value
    for length in (6, 12, 64):
        assert history.get_artifact("net", version=f"sha256:{found.digest[:length]}").load_object("o") == value
    assert history.get_artifact("net", version=version, backend="local").digest == found.digest


def test_the_latest_is_what_you_get_when_you_say_nothing(history: Experiment) -> None:
    assert history.get_artifact("net").version == "v2"


@pytest.mark.parametrize(
    ("name", "version", "hint"),
    [
        ("nett", "latest", "did you mean 'net'"),
        ("zzz", "latest", "list_artifacts\\(\\) shows what there is"),
        ("net", "v7", "it has other versions"),
        ("net", "worst", "it has other versions"),
        ("net", "sha256:abcdef", "it has other versions"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(history: Experiment, name: str, version: str, hint: str) -> None:
    with pytest.raises(ArtifactNotFound, match=f"'study' has no '{name}' {version} in local: {hint}"):
        history.get_artifact(name, version)


@pytest.mark.parametrize("version", ["", "sha256:", "sha256:xyz", "a b", None, 5, "v01", "put:"])
def test_a_version_that_is_none_is_refused(history: Experiment, version: Any) -> None:
    with pytest.raises(ArtifactError):
        history.get_artifact("net", version)


@pytest.mark.parametrize("name", ["", "../net", None, "a b"])
def test_a_name_that_is_none_is_refused(history: Experiment, name: Any) -> None:
    with pytest.raises(UnsafePath):
        history.get_artifact(name)


def test_everything_is_listed_newest_first(history: Experiment) -> None:
    assert [(found.name, found.version) for found in history.list_artifacts()] == [
        ("net", "v2"), ("data", "v0"), ("net", "v1.2.0"), ("net", "v0"),
    ]  # fmt: skip
    assert [found.name for found in history.list_artifacts(type_filter=ArtifactType.DATASET)] == ["data"]
    assert history.list_artifacts(ArtifactType.AUDIO, "local") == []
    assert Experiment("another", artifacts=True).list_artifacts() == []
    assert [found.name for found in history.list_artifacts("dataset")] == ["data"]
    with pytest.raises(ArtifactError, match=r"'data' is no artifact type.* name is given as name="):
        history.list_artifacts("data")


def test_a_backend_is_one_of_the_experiments(history: Experiment, scripted: Scripted) -> None:
    with pytest.raises(UnknownPlugin, match="Did you mean 'local'"):
        history.get_artifact("net", backend="locl")
    with pytest.raises(ConfigError, match="backend 'scripted' is not one of this experiment's: local"):
        history.list_artifacts(backend="scripted")


def test_the_versions_of_one_name_can_be_listed(history: Experiment) -> None:
    finder = history._artifact_manager.finder
    assert [found.version for found in finder.find_all(None, None, "net")] == ["v2", "v1.2.0", "v0"]
    with pytest.raises(UnsafePath):
        finder.find_all(None, None, "../net")


# -- several backends


@pytest.fixture
def two(scripted: Scripted, experiment: Callable[..., Experiment]) -> Experiment:
    """A run that writes to the embedded backend and to `scripted-inline`."""
    return experiment("scripted-inline", "local")


def only(exp: Experiment, backend: str, name: str, content: Any, **labels: Any) -> None:
    artifact = exp.create_artifact(name, ArtifactType.CUSTOM).add_object(content, "o")
    artifact.metadata["preferred_backends"] = [backend]
    exp.log_artifact(artifact, **labels).raise_for_errors()


def test_what_both_have_is_read_from_the_first_that_is_named(two: Experiment) -> None:
    log(two, "net", 1)
    assert two.get_artifact("net").backend in {"scripted-inline", "local"}
    assert {found.backend for found in two.list_artifacts()} == {"scripted-inline", "local"}
    assert two.get_artifact("net", backend="local").backend == "local"


def test_the_latest_is_the_newest_of_all(two: Experiment) -> None:
    only(two, "local", "net", "older")
    only(two, "scripted-inline", "net", "newer")
    assert two.get_artifact("net").load_object("o") == "newer"
    assert two.get_artifact("net", backend="local").load_object("o") == "older"


def test_a_version_that_is_not_the_same_everywhere_must_be_asked_of_one(two: Experiment) -> None:
    only(two, "local", "net", 1)
    only(two, "scripted-inline", "net", 2)
    with pytest.raises(AmbiguousVersion, match=r"'net' v0 is not the same in all backends .*: say backend="):
        two.get_artifact("net", "v0")
    assert two.get_artifact("net", "v0", "scripted-inline").load_object("o") == 2


def test_a_backend_that_is_away_is_passed_over_where_another_has_it(
    two: Experiment, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    only(two, "local", "net", 1)
    scripted.told(find="away")
    with caplog.at_level(logging.WARNING, "tracelet"):
        assert two.get_artifact("net").backend == "local"
    assert "'net' is looked for without scripted-inline: scripted is out" in caplog.text
    with pytest.raises(BackendUnavailable, match="scripted is out"):
        two.get_artifact("other")
    scripted.told(find="locked")
    with pytest.raises(BackendAuthError):
        two.get_artifact("net", backend="scripted-inline")


def test_a_list_that_is_not_whole_is_an_error_with_what_there_is(two: Experiment, scripted: Scripted) -> None:
    log(two, "net", 1)
    scripted.told(list="away")
    with pytest.raises(
        BackendUnavailable, match=r"scripted-inline: scripted is out.*is in the error's \.answers"
    ) as caught:
        two.list_artifacts()
    assert [(found.name, found.backend) for found in caught.value.answers] == [("net", "local")]
    assert len(two.list_artifacts(backend="local")) == 1


def test_every_backend_that_does_not_list_is_named(
    scripted: Scripted, experiment: Callable[..., Experiment], home: Path
) -> None:
    exp = experiment("scripted-inline", "local")
    log(exp, "net", 1)
    next((home / ".tracelet" / "local" / "trials" / "versions" / "net").glob("*.json")).write_bytes(b"")
    scripted.told(list="away")
    with pytest.raises(BackendUnavailable, match=r"^scripted-inline: scripted is out") as caught:
        exp.list_artifacts()
    assert [note.partition(" is not JSON")[0] for note in caught.value.__notes__] == ["local: 'net' v0: a manifest"]
    assert caught.value.answers == []


def test_what_is_being_read_can_be_ended_from_another_thread(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = experiment("scripted", deadline=60.0)
    exp.stop()
    scripted.told(list="hang")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(exp.list_artifacts)
        while not scripted.calls("list"):
            time.sleep(0.01)
        exp._artifact_manager.finder.kill()
        with pytest.raises(BackendUnavailable):
            reading.result(60)


def test_a_name_that_is_nowhere_is_said_so_even_when_one_cannot_list(two: Experiment, scripted: Scripted) -> None:
    log(two, "net", 1)
    scripted.told(list="away")
    with pytest.raises(ArtifactNotFound, match="did you mean 'net'"):
        two.get_artifact("ne")


def test_what_waits_in_the_outbox_is_mentioned(two: Experiment, scripted: Scripted) -> None:
    scripted.told(put="away")
    artifact = two.create_artifact("net", ArtifactType.CUSTOM).add_object(1, "o")
    artifact.metadata["preferred_backends"] = ["scripted-inline"]
    assert "scripted-inline" in two.log_artifact(artifact).queued
    with pytest.raises(ArtifactNotFound, match="1 delivery of it waits in the outbox"):
        two.get_artifact("net")


def test_hostile_manifests_never_reach_a_reader(logged: LoggedArtifact, home: Path) -> None:
    (path,) = (home / ".tracelet" / "local").glob("*/versions/data/v0.json")
    honest = path.read_text()
    for old, new in (("a.txt", "../evil"), ("dataset", "model"), ('"size_bytes": 3', '"size_bytes": 4')):
        assert old in honest
        path.write_text(honest.replace(old, new))
        with pytest.raises((UnsafePath, IntegrityError)):
            study().get_artifact("data")
    path.write_text(honest)
    assert study().get_artifact("data").digest == Manifest.from_json(honest).digest
    assert registry().backends.get("local")
