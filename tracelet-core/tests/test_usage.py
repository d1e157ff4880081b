"""How big what is stored is: counted by what needs it, and on the disk."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commanding import begin, environment, leave_drafts, no_lanes_after, program, run, run_both, run_json, wait_until
from making import without_rights, write
from watching import Scripted

from tracelet import BackendUnavailable, ConfigError, DiskUsage, Experiment, IntegrityError


def log(exp: Experiment, name: str, **texts: str) -> None:
    """Log a version with these files."""
    artifact = exp.create_artifact(name, "dataset")
    for file, text in texts.items():
        write(Path(file), text)
        artifact.add_file(file)
    assert exp.log_artifact(artifact).ok


def on_the_disk(*folders: Path) -> int:
    """The sizes of all files in folders, each file once."""
    found = [path.lstat() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in found}.values())


def of(usage: DiskUsage, *, level: str = "versions") -> dict[tuple[object, ...], tuple[int, int, int]]:
    return {
        (one.name, one.number)[: 2 if level == "versions" else 1]: (one.own, one.shared, one.store)
        for one in getattr(usage, level)
    }


@pytest.fixture
def local(experiment: Callable[..., Experiment], home: Path) -> Experiment:
    """An experiment with files of its own, some that two versions share, and one that two names share."""
    exp = experiment("local")
    log(exp, "data", a="a" * 100, both="b" * 1000)
    log(exp, "data", a="A" * 200, both="b" * 1000)
    log(exp, "copy", a="a" * 100, own="c" * 3)
    return exp


def test_what_a_version_alone_needs_is_its_own_and_the_rest_is_shared(local: Experiment) -> None:
    usage = local.disk_usage()
    assert of(usage) == {("data", 0): (0, 1100, 0), ("data", 1): (200, 1000, 0), ("copy", 0): (3, 100, 0)}
    assert of(usage, level="names") == {("data",): (1200, 100, 0), ("copy",): (3, 100, 0)}
    (whole,) = usage.experiments
    assert (whole.own, whole.shared, whole.versions, whole.total) == (1303, 0, 3, 1303)
    (backend,) = usage.backends
    assert (backend.own, backend.shared, backend.exact) == (203, 1100, True)
    assert [one.name for one in usage.names] == ["data", "copy"]
    assert "1 shared" not in repr(usage)
    assert repr(usage).startswith("<DiskUsage of 3 versions; local: 203 B own, 1.1 kB shared (counted once); ")
    usage.raise_for_errors()


def test_what_is_counted_is_what_is_on_the_disk(local: Experiment, home: Path) -> None:
    local.get_artifact("data").download()
    usage = local.disk_usage().on_disk
    assert usage.total == on_the_disk(home / ".tracelet")
    assert usage.versions == on_the_disk(home / ".tracelet" / "local" / "blobs") == 1303
    assert usage.records == on_the_disk(home / ".tracelet" / "local") - 1303
    assert usage.downloads == on_the_disk(home / ".tracelet" / "downloads") == 1200
    assert (usage.store, usage.unneeded) == (0, 0)


def test_experiments_share_their_files_and_another_ones_are_not_shown(
    local: Experiment, experiment: Callable[..., Experiment]
) -> None:
    log(experiment("local", name="other"), "theirs", own="c" * 3, more="m" * 7)
    usage = local.disk_usage()
    assert of(usage)["copy", 0] == (0, 103, 0)
    assert ("theirs", 0) not in of(usage)
    assert usage.on_disk.versions == 1310


def test_what_no_version_needs_any_more_is_told_apart(local: Experiment, home: Path) -> None:
    write(home / ".tracelet" / "local" / "blobs" / "sha256" / "cd" / ("cd" * 32), "let")
    write(home / ".tracelet" / "local" / ".half.tmp", "half")
    write(home / ".tracelet" / "objects" / "sha256" / "ab" / ("ab" * 32), "left over")
    usage = local.disk_usage()
    assert usage.on_disk.unneeded == 3 + 4 + 9
    assert usage.on_disk.total == on_the_disk(home / ".tracelet")


def test_a_blob_that_is_gone_takes_no_room(local: Experiment, home: Path) -> None:
    for blob in (home / ".tracelet" / "local" / "blobs").rglob("*"):
        if blob.is_file() and blob.stat().st_size == 200:
            blob.unlink()
    assert of(local.disk_usage())["data", 1] == (0, 1000, 0)


def test_large_files_are_in_the_store_once(experiment: Callable[..., Experiment], home: Path) -> None:
    exp = experiment("local", large_file_mb=0.001)
    log(exp, "data", large="l" * 5000, small="s")
    log(exp, "data", large="l" * 5000, small="S")
    usage = exp.disk_usage()
    assert of(usage) == {("data", 0): (1, 0, 5000), ("data", 1): (1, 0, 5000)}
    assert of(usage, level="names") == {("data",): (2, 0, 5000)}
    assert usage.on_disk.store == 5000
    assert usage.on_disk.total == on_the_disk(home / ".tracelet")


def test_a_store_elsewhere_on_this_machine_is_counted(experiment: Callable[..., Experiment], home: Path) -> None:
    exp = experiment("local", large_file_mb=0.001, store=str(home / "store"))
    log(exp, "data", large="l" * 5000)
    usage = exp.disk_usage()
    assert usage.on_disk.store == 5000
    assert usage.on_disk.total == on_the_disk(home / ".tracelet", home / "store" / "objects")


def test_a_store_that_is_not_on_this_machine_takes_nothing_of_it(experiment: Callable[..., Experiment]) -> None:
    exp = experiment("local", large_file_mb=0.001, store="memory://bucket")
    log(exp, "data", large="l" * 5000)
    usage = exp.disk_usage()
    assert (of(usage)["data", 0], usage.on_disk.store) == ((0, 0, 5000), 0)


def test_what_waits_is_counted_with_its_bytes(
    scripted: Scripted, experiment: Callable[..., Experiment], home: Path
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted-inline")
    write(Path("late"), "x" * 4000)
    exp.log_artifact(exp.create_artifact("late", "dataset").add_file("late"))
    exp.stop()
    usage = exp.disk_usage()
    assert usage.on_disk.outbox >= 4000
    assert usage.on_disk.total == on_the_disk(home / ".tracelet")
    (parcel,) = (home / ".tracelet" / "outbox").rglob("*.json")
    parcel.write_text("{")
    usage = exp.disk_usage()
    assert usage.on_disk.outbox >= 4000
    assert isinstance(usage.failed["outbox"], IntegrityError)


def test_snapshots_that_wait_to_be_hashed_are_counted(home: Path) -> None:
    directory = leave_drafts(home, late="x" * 4000)
    usage = run_json("du", "trials", "--dir", str(directory))["on_disk"]
    assert usage["outbox"] >= 4000
    assert usage["total"] == on_the_disk(directory)


def test_a_file_that_is_linked_is_counted_once(local: Experiment, home: Path) -> None:
    write(home / "big", "x" * 4000)
    local.submit_artifact(local.create_artifact("late", "dataset").add_file("big")).result(timeout=60)
    (blob,) = (path for path in (home / ".tracelet" / "local" / "blobs").rglob("*") if path.stat().st_size == 4000)
    (home / ".tracelet" / "others").mkdir()
    (home / ".tracelet" / "others" / "twin").hardlink_to(blob)
    usage = local.disk_usage().on_disk
    assert usage.total == on_the_disk(home / ".tracelet")
    assert usage.versions == 5303


def test_what_may_not_be_read_is_told(local: Experiment, home: Path) -> None:
    with (
        without_rights(home / ".tracelet" / "local" / "blobs"),
        pytest.raises(ConfigError, match="Ask whoever may read"),
    ):
        local.disk_usage()


def test_where_there_is_no_directory_nothing_is_on_this_machine(scripted: Scripted, home: Path) -> None:
    told = run_json("du", "nothing", "--backend", "scripted", "--dir", "nowhere")
    assert (told["on_disk"]["total"], told["versions"]) == (0, [])


def test_links_are_not_followed(local: Experiment, home: Path) -> None:
    before = local.disk_usage().on_disk.total
    write(home / "elsewhere" / "big", "x" * 10_000)
    (home / ".tracelet" / "other").mkdir()
    (home / ".tracelet" / "other" / "link").symlink_to(home / "elsewhere")
    (home / ".tracelet" / "other" / "file").symlink_to(home / "elsewhere" / "big")
    assert local.disk_usage().on_disk.total == before


def test_a_tracker_is_counted_by_its_manifests(scripted: Scripted, experiment: Callable[..., Experiment]) -> None:
    exp = experiment("scripted-inline")
    log(exp, "data", a="a" * 10, both="b" * 100)
    log(exp, "data", a="A" * 20, both="b" * 100)
    usage = exp.disk_usage()
    assert of(usage) == {("data", 0): (10, 100, 0), ("data", 1): (20, 100, 0)}
    assert [(one.backend, one.own, one.shared, one.exact) for one in usage.backends] == [
        ("scripted-inline", 30, 100, False)
    ]


def test_what_could_not_be_counted_is_told(
    scripted: Scripted, experiment: Callable[..., Experiment], home: Path
) -> None:
    exp = experiment("local", "scripted-inline", routing="all")
    log(exp, "data", a="a" * 10)
    log(exp, "data", a="b" * 10)
    (manifest,) = (home / ".tracelet" / "local").rglob("v1.json")
    manifest.write_text("{")
    scripted.told(list="away")
    usage = exp.disk_usage()
    assert [(one.backend, one.number, one.own) for one in usage.versions] == [("local", 0, 10)]
    assert not usage.ok
    assert list(usage.failed) == ["local", "scripted-inline"]
    assert "scripted-inline: FAILED" in repr(usage)
    with pytest.raises((IntegrityError, BackendUnavailable)):
        usage.raise_for_errors()


def test_each_damaged_manifest_of_each_experiment_is_told(
    local: Experiment, experiment: Callable[..., Experiment], home: Path
) -> None:
    log(experiment("local", name="other"), "theirs", a="a")
    for manifest in (home / ".tracelet" / "local").glob("*/versions/*/v0.json"):
        manifest.write_text("{")
    error = local.disk_usage().failed["local"]
    assert all(name in str([error, *error.__notes__]) for name in ("copy", "data", "theirs"))


# -- the command

TWO_EXPERIMENTS = """
for name in ("trials", "others"):
    with experiment("local", name=name) as exp:
        exp.log_artifact(artifact("thing", "shared " * 10))
        exp.log_artifact(artifact("thing", name), version="1.0")
