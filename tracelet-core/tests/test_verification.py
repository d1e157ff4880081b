"""Reading stored versions back: what is whole, what is damaged or gone, and how it is mended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commanding import age, begin, environment, no_lanes_after, program, run, run_both, run_json, wait_until
from making import full_disk, write
from watching import Scripted, steps

from tracelet import (
    ArtifactError,
    ArtifactNotFound,
    BackendUnavailable,
    Experiment,
    IntegrityError,
    LoggedArtifact,
    Verification,
)
from tracelet.core.management.verification import find_versions, verify
from tracelet.core.plugins.versions import StoredArtifact


@pytest.fixture
def exp(experiment: Callable[..., Experiment]) -> Experiment:
    return experiment("local")


@pytest.fixture
def blobs(home: Path) -> Path:
    """The blobs of the embedded backend."""
    return home / ".tracelet" / "local" / "blobs"


def log(exp: Experiment, name: str, **texts: str) -> LoggedArtifact:
    """Log a version with these files."""
    artifact = exp.create_artifact(name, "dataset")
    for file, text in texts.items():
        write(Path(file), text)
        artifact.add_file(file)
    exp.log_artifact(artifact)
    return exp.get_artifact(name)


def blob_of(folder: Path, artifact: LoggedArtifact, path: str) -> Path:
    every = [*artifact.files, *artifact.references]
    (sha256,) = {
        str(file.sha256) for file in every if path in {getattr(file, "artifact_path", ""), getattr(file, "path", "")}
    }
    (blob,) = folder.rglob(sha256)
    return blob


def damage(blob: Path) -> None:
    """Change a byte, and leave the size as it is."""
    data = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def verified(exp: Experiment) -> Verification:
    """Read all that an experiment holds."""
    finder = exp._artifact_manager.finder
    return verify(finder, *find_versions(finder))


# -- one version


def test_a_whole_version_is_read_and_nothing_of_it_is_kept(exp: Experiment, home: Path) -> None:
    found = log(exp, "data", a="one", b="three").verify()
    assert (found.ok, found.versions, found.files, found.size_bytes, found.wrong) == (True, 1, 2, 8, ())
    assert repr(found) == "<Verification 1 version, 2 files whole (8 B)>"
    found.raise_for_errors()
    assert not list((home / ".tracelet" / "downloads").iterdir())


def test_damaged_bytes_are_told_with_their_place_and_what_mends_them(exp: Experiment, blobs: Path) -> None:
    data = log(exp, "data", a="one", b="three", c="four")
    damage(blob_of(blobs, data, "b"))
    found = data.verify()
    assert (found.ok, found.files, found.size_bytes) == (False, 2, 7)
    (wrong,) = found.wrong
    assert (wrong.name, wrong.version, wrong.backend, wrong.path, wrong.is_missing) == (
        "data",
        "v0",
        "local",
        "b",
        False,
    )
    assert blob_of(blobs, data, "b").as_uri() in str(wrong)
    assert "log the same content again, which puts them right" in str(wrong)
    assert "1 file WRONG" in repr(found)
    with pytest.raises(IntegrityError, match="stored bytes were changed"):
        found.raise_for_errors()


def test_missing_bytes_are_told_with_their_place_and_what_brings_them_back(exp: Experiment, blobs: Path) -> None:
    data = log(exp, "data", a="one", b="three")
    place = blob_of(blobs, data, "a")
    place.unlink()
    (wrong,) = data.verify().wrong
    assert wrong.is_missing
    assert place.as_uri() in str(wrong)
    log(exp, "data", a="one", b="three")
    assert data.verify().ok


def test_all_that_is_wrong_is_told_at_once(exp: Experiment, blobs: Path) -> None:
    data = log(exp, "data", a="one", b="three", c="four")
    damage(blob_of(blobs, data, "a"))
    blob_of(blobs, data, "c").unlink()
    found = data.verify()
    assert [one.path for one in found.wrong] == ["a", "c"]
    with pytest.raises(IntegrityError) as raised:
        found.raise_for_errors()
    assert "bytes of 'c' are gone" in "".join(raised.value.__notes__)


def test_large_files_are_read_in_the_store(experiment: Callable[..., Experiment], home: Path) -> None:
    exp = experiment("local", large_file_mb=0.001)
    data = log(exp, "data", small="s", large="l" * 2000, larger="m" * 3000)
    assert (data.verify().files, data.verify().size_bytes) == (3, 5001)
    store = home / ".tracelet" / "objects"
    damage(blob_of(store, data, "large"))
    blob_of(store, data, "larger").unlink()
    found = data.verify()
    assert [(one.path, one.is_missing) for one in found.wrong] == [("large", False), ("larger", True)]
    assert "delete file://" in str(found.wrong[0])
    assert "gone from the store" in str(found.wrong[1])
    assert found.files == 1


def test_references_to_content_outside_are_counted_and_not_read(exp: Experiment) -> None:
    exp.log_artifact(exp.create_artifact("data", "dataset").add_reference("s3://nowhere/x", 5).add_object([1], "o"))
    found = exp.get_artifact("data").verify()
    assert (found.ok, found.outside, found.files) == (True, 1, 1)
    assert "1 reference to content outside not verified" in repr(found)


def test_a_version_that_is_gone_is_told(exp: Experiment) -> None:
    data = log(exp, "data", a="one")
    finder = exp._artifact_manager.finder
    finder.request("local", "delete_many", stored=(finder.request("local", "find", name="data", ref="v0"),))
    with pytest.raises(ArtifactNotFound, match=r"has no 'data' v0 any more: list_artifacts\(\)"):
        data.verify()


def test_what_somebody_deletes_while_it_is_read_is_not_damaged(exp: Experiment) -> None:
    gone, kept = log(exp, "data", a="one", b="two"), log(exp, "data", a="other")
    another, step, acted, told = Experiment("trials", artifacts=True), 1, True, []
    while acted:
        log(exp, f"data-{step}", a="x", b=str(step))
        found, _ = find_versions(exp._artifact_manager.finder, f"data-{step}")
        last = another.get_artifact(f"data-{step}")
        acted = steps.at(
            step,
            last.delete,
            lambda found=found: told.append(verify(exp._artifact_manager.finder, found)),  # type: ignore[misc]
        )
        step += 5
    assert (all(one.ok for one in told), {one.versions for one in told}) == (True, {0, 1})
    assert gone.verify().files + kept.verify().files == 3


def test_where_no_folder_can_be_made_for_reading_nothing_is_blamed(exp: Experiment, home: Path) -> None:
    data = log(exp, "data", a="one")
    write(home / ".tracelet" / "downloads", "in the way")
    with pytest.raises(ArtifactError, match="let this user write there, or make room"):
        data.verify()


def test_a_full_disk_is_no_damage(exp: Experiment, home: Path) -> None:
    data = log(exp, "data", a="x" * 5000)
    with full_disk(1000), pytest.raises(ArtifactError, match="Free space there"):
        data.verify()
    assert data.verify().ok


def test_what_a_killed_process_left_of_its_reading_is_garbage(exp: Experiment, home: Path) -> None:
    log(exp, "data", a="one").verify()
    left = write(home / ".tracelet" / "downloads" / "~verify-0" / "1" / "a").parents[1]
    age(home / ".tracelet" / "downloads")
    run("gc")
    assert not left.exists()


# -- many versions


def test_a_damaged_manifest_does_not_hide_the_other_versions(exp: Experiment, home: Path) -> None:
    for text in ("one", "two", "three"):
        log(exp, "data", a=text)
    (manifest,) = (home / ".tracelet" / "local").rglob("v1.json")
    manifest.write_text("{")
    found = verified(exp)
    assert (found.ok, found.versions, found.files) == (False, 2, 2)
    assert str(manifest) in str(found.failed["local"])
    assert "local: FAILED" in repr(found)
    with pytest.raises(IntegrityError, match="a manifest is not JSON"):
        found.raise_for_errors()


def test_a_blob_that_versions_share_is_read_once_and_told_for_each_where_it_is_damaged(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = experiment("scripted-inline")
    first = log(exp, "data", a="one", b="same")
    second = log(exp, "data", a="two", b="same")
    log(exp, "copy", b="same")
    assert verified(exp).files == 5
    assert len(scripted.calls("fetch")) == 2
    damage(blob_of(scripted.place / "blobs", first, "b"))
    found = verified(exp)
    assert [(one.name, one.version) for one in found.wrong] == [("data", "v0"), ("data", "v1"), ("copy", "v0")]
    assert found.files == 2
    assert second.verify().wrong[0].path == "b"


def test_many_files_are_fetched_some_at_a_time(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    exp = experiment("scripted-inline")
    data = log(exp, "data", **{f"f{number}": str(number) for number in range(501)})
    assert data.verify().files == 501
    assert len(scripted.calls("fetch")) == 2


def test_large_files_are_fetched_alone_so_that_little_of_the_disk_is_taken(
    scripted: Scripted, experiment: Callable[..., Experiment], home: Path
) -> None:
    exp = experiment("scripted-inline")
    artifact = exp.create_artifact("data", "dataset")
    for name in ("one", "two"):
        write(home / name, name)
        os.truncate(home / name, 33_000_000)
        artifact.add_file(name)
    exp.log_artifact(artifact)
    assert exp.get_artifact("data").verify().size_bytes == 66_000_000
    assert len(scripted.calls("fetch")) == 2


def test_each_backend_is_read_and_one_that_is_away_is_told_and_not_asked_for_ever(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = experiment("local", "scripted-inline", routing="all")
    first = log(exp, "data", a="0")
    for number in range(1, 5):
        log(exp, "data", a=str(number))
    assert verified(exp).files == 10
    asked = len(scripted.calls("fetch"))
    scripted.told(fetch="away")
    found = verified(exp)
    assert (found.ok, found.versions, found.files, found.unread) == (False, 5, 5, 5)
    assert isinstance(found.failed["scripted-inline"], BackendUnavailable)
    assert found.unread_since == first.created_at
    assert "5 versions not read" in repr(found)
    assert len(scripted.calls("fetch")) == asked + 3


def test_a_version_that_a_backend_does_not_give_hides_none_of_the_others(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = experiment("scripted-inline")
    for number in range(12):
        log(exp, "data", a=str(number))
    finder = exp._artifact_manager.finder

    def begun(stored: StoredArtifact, size_bytes: int) -> None:
        scripted.told(**{"fetch": "away"} if stored.number % 2 else {})

    found = verify(finder, *find_versions(finder), told=begun)
    assert (found.versions, found.unread, found.wrong) == (6, 6, ())
    assert found.unread_since == exp.get_artifact("data", "v1").created_at


def test_what_a_backend_refuses_to_give_is_wrong(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    data = log(experiment("scripted-inline"), "data", a="one", b="two")
    scripted.told(fetch="never")
    assert [one.path for one in data.verify().wrong] == ["a", "b"]


# -- the command

THREE = """
with experiment("local") as exp:
    for text in ("first", "second"):
        exp.log_artifact(artifact("thing", text))
    exp.log_artifact(artifact("other", "third").add_reference("s3://nowhere/x"))
