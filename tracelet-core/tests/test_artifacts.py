"""The builder, and a stored artifact, as a user sees them."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import settle, without_rights, write

from tracelet import Experiment, LoggedArtifact, TraceletArtifact
from tracelet.core.artifacts import ArtifactType
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactModel, ArtifactObject, ArtifactReference
from tracelet.core.delivery.outbox import Outbox
from tracelet.exceptions import (
    ArtifactError,
    ArtifactNotFound,
    ConfigError,
    UnsafeContent,
    UnsafePath,
)


@pytest.fixture
def artifact() -> TraceletArtifact:
    """An empty one."""
    return TraceletArtifact("results", ArtifactType.REPORT, "what came out")


# -- the documented interface, argument by argument


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__init__", ["name", "artifact_type", "description=None"]),
        ("add_file", ["local_path", "artifact_path=None", "description=None"]),
        ("add_object", ["obj", "name", "serializer='json'", "description=None"]),
        ("add_reference", ["uri", "size_bytes=None", "description=None"]),
        ("add_model", ["model", "framework=None", "input_example=None", "description=None"]),
        ("to_dict", []),
    ],
)
def test_every_documented_method_has_exactly_its_arguments(method: str, arguments: list[str]) -> None:
    given = list(inspect.signature(getattr(TraceletArtifact, method)).parameters.values())[1:]
    plain = [one for one in given if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert [
        one.name if one.default is inspect.Parameter.empty else f"{one.name}={one.default!r}" for one in plain
    ] == arguments


def test_everything_can_be_given_by_position_and_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt")
    one = TraceletArtifact("n", ArtifactType.MODEL, "d")
    one.add_file(path, "a/f.txt", "fd").add_object({}, "o", "yaml", "od").add_reference("s3://b/k", 5, "rd")
    one.add_model(object(), "pytorch", [1], "md")
    two = TraceletArtifact(name="n", artifact_type=ArtifactType.MODEL, description="d")
    two.add_file(local_path=str(path), artifact_path="a/f.txt", description="fd")
    two.add_object(obj={}, name="o", serializer="yaml", description="od")
    two.add_reference(uri="s3://b/k", size_bytes=5, description="rd")
    two.add_model(model=object(), framework="pytorch", input_example=[1], description="md")
    assert one.to_dict() == two.to_dict()
    assert one.files == [ArtifactFile("a/f.txt", 7, None, "fd")]
    assert one.objects == [ArtifactObject("o", "yaml", description="od")]
    assert one.references == [ArtifactReference("s3://b/k", 5, "rd")]
    assert one.models == [ArtifactModel("model", "pytorch", description="md")]


def test_a_new_artifact_is_empty(artifact: TraceletArtifact) -> None:
    assert (artifact.name, artifact.type, artifact.description) == ("results", ArtifactType.REPORT, "what came out")
    assert (artifact.size_bytes, artifact.files, artifact.objects, artifact.references) == (0, [], [], [])
    assert artifact.models == []
    assert artifact.metadata == {}
    assert repr(artifact) == "<TraceletArtifact 'results' report, 0 entries>"
    assert TraceletArtifact("n", ArtifactType.CODE).description is None


@pytest.mark.parametrize("name", ["", "a b", "../x", None, 5, "x" * 129])
def test_a_name_that_no_backend_could_hold_is_refused(name: Any) -> None:
    with pytest.raises(UnsafePath, match="use 1 to 128 of"):
        TraceletArtifact(name, ArtifactType.MODEL)


@given(st.text("abcXYZ019_.-", min_size=1, max_size=128).filter(lambda name: name not in {".", ".."}))
def test_any_name_of_the_rule_is_taken(name: str) -> None:
    assert TraceletArtifact(name, ArtifactType.MODEL).name == name


def test_type_and_description_are_checked_at_once(artifact: TraceletArtifact) -> None:
    assert TraceletArtifact("n", "model").type is ArtifactType.MODEL
    with pytest.raises(ArtifactError, match=r"'models' is no artifact type.* Did you mean 'model'"):
        TraceletArtifact("n", "models")
    with pytest.raises(ArtifactError, match="description=5 is not text"):
        TraceletArtifact("n", ArtifactType.MODEL, 5)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="not text"):
        artifact.description = b"x"  # type: ignore[assignment]
    artifact.description = "new"
    assert artifact.description == "new"
    artifact.description = None
    assert artifact.to_dict()["description"] is None


def test_metadata_may_be_changed_and_replaced_by_a_dict(artifact: TraceletArtifact) -> None:
    artifact.metadata["a"] = 1
    artifact.metadata.update({"b": 2})
    assert artifact.metadata == {"a": 1, "b": 2}
    mine = {"c": 3}
    artifact.metadata = mine
    mine["d"] = 4
    assert artifact.metadata == {"c": 3}
    for value in (None, [1], "x"):
        with pytest.raises(ArtifactError, match="is not a dict: give one"):
            artifact.metadata = value  # type: ignore[assignment]


def test_name_and_type_do_not_change(artifact: TraceletArtifact) -> None:
    for field in ("name", "type", "files", "objects", "references", "size_bytes"):
        with pytest.raises(AttributeError):
            setattr(artifact, field, None)


# -- files


def test_a_file_is_added_under_its_own_name_or_another(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "deep" / "report.html", "12345")
    assert artifact.add_file("deep/report.html") is artifact
    artifact.add_file("deep/report.html", "reports/r.html")
    assert [(file.artifact_path, file.size_bytes, file.sha256) for file in artifact.files] == [
        ("report.html", 5, None),
        ("reports/r.html", 5, None),
    ]
    assert artifact.size_bytes == 10


def test_an_empty_file_is_a_file(artifact: TraceletArtifact, tmp_path: Path) -> None:
    artifact.add_file(write(tmp_path / "empty", b""))
    assert artifact.files[0].size_bytes == 0


def test_a_file_stays_the_one_that_was_meant_when_the_folder_changes(
    artifact: TraceletArtifact, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "f", "here")
    artifact.add_file("f")
    (home / "other").mkdir()
    monkeypatch.chdir(home / "other")
    assert artifact._sources["f"][1] == str(home / "f")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent", "No such file or directory"),
        ("file/below", "Not a directory"),
        ("folder", "is a folder: use add_dir"),
        ("", "is no path"),
        ("fifo", "is not a regular file: only files can be stored"),
        ("/dev/null", "is not a regular file"),
        ("dangling", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("nul\0byte", "cannot be the path of a file"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_file_is_refused_with_the_reason(
    artifact: TraceletArtifact, home: Path, path: str, reason: str
) -> None:
    write(home / "file")
    (home / "folder").mkdir()
    os.mkfifo(home / "fifo")
    (home / "dangling").symlink_to("nowhere")
    (home / "loop").symlink_to("loop")
    with pytest.raises(ArtifactError, match=reason):
        artifact.add_file(path, "x")
    assert artifact.files == []


def test_a_file_that_cannot_be_read_is_refused(artifact: TraceletArtifact, open_folder: Path) -> None:
    path = write(open_folder / "secret")
    with without_rights(path), pytest.raises(ArtifactError, match="cannot be read: check its permissions"):
        artifact.add_file(path)


@pytest.fixture
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder that other users can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a\\b", "tracelet.json", "", "a/", 5, Path("a")])
def test_a_path_that_could_leave_its_folder_is_refused(artifact: TraceletArtifact, home: Path, path: Any) -> None:
    write(home / "f")
    with pytest.raises(UnsafePath, match="Give a relative path"):
        artifact.add_file("f", path)


def test_a_file_whose_own_name_is_unsafe_can_be_given_another(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "a\\b")
    with pytest.raises(UnsafePath, match="backslash"):
        artifact.add_file("a\\b")
    assert artifact.add_file("a\\b", "a_b").files[0].artifact_path == "a_b"


def test_no_path_stands_twice_and_none_is_file_and_folder(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "f")
    artifact.add_file("f", "a/b")
    with pytest.raises(ArtifactError, match="'a/b' is in the artifact already"):
        artifact.add_file("f", "a/b")
    with pytest.raises(ArtifactError, match="'a' is a file and a folder at once"):
        artifact.add_file("f", "a")
    with pytest.raises(ArtifactError, match="'a/b' is a file and a folder at once"):
        artifact.add_file("f", "a/b/c")
    assert len(artifact.files) == 1


def test_many_files_are_added_in_no_time(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "f")
    began = time.process_time()
    for number in range(5000):
        artifact.add_file("f", f"folder{number % 50}/{number}")
    assert time.process_time() - began < 3


# -- folders


def test_a_folder_is_added_with_all_that_is_in_it(artifact: TraceletArtifact, home: Path) -> None:
    for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", ".hidden"):
        write(home / "data" / name, name)
    (home / "data" / "empty").mkdir()
    assert artifact.add_dir("data") is artifact
    assert sorted(file.artifact_path for file in artifact.files) == [".hidden", "a.txt", "sub/b.txt", "sub/deep/c.txt"]
    artifact.add_dir("data/sub", "more/here")
    assert {"more/here/b.txt", "more/here/deep/c.txt"} <= {file.artifact_path for file in artifact.files}


@pytest.mark.parametrize("inside", ["", "deep", "deep/er"])
def test_a_folder_without_a_file_is_refused(artifact: TraceletArtifact, home: Path, inside: str) -> None:
    (home / "out" / inside).mkdir(parents=True)
    with pytest.raises(ArtifactError, match=f"there is no file in '{home}/out': give a folder that has some"):
        artifact.add_dir("out")
    assert artifact.files == []


def test_empty_folders_in_a_folder_are_left_out_with_one_warning(
    artifact: TraceletArtifact, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(home / "out" / "f")
    artifact.add_dir("out")
    assert caplog.messages == []
    (home / "out" / "logs").mkdir()
    artifact.add_dir("out", "again")
    (home / "out" / "tmp" / "deep").mkdir(parents=True)
    artifact.add_dir("out", "more")
    assert [file.artifact_path for file in artifact.files] == ["f", "again/f", "more/f"]
    assert caplog.messages == [
        f"results: '{home}/out/logs' is an empty folder, and left out: artifacts hold files.",
        f"results: '{home}/out/logs' and 1 more are empty folders, and left out: artifacts hold files.",
    ]


def test_links_inside_a_folder_are_followed(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "data" / "real" / "x", "x")
    (home / "data" / "again").symlink_to("real")
    (home / "data" / "file").symlink_to("real/x")
    (home / "link").symlink_to("data")
    artifact.add_dir("link")
    assert sorted(file.artifact_path for file in artifact.files) == ["again/x", "file", "real/x"]


def test_links_in_a_circle_end(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "data" / "sub" / "x", "x")
    (home / "data" / "sub" / "up").symlink_to("..")
    artifact.add_dir("data")
    assert [file.artifact_path for file in artifact.files] == ["sub/x"]


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "../outside", "/etc"])
def test_a_link_out_of_the_folder_takes_nothing_along(artifact: TraceletArtifact, home: Path, target: str) -> None:
    write(home / "secret")
    write(home / "outside" / "x")
    write(home / "data" / "a")
    (home / "data" / "z").symlink_to(target)
    with pytest.raises(
        ArtifactError, match=r"is a link out of the folder: say follow_links=True .*, or add its target"
    ):
        artifact.add_dir("data")
    assert artifact.files == []


def test_a_set_of_links_is_added_with_what_they_lead_to(artifact: TraceletArtifact, home: Path) -> None:
    """As ImageFolder sets have them: classes are folders, or links to folders, and pictures are links to files."""
    write(home / "pool" / "1.png", "one")
    write(home / "pool" / "2.png", "two")
    write(home / "cats" / "more" / "3.png", "three")
    (home / "set" / "dogs").mkdir(parents=True)
    (home / "set" / "dogs" / "a.png").symlink_to("../../pool/1.png")
    (home / "set" / "dogs" / "b.png").symlink_to(home / "pool" / "2.png")
    (home / "set" / "dogs" / "again.png").symlink_to("a.png")
    (home / "set" / "cats").symlink_to("../cats")
    artifact.add_dir("set", "images", follow_links=True)
    assert {file.artifact_path: file.size_bytes for file in artifact.files} == {
        "images/cats/more/3.png": 5, "images/dogs/a.png": 3, "images/dogs/again.png": 3, "images/dogs/b.png": 3,
    }  # fmt: skip


def test_a_folder_that_several_links_lead_to_is_there_at_each_of_them(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "pool" / "x")
    (home / "set").mkdir()
    for name in ("one", "two"):
        (home / "set" / name).symlink_to("../pool")
    (home / "set" / "three").symlink_to("two")
    artifact.add_dir("set", follow_links=True)
    assert sorted(file.artifact_path for file in artifact.files) == ["one/x", "three/x", "two/x"]


@pytest.mark.parametrize("target", [".", "..", "sub", "../..", "/", "../elsewhere"])
def test_links_that_go_in_a_circle_are_refused_where_links_are_followed(
    artifact: TraceletArtifact, home: Path, target: str
) -> None:
    write(home / "data" / "sub" / "x")
    write(home / "elsewhere" / "y")
    (home / "elsewhere" / "back").symlink_to("../data")
    (home / "data" / "sub" / "z").symlink_to(target if target != "sub" else "../sub")
    if target == "../elsewhere":
        (home / "data" / "sub" / "z").unlink()
        (home / "data" / "z").symlink_to(target)
    with pytest.raises(ArtifactError, match=r"is a link to '.*', a folder that it is in itself"):
        artifact.add_dir("data", follow_links=True)
    assert artifact.files == []


@pytest.mark.parametrize("follow", [False, True])
def test_a_few_links_that_stand_for_billions_of_folders_are_refused(
    artifact: TraceletArtifact, home: Path, follow: bool
) -> None:
    for floor in range(40):
        (home / "data" / str(floor)).mkdir(parents=True)
        for name in ("left", "right"):
            (home / "data" / str(floor) / name).symlink_to(f"../{floor + 1}")
    write(home / "data" / "40" / "x")
    with pytest.raises(ArtifactError, match="lead to the same folders more than 10,000 times"):
        artifact.add_dir("data", follow_links=follow)


def test_a_link_whose_target_cannot_be_reached_says_why(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "data" / "a")
    (home / "data" / "z").symlink_to("a/below")
    with pytest.raises(ArtifactError, match=r"which cannot be reached \(Not a directory\): mend or delete the link"):
        artifact.add_dir("data", follow_links=True)
    (home / "data" / "z").unlink()
    (home / "data" / "z").symlink_to("z")
    with pytest.raises(ArtifactError, match=r"which cannot be reached \(Too many levels of symbolic links\)"):
        artifact.add_dir("data", follow_links=True)


def test_a_link_to_nowhere_is_told_with_what_can_be_done(artifact: TraceletArtifact, home: Path) -> None:
    write(home / "data" / "a")
    (home / "data" / "z").symlink_to("nowhere")
    with pytest.raises(
        ArtifactError, match=r"z' is a link to '.*nowhere', which is not there: mend or delete the link"
    ):
        artifact.add_dir("data")


@pytest.mark.parametrize("odd", ["fifo", "dangling", "loop", "name", "manifest"])
def test_one_file_that_cannot_be_added_and_none_is(artifact: TraceletArtifact, home: Path, odd: str) -> None:
    data = home / "data"
    write(data / "a")
    if odd == "fifo":
        os.mkfifo(data / "z")
    elif odd == "name":
        write(Path(os.fsdecode(os.fsencode(data) + b"/\xff")))
    elif odd == "manifest":
        write(data / "tracelet.json")
    else:
        (data / "z").symlink_to("nowhere" if odd == "dangling" else "z")
    with pytest.raises(ArtifactError):
        artifact.add_dir("data")
    assert artifact.files == []
    if odd == "manifest":
        assert len(artifact.add_dir("data", "inside").files) == 2


def test_a_folder_that_is_none_or_cannot_be_read_is_refused(
    artifact: TraceletArtifact, home: Path, open_folder: Path
) -> None:
    write(home / "f")
    for path in ("f", "absent"):
        with pytest.raises(ArtifactError, match="is not a folder: use add_file for a file"):
            artifact.add_dir(path)
    write(open_folder / "sub" / "x")
    with without_rights(open_folder / "sub"), pytest.raises(ArtifactError, match="cannot be read: Permission denied"):
        artifact.add_dir(open_folder)
    with pytest.raises(UnsafePath):
        artifact.add_dir(home, "../up")


# -- objects, models


def test_objects_have_names_of_their_own(artifact: TraceletArtifact) -> None:
    assert artifact.add_object({"a": 1}, "summary") is artifact
    with pytest.raises(ArtifactError, match="an object 'summary' is in 'results' already: give this one another name"):
        artifact.add_object([], "summary", "yaml")
    for name, serializer in (("a b", "json"), ("a", "no such"), ("a", 5), (None, "json")):
        with pytest.raises(UnsafePath):
            artifact.add_object([], name, serializer)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="not text"):
        artifact.add_object([], "b", "json", 5)  # type: ignore[arg-type]
    assert [item.name for item in artifact.objects] == ["summary"]


def test_none_is_an_object(artifact: TraceletArtifact) -> None:
    assert artifact.add_object(None, "nothing").objects[0].name == "nothing"


def test_models_have_names_of_their_own(artifact: TraceletArtifact) -> None:
    artifact.add_model(object())
    with pytest.raises(ArtifactError, match="a model 'model' is in 'results' already: give this one a name="):
        artifact.add_model(object())
    artifact.add_model(object(), name="second")
    assert [model.name for model in artifact.models] == ["model", "second"]
    with pytest.raises(ArtifactError, match="add_model got None"):
        artifact.add_model(None, name="third")
    with pytest.raises(UnsafePath):
        artifact.add_model(object(), ["pytorch"], name="third")  # type: ignore[arg-type]


# -- references


@pytest.mark.parametrize(
    "uri",
    ["s3://my-bucket/large.tar.gz", "gs://b/k", "http://host/x", "file:///path/to/file.bin", "dvc:x", "my+own://x"],
)
def test_a_reference_may_have_any_scheme(artifact: TraceletArtifact, uri: str) -> None:
    artifact.add_reference(uri, 5_000_000_000, "elsewhere")
    assert artifact.references == [ArtifactReference(uri, 5_000_000_000, "elsewhere")]
    assert artifact.size_bytes == 5_000_000_000


@pytest.mark.parametrize("size", [10**19, pytest.param(10**5000, id="long"), -1, True, 1.5, "5"])
def test_the_size_of_a_reference_is_a_whole_number_of_64_bits(artifact: TraceletArtifact, size: Any) -> None:
    with pytest.raises(ArtifactError, match=r"is not a size: give a whole number of bytes below 2\*\*63"):
        artifact.add_reference("s3://b/k", size)


@pytest.mark.parametrize(
    "add",
    [
        lambda artifact, path: artifact.add_file(path, description="a\0b"),
        lambda artifact, path: artifact.add_object(1, "one", description="a\0b"),
        lambda artifact, path: artifact.add_model(object(), "toys", description="a\0b"),
        lambda artifact, path: artifact.add_reference("s3://b/k", description="a\0b"),
        lambda artifact, path: artifact.add_reference("s3://b/k\0"),
        lambda artifact, path: setattr(artifact, "description", "a\0b"),
        lambda artifact, path: TraceletArtifact("x", ArtifactType.CODE, "a\0b"),
    ],
    ids=["file", "object", "model", "reference", "address", "description", "artifact"],
)
def test_text_that_no_database_takes_is_refused_where_it_is_added(
    artifact: TraceletArtifact, tmp_path: Path, add: Callable[[TraceletArtifact, Path], Any]
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("content")
    before = artifact.to_dict()
    with pytest.raises(
        ArtifactError, match=r"NUL character, which trackers cannot store: take it out|control character"
    ):
        add(artifact, path)
    assert artifact.to_dict() == before


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, 2**63, [-(2**63) - 1]], ids=["text", "key", "large", "low"])
def test_metadata_that_no_database_takes_is_refused_and_never_waits(
    artifact: TraceletArtifact, home: Path, value: Any
) -> None:
    artifact.metadata = {"x": value}
    with Experiment("study", artifacts=True) as exp:
        for log in (exp.log_artifact, exp.submit_artifact):
            with pytest.raises(ArtifactError, match=r"metadata\['x'\].*trackers cannot store"):
                log(artifact)
        assert exp.flush() == 0
    assert list(Outbox(home / ".tracelet").everything()) == []


def test_the_largest_reference_there_may_be_is_logged_and_listed(artifact: TraceletArtifact, home: Path) -> None:
    with Experiment("study", artifacts=True) as exp:
        exp.log_artifact(artifact.add_reference("s3://b/k", 2**63 - 1)).raise_for_errors()
        assert exp.list_artifacts()[0].size_bytes == 2**63 - 1


def test_a_reference_of_unknown_size_counts_nothing(artifact: TraceletArtifact) -> None:
    assert artifact.add_reference("s3://b/k").size_bytes == 0


def test_a_reference_holds_no_credentials(artifact: TraceletArtifact) -> None:
    artifact.add_reference("https://me:hunter2@host/x?token=hunter2&part=1")
    artifact.add_reference("s3://AKIA:hunter2@bucket/key#sig=hunter2")
    assert [reference.uri for reference in artifact.references] == ["https://me@host/x?part=1", "s3://AKIA@bucket/key"]
    assert "hunter2" not in json.dumps(artifact.to_dict())
    with pytest.raises(ArtifactError, match="is in 'results' already") as caught:
        artifact.add_reference("https://me:hunter3@host/x?part=1")
    assert "hunter2" not in str(caught.value)


def test_what_is_cut_out_of_a_reference_is_told_and_stays_secret(
    artifact: TraceletArtifact, caplog: pytest.LogCaptureFixture, home: Path
) -> None:
    artifact.add_reference("https://me:hunter2@host/x?token=hunter2&part=1")
    artifact.add_reference("s3://bucket/key")
    said = "'https://me@host/x?part=1' is recorded without password, token: secrets are not written down."
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [f"results: {said}"]
    with Experiment("study", artifacts=True) as exp:
        assert exp.log_artifact(artifact).warnings == [said]
        assert exp.submit_artifact(artifact).result(60).warnings == [said]
        assert (
            exp.log_artifact(exp.create_artifact("plain", ArtifactType.DATASET).add_reference("s3://b/k")).warnings
            == []
        )


@pytest.mark.parametrize("uri", ["", "data/x.bin", "/data/x.bin", "C:\\x", None, 5, Path("/x"), "s3://b/\n"])
def test_what_is_no_uri_is_refused(artifact: TraceletArtifact, uri: Any) -> None:
    with pytest.raises(ArtifactError, match="give a URI such as"):
        artifact.add_reference(uri)


@pytest.mark.parametrize("size", [-1, 1.5, "5", True])
def test_a_size_is_a_whole_number_of_bytes(artifact: TraceletArtifact, size: Any) -> None:
    with pytest.raises(ArtifactError, match="is not a size: give a whole number of bytes"):
        artifact.add_reference("s3://b/k", size)


def test_a_checksum_is_asked_of_the_place(artifact: TraceletArtifact, tmp_path: Path) -> None:
    path = write(tmp_path / "x.bin", b"12345")
    with fsspec.open("memory://artifacts-test/x", "wb") as stream:
        stream.write(b"12345")
    artifact.add_reference(path.as_uri(), checksum=True).add_reference("memory://artifacts-test/x", 5, checksum=True)
    assert [reference.size_bytes for reference in artifact.references] == [5, 5]
    assert len({reference.sha256 for reference in artifact.references} - {None}) == 1


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///no/such/file", "there is no checksum: .*is not there.*Leave checksum= out"),
        ("memory://no/such/thing", "there is no checksum"),
        ("file:///etc", "there is no checksum"),
        ("http://me:hunter2@127.0.0.1:9/x?token=hunter2", "there is no checksum: http://me@127.0.0.1:9/x"),
    ],
)
def test_a_checksum_that_cannot_be_had_is_an_error_without_credentials(
    artifact: TraceletArtifact, uri: str, reason: str
) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        artifact.add_reference(uri, checksum=True)
    told: BaseException | None = caught.value
    while told is not None:
        assert "hunter2" not in str(told)
        told = told.__cause__
    assert artifact.references == []


def test_a_checksum_of_a_scheme_that_cannot_be_spoken_says_what_to_install(artifact: TraceletArtifact) -> None:
    with pytest.raises(ConfigError, match="gcsfs"):
        artifact.add_reference("gs://b/k", checksum=True)


def test_a_size_that_the_place_does_not_have_is_an_error(artifact: TraceletArtifact, tmp_path: Path) -> None:
    path = write(tmp_path / "x.bin", b"12345")
    with pytest.raises(ArtifactError, match="has 5 bytes, and not size_bytes=7"):
        artifact.add_reference(path.as_uri(), 7, checksum=True)


# -- as a dictionary


def test_to_dict_is_plain_data_of_its_own(artifact: TraceletArtifact, tmp_path: Path) -> None:
    artifact.metadata = {"accuracy": np.float32(0.5), "layers": [1, 2], "path": Path("a")}
    artifact.add_file(write(tmp_path / "f"), description="a file").add_object({}, "o").add_reference("s3://b/k", 3)
    plain = artifact.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain == {
        "name": "results",
        "type": "report",
        "description": "what came out",
        "size_bytes": 10,
        "files": [{"artifact_path": "f", "size_bytes": 7, "sha256": None, "description": "a file"}],
        "objects": [
            {
                "name": "o",
                "serializer": "json",
                "artifact_path": None,
                "size_bytes": None,
                "sha256": None,
                "description": None,
            }
        ],
        "models": [],
        "references": [
            {"uri": "s3://b/k", "size_bytes": 3, "description": None, "sha256": None, "etag": None, "path": None}
        ],
        "metadata": {"accuracy": 0.5, "layers": [1, 2], "path": "a"},
    }
    plain["metadata"]["layers"].append(3)
    assert artifact.metadata["layers"] == [1, 2]


def test_to_dict_of_metadata_that_json_cannot_hold_says_where(artifact: TraceletArtifact) -> None:
    artifact.metadata["x"] = [b"bytes"]
    with pytest.raises(ArtifactError, match=r"metadata\['x'\]\[0\] is a bytes"):
        artifact.to_dict()


# -- as it comes back


@pytest.fixture
def logged(home: Path) -> LoggedArtifact:
    """One of everything, stored and found again."""
    write(home / "report.html", "<html>")
    write(home / "deep" / "m.json", "{}")
    with Experiment("study", artifacts=True) as exp:
        artifact = exp.create_artifact("results", ArtifactType.REPORT, "what came out")
        artifact.add_file("report.html", description="to read").add_file("deep/m.json", "data/m.json")
        artifact.add_object({"a": [1, 2]}, "summary").add_object({3}, "odd", "pickle")
        artifact.add_reference("s3://b/k", 100)
        artifact.metadata["nested"] = {"list": [1]}
        exp.log_artifact(artifact, aliases=["best"])
    return Experiment("study", artifacts=True).get_artifact("results")


def test_it_reads_like_what_was_built(logged: LoggedArtifact) -> None:
    assert (logged.name, logged.type, logged.description) == ("results", ArtifactType.REPORT, "what came out")
    assert [(file.artifact_path, file.size_bytes, file.description) for file in logged.files] == [
        ("report.html", 6, "to read"),
        ("data/m.json", 2, None),
    ]
    assert [(item.name, item.serializer) for item in logged.objects] == [("summary", "json"), ("odd", "pickle")]
    assert [reference.uri for reference in logged.references] == ["s3://b/k"]
    assert logged.models == []
    assert logged.metadata == {"nested": {"list": [1]}}
    assert logged.size_bytes == 6 + 2 + sum(item.size_bytes or 0 for item in logged.objects) + 100


def test_it_says_where_and_when(logged: LoggedArtifact) -> None:
    assert (logged.version, logged.backend, logged.aliases) == ("v0", "local", ("best",))
    assert logged.uri.startswith("file:///")
    assert len(logged.digest) == 64
    assert abs(logged.created_at - time.time()) < 100
    plain = logged.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["aliases"] == ["best"]
    assert {"version", "backend", "uri", "digest", "created_at", "files", "metadata"} <= set(plain)
    assert "_content" not in repr(logged)


def test_it_cannot_be_changed(logged: LoggedArtifact) -> None:
    logged.metadata["nested"]["list"].append(2)
    logged.files.clear()
    assert logged.metadata == {"nested": {"list": [1]}}
    assert len(logged.files) == 2
    with pytest.raises(AttributeError):
        logged.version = "v9"  # type: ignore[misc]


def test_one_file_can_be_opened(logged: LoggedArtifact) -> None:
    with logged.open("data/m.json") as stream:
        assert stream.read() == b"{}"
    with pytest.raises(ArtifactNotFound, match=r"did you mean 'report.html'"):
        logged.open("report.htm")
    with pytest.raises(ArtifactNotFound, match="'data' is a folder of 'results': open one of its files"):
        logged.open("data")


def test_objects_come_back_and_a_pickle_only_on_trust(logged: LoggedArtifact) -> None:
    assert logged.load_object("summary") == {"a": [1, 2]}
    with pytest.raises(UnsafeContent, match="say trust=True if you trust whoever logged it"):
        logged.load_object("odd")
    assert logged.load_object("odd", trust=True) == {3}
    with pytest.raises(ArtifactNotFound, match="'results' has no 'sumary'; it has summary, odd"):
        logged.load_object("sumary")


def test_a_model_that_is_not_there_is_said_to_be_files(logged: LoggedArtifact) -> None:
    with pytest.raises(ArtifactNotFound, match="has 0 models: it was logged without add_model; download"):
        logged.load_model()
    with pytest.raises(ArtifactNotFound, match="it has nothing of that kind"):
        logged.load_model("model")


@pytest.mark.parametrize("paths", ["report.html", [Path("report.html")], [5], [None]])
def test_paths_are_a_list_of_text(logged: LoggedArtifact, paths: Any) -> None:
    with pytest.raises(ConfigError, match="give a list of the artifact's paths as text"):
        logged.download(paths=paths)


def test_several_models_are_told_apart_by_name(home: Path, toys: ModuleType) -> None:
    one, two = toys.Line(1), toys.Line(2)
    with Experiment("study", artifacts=True) as exp:
        artifact = exp.create_artifact("pair", ArtifactType.MODEL).add_model(one).add_model(two, name="steep")
        exp.log_artifact(artifact)
        found = exp.get_artifact("pair")
    assert [model.framework for model in found.models] == ["toys", "toys"]
    with pytest.raises(ArtifactNotFound, match="has 2 models: say which: model, steep"):
        found.load_model()
    assert found.load_model("steep").predict(2) == 4
    with Experiment("study", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("single", ArtifactType.MODEL).add_model(one))
        assert exp.get_artifact("single").load_model().predict(2) == 2


# -- logged twice


def test_a_builder_that_is_logged_again_is_a_new_version_where_it_changed(home: Path) -> None:
    path = settle(write(home / "f", "one"))
    exp = Experiment("study", artifacts=True).start()
    artifact = exp.create_artifact("twice", ArtifactType.CONFIG).add_file("f").add_object({"n": 1}, "o")
    assert exp.log_artifact(artifact)["local"].created
    again = exp.log_artifact(artifact)["local"]
    assert (again.version, again.created) == ("v0", False)
    write(path, "two!")
    changed = exp.log_artifact(artifact)["local"]
    assert (changed.version, changed.created) == ("v1", True)
    artifact.metadata["note"] = "x"
    artifact.add_object([1], "more")
    assert exp.log_artifact(artifact)["local"].version == "v2"
    contents = [(exp.get_artifact("twice", one).download() / "f").read_bytes() for one in ("v0", "v1", "v2")]
    exp.stop()
    assert contents == [b"one", b"two!", b"two!"]


def test_an_object_that_changed_since_it_was_added_is_stored_as_it_is_when_it_is_logged(home: Path) -> None:
    state = {"step": 1}
    with Experiment("study", artifacts=True) as exp:
        artifact = exp.create_artifact("state", ArtifactType.CUSTOM).add_object(state, "state")
        state["step"] = 2
        exp.log_artifact(artifact)
        assert exp.get_artifact("state").load_object("state") == {"step": 2}


def test_a_builder_cannot_be_mistaken_for_stored(logged: LoggedArtifact, home: Path) -> None:
    with (
        Experiment("study", artifacts=True) as exp,
        pytest.raises(ArtifactError, match="make one with create_artifact"),
    ):
        exp.log_artifact(logged)  # type: ignore[arg-type]


def test_what_is_built_has_no_hidden_state_in_a_pickle(artifact: TraceletArtifact) -> None:
    artifact.add_reference("https://me:hunter2@host/x")
    assert b"hunter2" not in pickle.dumps(artifact)