"""


def test_the_command_shows_all_experiments_or_the_versions_of_one(home: Path) -> None:
    program(TWO_EXPERIMENTS)
    header, *rows = [line.split() for line in run("du").splitlines()]
    assert header == ["EXPERIMENT", "NAME", "VERSION", "VERSIONS", "OWN", "SHARED", "STORE", "BACKEND"]
    assert ["others", "*", "*", "2", "6", "B", "70", "B", "0", "B", "local"] in rows
    assert ["trials", "thing", "*", "2", "6", "B", "70", "B", "0", "B", "local"] in rows
    told = run("du", "trials")
    assert re.search(r"trials +thing +v1 \(1\.0\) +1 +6 B +0 B +0 B +local\n", told)
    assert "others" not in told
    assert "local: 6 B own, and 70 B shared, counted once\n" in told
    assert re.search(r"on this machine, of all experiments in .*/\.tracelet:\n +82 B  files of local's versions", told)


def test_the_command_gives_programs_all_levels(home: Path) -> None:
    program(TWO_EXPERIMENTS)
    told = run_json("du", "trials")
    assert told["experiment"] == "trials"
    assert [(one["name"], one["number"], one["label"], one["own"], one["shared"]) for one in told["versions"]] == [
        ("thing", 0, None, 0, 70),
        ("thing", 1, "1.0", 6, 0),
    ]
    assert told["backends"] == [{"backend": "local", "own": 6, "shared": 70, "exact": True}]
    assert told["on_disk"]["total"] == on_the_disk(home / ".tracelet")
    assert [one["experiment"] for one in run_json("du")["experiments"]] == ["others", "trials"]


def test_the_command_says_what_it_could_not_ask(scripted: Scripted, home: Path) -> None:
    program(TWO_EXPERIMENTS)
    out, err = run_both("du", "--backend", "local", "--backend", "scripted", code=1)
    assert "trials" in out
    assert "scripted cannot say which experiments it holds" in err
    assert (
        "scripted: 0 B own, and 0 B shared, counted once, as its manifests say, and not all of it could be counted\n"
        in out
    )
    out, err = run_both("du", "nothing", "--backend", "scripted")
    assert "no version is stored in experiment 'nothing' of scripted (directory" in err
    assert "did you mean 'trials'?" in run_both("du", "trails")[1]
    assert "scripted: 0 B own, and 0 B shared, counted once, as its manifests say" in out
    assert "an experiment's name" in run("du", " ", code=2)


def test_interrupted_it_ends_at_once_and_leaves_no_process(scripted: Scripted, home: Path) -> None:
    program('with experiment("scripted") as exp: exp.log_artifact(artifact("thing"))')
    scripted.told(list="hang")
    with no_lanes_after():
        du = begin("du", "trials", env=environment(TRACELET_BACKEND="scripted", TRACELET_DEADLINE="60"))
        wait_until(lambda: scripted.calls("list"))
        du.send_signal(signal.SIGINT)
        out, _ = du.communicate(timeout=180)
    assert (du.returncode, out) == (130, "")