"""


def test_the_command_reads_everything_and_says_so(home: Path) -> None:
    program(THREE)
    out, err = run_both("verify", "trials")
    assert out == "3 files (16 B) of 3 versions are whole\n"
    assert err == "1 reference points at content outside, which is not verified\n"
    told = run_json("verify", "trials", "thing")
    assert told == {
        "experiment": "trials", "ok": True, "versions": 2, "files": 2, "size_bytes": 11, "outside": 0,
        "wrong": [], "failed": {}, "unread": 0, "unread_since": None,
    }  # fmt: skip
    assert run("verify", "trials", "thing@v1") == "1 file (6 B) of 1 version is whole\n"


def test_the_command_names_what_is_wrong_and_ends_with_1(home: Path, blobs: Path) -> None:
    program(THREE)
    one, two, _ = sorted(path for path in blobs.rglob("*") if path.is_file())
    damage(one)
    two.unlink()
    out, err = run_both("verify", "trials", code=1)
    assert out.startswith("1 file (")
    assert err.count("error: ") == 2
    assert one.as_uri() in err
    assert two.as_uri() in err
    wrong = run_json("verify", "trials", code=1)["wrong"]
    assert sorted((one["missing"], one["type"]) for one in wrong) == [
        (False, "IntegrityError"),
        (True, "ArtifactNotFound"),
    ]


def test_the_command_goes_on_where_it_was_interrupted(scripted: Scripted, home: Path) -> None:
    program('with experiment("scripted") as exp: exp.log_artifact(artifact("thing", "first"))')
    scripted.told(fetch="hang")
    with no_lanes_after():
        reading = begin("verify", "trials", env=environment(TRACELET_BACKEND="scripted", TRACELET_DEADLINE="60"))
        wait_until(lambda: scripted.calls("fetch"))
        reading.send_signal(signal.SIGINT)
        out, err = reading.communicate(timeout=180)
    assert (reading.returncode, out) == (130, "")
    assert "0 of 1 versions were read; to go on, say the same with --since " in err
    since = err.partition("--since ")[2].split()[0]
    scripted.told()
    assert run_json("verify", "trials", "--since", since, "--backend", "scripted")["files"] == 1
    assert not list((home / ".tracelet" / "downloads").iterdir())


def test_the_command_says_how_to_go_on_after_a_backend_that_failed(scripted: Scripted, home: Path) -> None:
    program('with experiment("scripted") as exp: exp.log_artifact(artifact("thing", "first"))')
    scripted.told(fetch="away")
    out, err = run_both("verify", "trials", "--backend", "scripted", code=1)
    assert "0 files (0 B) of 0 versions are whole" in out
    assert "error: scripted: scripted is out" in err
    assert "1 version was not read; to go on, say the same with --since " in err
    scripted.told(list="away")
    told = run_json("verify", "trials", "--backend", "scripted", code=1)
    assert told["failed"]["scripted"]["type"] == "BackendUnavailable"


@pytest.mark.parametrize(("since", "files"), [("7d", 1), ("2100-01-01", 0), ("2020-01-01T00:00:00Z", 1)])
def test_the_command_reads_what_was_logged_since_a_moment(home: Path, since: str, files: int) -> None:
    program('with experiment("local") as exp: exp.log_artifact(artifact("thing", "first"))')
    assert run_json("verify", "trials", "thing", "--since", since)["files"] == files


def test_the_command_says_what_it_cannot_find(home: Path) -> None:
    program('with experiment("local") as exp: exp.log_artifact(artifact("thing", "first"))')
    assert "did you mean 'thing'?" in run("verify", "trials", "thingy", code=1)
    assert "it has other versions" in run("verify", "trials", "thing@v7", code=1)
    assert "did you mean 'trials'?" in run("verify", "trails")
    assert "name '../thing'" in run("verify", "trials", "../thing", code=2)
    assert "version ':'" in run("verify", "trials", "thing@:", code=2)
    assert "give an age such as 12h" in run("verify", "trials", "--since", "soon", code=2)
    json.loads(run("verify", "trails", "--json"))
