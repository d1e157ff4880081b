"""Copying what is stored to another place: each version once, whole, in its order, with its names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from commanding import begin, run, run_both, run_json
from hypothesis import example, given
from hypothesis import strategies as st
from making import NOBODY, full_disk, write
from pacing import at_this_pace
from watching import Scripted

import tracelet
from tracelet import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactType,
    BackendUnavailable,
    ConfigError,
    CopyResults,
    Experiment,
    LoggedArtifact,
    UnknownPlugin,
)
from tracelet.core.artifacts.copied import CopiedVersion
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.versions import Labels, StoredArtifact
from tracelet.core.transfer.plan import matched

LIMITS = {key: str(value) for key, value in at_this_pace({"deadline": 1.5, "open_timeout": 20.0}).items()}


def log(exp: Experiment, name: str, content: Any, kind: str = "custom", **labels: Any) -> None:
    exp.log_artifact(exp.create_artifact(name, kind).add_object(content, "o"), **labels)


@pytest.fixture
def source(scripted: Scripted) -> Experiment:
    """What two runs have logged to the embedded backend: seven versions of three names."""
    for lot in range(2):
        with Experiment("trials", artifacts=True, large_file_mb=0.001) as exp:
            for step in range(2):
                state = exp.create_artifact("state", "checkpoint", "after a step").add_object({"at": [lot, step]}, "o")
                state.metadata.update(loss=float("nan"), at=lot)
                exp.log_artifact(state, aliases=["last", *["best"] * (step == lot == 0)])
            exp.use_artifact("state", "best")
            write(Path("weights.bin"), bytes([lot]) * 3000)
            exp.log_artifact(exp.create_artifact("net", "model").add_file("weights.bin"), version=f"{lot}.0")
    with Experiment("trials", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("elsewhere", "dataset").add_reference("s3://bucket/key", size_bytes=7))
    return Experiment("trials", artifacts=True)


def in_order(exp: Experiment) -> list[LoggedArtifact]:
    return exp.list_artifacts()[::-1]


def told_of(exp: Experiment) -> list[tuple[Any, ...]]:
    """All that is to come over of each version, oldest first."""
    return [
        (one.name, one.type, one.number, one.label, sorted(one.aliases), one.digest, one.created_at, one.run_id)
        for one in in_order(exp)
    ]


def copy(**more: Any) -> CopyResults:
    given = {"from_backend": "local", "to_backend": "scripted", "to_set": dict(LIMITS)}
    return tracelet.copy("trials", **(given | more))


def there(backend: str = "scripted-inline", name: str = "trials", **more: Any) -> Experiment:
    return Experiment(name, backend=backend, artifacts=True, **more)


def outcomes(results: CopyResults) -> list[tuple[str, str, str, str | None]]:
    return [(one.name, one.version, one.outcome, one.target) for one in results.versions]


# -- what comes over


def test_every_version_comes_over_with_all_that_belongs_to_it(source: Experiment) -> None:
    results = copy()
    assert results.ok
    assert told_of(there()) == told_of(source)
    assert [one.manifest.metadata["at"] for one in in_order(there()) if one.name == "state"] == [0, 0, 1, 1]
    assert there().get_artifact("net", "1.0").inputs == source.get_artifact("net", "1.0").inputs != ()
    assert there().get_artifact("state").description == "after a step"
    assert there().get_artifact("state", "best").load_object("o") == {"at": [0, 0]}
    assert [ref.uri for ref in there().get_artifact("elsewhere").references] == ["s3://bucket/key"]


def test_the_results_tell_of_each_version_in_its_order(source: Experiment) -> None:
    told = []
    results = copy(told=lambda done, count: told.append((done.name, count)))
    assert outcomes(results) == [
        ("state", "v0", "copied", "v0"),
        ("state", "v1", "copied", "v1"),
        ("net", "0.0", "copied", "0.0"),
        ("state", "v2", "copied", "v2"),
        ("state", "v3", "copied", "v3"),
        ("net", "1.0", "copied", "1.0"),
        ("elsewhere", "v0", "copied", "v0"),
    ]
    assert told == [(one.name, 7) for one in results.versions]
    plain = json.loads(json.dumps(results.to_dict()))
    assert plain["versions"][0]["digest"] == source.get_artifact("state", "v0").digest
    assert repr(results) == f"<CopyResults 7 versions copied ({results.moved_bytes} B)>"
    assert "state" in results._repr_html_()
    results.raise_for_errors()


def test_what_is_there_is_skipped_and_gets_the_names_that_it_has_now(source: Experiment) -> None:
    copy()
    source.get_artifact("state", "v3").add_alias("best")
    with Experiment("trials", artifacts=True) as exp:
        log(exp, "state", {"at": "the end"}, "checkpoint", aliases=["last"])
    results = copy()
    assert [one.outcome for one in results.versions] == ["skipped"] * 7 + ["copied"]
    assert told_of(there()) == told_of(source)
    assert there().get_artifact("state", "best").number == 3


def test_a_label_that_was_given_later_comes_over(source: Experiment) -> None:
    copy()
    with Experiment("trials", artifacts=True) as exp:
        again = exp.create_artifact("state", "checkpoint", "after a step").add_object({"at": [1, 1]}, "o")
        again.metadata.update(loss=float("nan"), at=1)
        exp.log_artifact(again, version="final")
    copy()
    assert there().get_artifact("state", "final").number == 3


def test_an_alias_that_is_a_label_there_stays_that_and_is_told(source: Experiment) -> None:
    with there(name="other").start() as exp:
        log(exp, "state", "theirs", "checkpoint", version="best")
    for outcome in ("copied", "skipped"):
        results = copy(to_experiment="other")
        assert results.ok
        assert (results.versions[0].outcome, results.versions[0].target) == (outcome, "v1")
        assert "it is not 'best' there" in results.versions[0].why
    assert there(name="other").get_artifact("state", "best").load_object("o") == "theirs"
    assert there(name="other").get_artifact("state", "last").number == 4


def test_another_label_there_stays_and_is_told(source: Experiment) -> None:
    copy(to_experiment="other")
    finder = there(name="other")._artifact_manager.finder
    stored = finder.request("scripted-inline", "find", name="state", ref="v0")
    finder.request("scripted-inline", "relabel", stored=stored, labels=Labels("theirs"))
    ours = source._artifact_manager.finder
    mine = ours.request("local", "find", name="state", ref="v0")
    ours.request("local", "relabel", stored=mine, labels=Labels("mine"))
    row = copy(to_experiment="other").versions[0]
    assert (row.outcome, row.target, row.why) == ("skipped", "theirs", "its label there is theirs")


def test_equal_content_under_two_labels_stays_two_versions(scripted: Scripted) -> None:
    with Experiment("trials", artifacts=True) as exp:
        log(exp, "net", 1, version="1.0")
        log(exp, "net", 1, version="1.1")
    assert [one.target for one in copy().versions] == ["1.0", "1.1"]


def test_only_what_is_named_comes_over(source: Experiment) -> None:
    results = tracelet.copy("trials", "net", "state@best", from_backend="local", to_backend="scripted")
    assert outcomes(results) == [
        ("state", "v0", "copied", "v0"),
        ("net", "0.0", "copied", "0.0"),
        ("net", "1.0", "copied", "1.0"),
    ]


def test_what_comes_late_says_that_it_is_behind_later_versions(source: Experiment) -> None:
    tracelet.copy("trials", "state@v2", from_backend="local", to_backend="scripted")
    results = copy()
    assert [(one.version, one.target, bool(one.why)) for one in results.versions if one.name == "state"] == [
        ("v0", "v1", True),
        ("v1", "v2", True),
        ("v2", "v0", False),
        ("v3", "v3", False),
    ]


def test_a_dry_run_says_what_would_come_over_and_copies_nothing(source: Experiment, scripted: Scripted) -> None:
    results = copy(dry_run=True)
    assert {one.outcome for one in results.versions} == {"copied"}
    assert "7 versions to copy" in repr(results)
    # The bytes of a large file are in the store already, which both sides read.
    assert results.moved_bytes == sum(one.size_bytes for one in source.list_artifacts("checkpoint"))
    assert there().list_artifacts() == []
    assert scripted.calls("put") == []
    copy()
    assert {one.outcome for one in copy(dry_run=True).versions} == {"skipped"}


def test_what_was_logged_to_both_places_is_there_already(experiment: Callable[..., Experiment]) -> None:
    exp = experiment("local", "scripted-inline", routing="all")
    log(exp, "net", 1)
    log(exp, "net", 2)
    assert {one.outcome for one in copy().versions} == {"skipped"}


def test_equal_content_in_that_place_of_the_order_is_there_already(scripted: Scripted) -> None:
    for backend in ("local", "scripted-inline"):
        with Experiment("trials", backend=backend, artifacts=True) as exp:
            log(exp, "net", 1)
            log(exp, "net", 2)
    assert outcomes(copy()) == [("net", "v0", "skipped", "v0"), ("net", "v1", "skipped", "v1")]


_DIGESTS = st.lists(st.sampled_from("abc"), max_size=6)


def _version(number: int, content: str, put: str) -> StoredArtifact:
    manifest = Manifest("net", ArtifactType.CUSTOM, put, 1.0, description=content)
    return StoredArtifact(manifest, number, "x")


def _of_both(ours: list[str], theirs: list[tuple[str, bool]]) -> tuple[list[StoredArtifact], list[StoredArtifact]]:
    """Versions of a source, and those of a target, some of which are copies of them."""
    source = [_version(number, content, f"p{number}") for number, content in enumerate(ours)]
    puts = iter(source)
    target = []
    for number, (content, copied) in enumerate(theirs):
        same = next((one for one in puts if one.manifest.description == content), None) if copied else None
        target.append(_version(number, content, same.manifest.put_id if same else f"q{number}"))
    return source, target


@example(["a", "b"], [("b", True), ("a", False)])
@given(_DIGESTS, st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=6))
def test_what_is_there_keeps_the_order_and_counts_once(ours: list[str], theirs: list[tuple[str, bool]]) -> None:
    source, target = _of_both(ours, theirs)
    steps = matched(source, target)
    assert [step.stored for step in steps] == source
    found = [step.there for step in steps if step.there is not None]
    assert [one.number for one in found] == sorted({one.number for one in found})
    assert all(step.there.manifest.digest == step.stored.manifest.digest for step in steps if step.there is not None)
    copied_before = {one.manifest.put_id for one in source} & {one.manifest.put_id for one in target}
    assert {step.stored.manifest.put_id for step in steps if step.there is not None} >= copied_before


@given(_DIGESTS, st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=6))
def test_what_was_there_is_the_same_next_time_and_all_else_is_there_by_then(
    ours: list[str], theirs: list[tuple[str, bool]]
) -> None:
    source, target = _of_both(ours, theirs)
    steps = matched(source, target)
    for step in steps:
        if step.there is None:
            manifest = step.stored.manifest
            target.append(_version(len(target), str(manifest.description), manifest.put_id))
    again = matched(source, target)
    assert all(step.there is not None for step in again)
    assert all(step.there in (None, later.there) for step, later in zip(steps, again, strict=True))


# -- lineage, models


def test_the_tracker_is_told_what_a_run_used_before_what_came_of_it(source: Experiment, scripted: Scripted) -> None:
    copy()
    calls = [line.split()[0] for line in (scripted.place / "calls").read_text().splitlines()]
    told = [call for call in calls if call in {"put", "record_input"}]
    assert told == ["put", "put", "record_input", "put", "put", "put", "record_input", "put", "put"]


def forms(scripted: Scripted) -> list[str]:
    """The tracker's own forms of models that were put."""
    return [path.read_text() for path in sorted(scripted.place.glob("*.form"))]


def logged_model(toys: ModuleType, **more: Any) -> None:
    with Experiment("trials", artifacts=True, **more) as exp:
        line = exp.create_artifact("line", "model").add_model(toys.Line(2.0), input_example={"x": [1]})
        exp.log_artifact(line)


def test_a_model_becomes_the_targets_own_kind(scripted: Scripted, toys: ModuleType) -> None:
    logged_model(toys)
    results = copy(to_backend="scripted-render")
    assert results.versions[0].why == ""
    assert forms(scripted) == ["Line toys line"]
    assert there().get_artifact("line").load_model() == toys.Line(2.0)


def test_the_form_that_the_source_has_is_taken_where_the_tracker_is_the_same(
    scripted: Scripted, toys: ModuleType, tmp_path: Path
) -> None:
    logged_model(toys)
    copy(to_backend="scripted-render")
    assert len(forms(scripted)) == 1
    other = tmp_path / "other-server"
    results = copy(from_backend="scripted-render", to_backend="scripted-render", to_set={"place": str(other)})
    assert results.ok
    assert forms(Scripted(other)) == ["given Line toys line"]


def test_a_form_that_is_lost_is_made_again(scripted: Scripted, toys: ModuleType, tmp_path: Path) -> None:
    logged_model(toys)
    copy(to_backend="scripted-render")
    other = tmp_path / "other-server"
    scripted.told(fetch_rendered="garbled")
    copy(from_backend="scripted-render", to_backend="scripted-render", to_set={"place": str(other)})
    assert forms(Scripted(other)) == ["Line toys line"]


def test_a_model_that_cannot_be_loaded_is_there_as_files(scripted: Scripted, toys: ModuleType) -> None:
    with Experiment("trials", artifacts=True) as exp:
        exp.log_artifact(exp.create_artifact("line", "model").add_model(toys.Line("broken")))
    results = copy(to_backend="scripted-render")
    assert results.ok
    assert "the model 'model' is there as files, for it cannot be loaded here" in results.versions[0].why


def test_a_model_whose_files_are_in_the_store_is_there_as_files(scripted: Scripted, toys: ModuleType) -> None:
    logged_model(toys, large_file_mb=1e-6)
    results = copy(to_backend="scripted-render")
    assert "its files are in the store" in results.versions[0].why


# -- what goes wrong


def damage(exp: Experiment, name: str, version: str) -> None:
    (file,) = exp.get_artifact(name, version).manifest.payload
    (blob,) = Path(".tracelet").rglob(str(file.sha256))
    blob.write_bytes(b"#" * file.size_bytes)


def test_a_damaged_version_is_named_and_the_others_come_over(source: Experiment) -> None:
    damage(source, "state", "v1")
    results = copy()
    assert not results.ok
    assert [one.outcome for one in results.versions] == ["copied", "failed", *["copied"] * 5]
    assert "the stored bytes were changed" in results.versions[1].why
    with pytest.raises(tracelet.IntegrityError):
        results.raise_for_errors()
    _, err = run_both("copy", "trials", "--from", "local", "--to", "scripted", code=1)
    assert "error: state v1: " in err


def test_a_damaged_manifest_is_told_and_the_others_come_over(source: Experiment) -> None:
    Path(".tracelet/local/trials/versions/state/v1.json").write_text("{")
    results = copy()
    assert len(results.versions) == 6
    assert "v1.json" in str(results.failed["local"])
    assert not results.ok
    assert "local: " in repr(results)
    assert "local: " in results._repr_html_()
    with pytest.raises(tracelet.IntegrityError):
        results.raise_for_errors()


def test_a_target_that_is_away_keeps_the_order_of_each_name(source: Experiment, scripted: Scripted) -> None:
    scripted.told(put="away")
    results = copy()
    assert {one.outcome for one in results.versions} == {"failed"}
    assert len(scripted.calls("put")) > 1  # it is tried again for a while
    assert "waits behind" in results.versions[1].why
    scripted.told()
    assert copy().ok
    assert told_of(there()) == told_of(source)


@pytest.mark.parametrize("method", ["record_input", "relabel"])
def test_what_else_is_asked_of_a_target_is_asked_again_while_it_is_away(
    source: Experiment, scripted: Scripted, method: str
) -> None:
    if method == "relabel":
        copy()
        source.get_artifact("net", "0.0").add_alias("later")
    scripted.told(**{method: "away"})
    assert not copy().ok
    assert len(scripted.calls(method)) > 1
    scripted.told()
    assert copy().ok
    assert told_of(there()) == told_of(source)


def test_a_target_that_stays_away_is_not_asked_for_each_name(scripted: Scripted) -> None:
    with Experiment("trials", artifacts=True) as exp:
        for name in "abcdef":
            log(exp, name, name)
    scripted.told(put="broken")
    results = copy()
    assert {one.outcome for one in results.versions} == {"failed"}
    assert len(scripted.calls("put")) == 3
    assert "waits behind" in results.versions[3].why


def test_a_backend_that_asks_to_wait_is_left_alone_and_then_gets_it(scripted: Scripted) -> None:
    with Experiment("trials", artifacts=True) as exp:
        log(exp, "net", 1)

    scripted.told(put="throttled 0.01")
    process = begin("copy", "trials", "--from", "local", "--to", "scripted")
    while len(scripted.calls("put")) < 2:
        assert process.poll() is None
    scripted.told()
    assert process.wait() == 0
    process.communicate()


def test_what_is_refused_for_good_does_not_stop_the_others(source: Experiment, scripted: Scripted) -> None:
    with Experiment("trials", backend="scripted-inline", artifacts=True) as exp:
        log(exp, "net", 1, "config")
    results = copy()
    failed = [one for one in results.versions if one.outcome == "failed"]
    assert [one.name for one in failed] == ["net", "net"]
    assert all("a name has one type" in one.why for one in failed)


def test_a_source_that_cannot_be_listed_is_an_error(scripted: Scripted) -> None:
    scripted.told(list="away")
    with pytest.raises(BackendUnavailable):
        tracelet.copy("trials", from_backend="scripted", to_backend="local", from_set=LIMITS)


def test_a_damaged_version_of_the_target_does_not_stop_it(source: Experiment) -> None:
    copy(to_backend="local", to_experiment="other")
    Path(".tracelet/local/other/versions/elsewhere/v0.json").write_text("{")
    results = copy(to_backend="local", to_experiment="other")
    assert [one.outcome for one in results.versions].count("skipped") == 6


def test_what_waits_is_not_copied_and_is_told(experiment: Callable[..., Experiment], scripted: Scripted) -> None:
    scripted.told(put="away")
    exp = experiment("scripted")
    log(exp, "net", 1)
    exp.stop()
    scripted.told()
    results = tracelet.copy("trials", from_backend="scripted", to_backend="local")
    assert not results.ok
    assert "`tracelet sync` sends it" in str(results.failed["outbox"])


def test_a_full_disk_is_told(source: Experiment) -> None:
    with full_disk():
        results = copy(to_backend="local", to_dir="other")
    assert not results.ok
    assert any("Free space there" in one.why for one in results.versions)
    assert copy(to_backend="local", to_dir="other").ok
    assert told_of(there("local", dir="other")) == told_of(source)


def test_a_target_directory_that_is_a_file_is_told(source: Experiment) -> None:
    write(Path("other"))
    results = copy(to_backend="scripted-inline", to_dir="other")
    assert isinstance(results.versions[0].error, ArtifactError)


def test_a_place_that_takes_no_folders_is_told(source: Experiment) -> None:
    results = copy(to_backend="local", to_dir="/proc/none")
    assert "cannot be made" in results.versions[0].why


def test_a_blob_that_is_no_file_is_named_and_the_target_is_not_blamed(source: Experiment) -> None:
    (reference,) = source.get_artifact("net", "0.0").references
    blob = Path(".tracelet", "objects", "sha256", str(reference.sha256)[:2], str(reference.sha256))
    blob.unlink()
    os.mkfifo(blob)
    failed = copy(to_backend="local", to_dir="other").versions[2]
    assert f"{blob.name} cannot be read: it is not a regular file" in failed.why


# -- a source that is not to be trusted


def changed(number: int, **fields: Any) -> None:
    """Have a version of `state` say something else of itself."""
    path = Path(f".tracelet/local/trials/versions/state/v{number}.json")
    path.write_text(attrs.evolve(Manifest.from_json(path.read_text()), **fields).to_json())


def test_other_content_that_claims_to_be_of_the_same_put_is_not_taken_for_it(source: Experiment) -> None:
    first, second = (source.get_artifact("state", f"v{number}").manifest for number in range(2))
    changed(1, put_id=first.put_id)
    for _ in range(2):
        results = copy(to_set={})
        row = results.versions[1]
        assert (row.version, row.outcome) == ("v1", "failed")
        assert "has the id of the same put" in row.why
    assert [one.digest for one in in_order(there()) if one.name == "state"].count(second.digest) == 0
    assert len(there().list_artifacts()) == 6


def test_equal_content_of_one_put_is_there_once(source: Experiment) -> None:
    first = source.get_artifact("state", "v0").manifest
    changed(1, **{field: getattr(first, field) for field in ("put_id", "objects", "metadata")})
    assert [one.target for one in copy().versions[:2]] == ["v0", "v0"]
    assert copy().ok


def test_what_names_in_the_staging_folder_say_of_processes_is_not_believed(source: Experiment, tmp_path: Path) -> None:
    put_id = source.get_artifact("state", "v0").manifest.put_id
    for owner in (
        "\u00b2~1~here",
        f"{os.getpid()}~~{socket.gethostname()}",
        "",
        "~~",
        f"{'9' * 50}~1~{socket.gethostname()}",
    ):
        Path("other", "staging", f"{put_id}~{owner}").mkdir(parents=True)
    assert copy(to_backend="local", to_dir="other").ok


# -- interrupted


def putting(scripted: Scripted) -> subprocess.Popen[str]:
    """A copy that is in the middle of a put."""
    scripted.told(put="held")
    process = begin("copy", "trials", "--from", "local", "--to", "scripted")
    while not scripted.calls("put"):
        assert process.poll() is None
    return process


def ended(process: subprocess.Popen[str], number: int) -> tuple[str, str]:
    process.send_signal(number)
    return process.communicate()


def test_a_killed_copy_goes_on_where_it_was_and_stores_nothing_twice(source: Experiment, scripted: Scripted) -> None:
    process = putting(scripted)
    ended(process, signal.SIGKILL)
    # What it has left at work would store the version once more, as soon as it is let go.
    scripted.told(start="held")
    again = begin("copy", "trials", "--from", "local", "--to", "scripted")
    while len(scripted.calls("start")) < 2:
        assert again.poll() is None
    scripted.told()
    again.communicate()
    assert again.returncode == 0
    assert told_of(there()) == told_of(source)


def test_an_interrupted_copy_says_so_and_goes_on_later(source: Experiment, scripted: Scripted) -> None:
    process = putting(scripted)
    _, err = ended(process, signal.SIGINT)
    assert process.returncode == 130
    assert err.endswith(
        "error: interrupted; the same command again skips what is there already, and brings the rest.\n"
    )
    scripted.told()
    assert copy().ok
    assert told_of(there()) == told_of(source)


def test_an_interruption_ends_what_is_being_fetched(source: Experiment, scripted: Scripted) -> None:
    copy()
    scripted.told(fetch="held")
    process = begin("copy", "trials", "--from", "scripted", "--to", "local", "--to-dir", "other")
    while not scripted.calls("fetch"):
        assert process.poll() is None
    ended(process, signal.SIGINT)
    assert process.returncode == 130
    assert list(Path("other", "staging").iterdir()) == []


def test_two_copies_of_one_process_store_nothing_twice(source: Experiment, scripted: Scripted) -> None:
    rows = []

    def told(done: CopiedVersion, count: int) -> None:
        if not rows:
            rows.extend(copy().versions)

    assert copy(told=told).ok
    assert "this process is storing it" in rows[1].why
    assert told_of(there()) == told_of(source)


def test_what_was_brought_and_not_stored_goes_with_an_interruption(source: Experiment) -> None:
    def told(done: CopiedVersion, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(to_backend="local", to_dir="other", told=told)
    assert list(Path("other", "staging").iterdir()) == []


def test_two_copies_at_once_store_nothing_twice(source: Experiment, scripted: Scripted) -> None:
    process = putting(scripted)
    row = copy().versions[0]
    assert row.outcome == "failed"
    assert f"process {process.pid} is storing it" in row.why
    scripted.told()
    process.communicate()
    assert process.returncode == 0
    assert copy().ok
    assert told_of(there()) == told_of(source)


# -- a directory that is carried


def test_a_carried_directory_has_all_that_belongs_to_it_and_names_no_other_place(
    source: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACELET_STORE", str(tmp_path / "shared"))
    assert tracelet.copy("trials", from_backend="local", to_backend="local", to_dir="bundle").ok
    told = told_of(source)
    named = str(tmp_path).encode()
    assert not [path for path in Path("bundle").rglob("*") if path.is_file() and named in path.read_bytes()]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("bundle").rename(elsewhere / "carried")
    shutil.rmtree(".tracelet")
    monkeypatch.chdir(elsewhere)
    results = tracelet.copy("trials", from_backend="local", to_backend="local", dir="carried", to_dir="mine")
    assert results.ok
    assert told_of(there("local", dir="mine")) == told
    monkeypatch.delenv("TRACELET_STORE")
    got = there("local", dir="mine").get_artifact("net", "1.0").download("got")
    assert (got / "weights.bin").read_bytes() == b"\x01" * 3000
    assert there("local", dir="carried").get_artifact("net", "0.0").verify().ok


def test_an_outbox_that_waits_can_be_carried_and_sent_elsewhere(
    experiment: Callable[..., Experiment], scripted: Scripted, tmp_path: Path
) -> None:
    scripted.told(put="away")
    exp = experiment("scripted")
    log(exp, "net", {"layers": 2})
    exp.stop()
    scripted.told()
    Path(".tracelet").rename(tmp_path / "carried")
    run("sync", "--dir", str(tmp_path / "carried"))
    assert there().get_artifact("net").load_object("o") == {"layers": 2}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_another_user_can_read_what_was_carried(source: Experiment, tmp_path: Path) -> None:
    tracelet.copy("trials", from_backend="local", to_backend="local", to_dir="bundle")
    place = Path("/var/tmp") / f"carried-{os.getpid()}"
    try:
        shutil.copytree("bundle", place / "bundle")
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        program = (
            # What is imported first may lie where only root can read it.
            "import os, tracelet; os.chdir('%s'); sides = {'from_backend': 'local', 'to_backend': 'local'}\n"
            "tracelet.copy('trials', **sides, dir='bundle', to_dir='warm')\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "print(tracelet.copy('trials', **sides, dir='bundle', to_dir='own').ok)"
        )
        told = subprocess.run(
            [sys.executable, "-c", program % place], capture_output=True, text=True, check=True, cwd="/"
        )
        assert told.stdout == "True\n"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_large_files_are_uploaded_where_the_target_is_to_have_all_bytes(source: Experiment) -> None:
    results = copy(to_set=LIMITS | {"on_large": "upload"})
    assert results.ok
    artifact = there().get_artifact("net", "1.0")
    assert [file.artifact_path for file in artifact.files] == ["weights.bin"]
    assert artifact.digest == source.get_artifact("net", "1.0").digest


def test_a_file_that_is_large_for_the_target_goes_to_its_store(source: Experiment) -> None:
    copy(to_set=LIMITS | {"on_large": "upload"})
    back = tracelet.copy(
        "trials",
        from_backend="scripted",
        to_backend="local",
        to_dir="other",
        to_set={"large_file_mb": "0.001"},
    )
    assert back.ok
    (reference,) = there("local", dir="other").get_artifact("net", "1.0").references
    assert reference.uri.startswith("objects/sha256/")
    assert told_of(there("local", dir="other")) == told_of(source)


def test_a_reference_that_was_asked_for_stays_one(scripted: Scripted, tmp_path: Path) -> None:
    write(Path("small"), b"small")
    with Experiment("trials", artifacts=True) as exp:
        for name, force in (("always", True), ("never", False)):
            artifact = exp.create_artifact(name, "dataset").add_file("small")
            artifact.metadata["force_reference"] = force
            exp.log_artifact(artifact)
    store = {"store": str(tmp_path / "shared"), "large_file_mb": "0.000001"}
    copy(to_set=LIMITS | store)
    assert len(there().get_artifact("always").references) == 1
    assert there().get_artifact("never").references == []


# -- how the sides are said


def test_another_server_of_the_same_tracker_has_settings_of_its_own(source: Experiment, tmp_path: Path) -> None:
    copy()
    other = {"place": str(tmp_path / "other-server")}
    results = tracelet.copy("trials", from_backend="scripted", to_backend="scripted", to_set=other)
    assert {one.outcome for one in results.versions} == {"copied"}
    back = tracelet.copy("trials", from_backend="scripted", to_backend="local", to_dir="d", from_set=other)
    assert back.ok
    assert told_of(there("local", dir="d")) == told_of(source)


def test_a_variable_of_the_sdk_can_be_for_one_side_alone(source: Experiment, tmp_path: Path) -> None:
    results = copy(to_set=LIMITS | {"SCRIPTED_SDK_QUIET": "0"})
    assert results.ok
    with pytest.raises(ConfigError, match="SCRIPTED_SDK_QUIET cannot be set for local alone"):
        tracelet.copy("trials", from_backend="scripted", to_backend="local", to_set={"SCRIPTED_SDK_QUIET": "0"})


def test_one_place_is_not_both_sides(source: Experiment) -> None:
    with pytest.raises(ConfigError, match="both source and target"):
        copy(to_backend="local")
    with pytest.raises(ConfigError, match="both source and target"):
        copy(from_backend="scripted", to_set={})
    assert copy(to_backend="local", to_experiment="other").ok


@pytest.mark.parametrize("place", ["objects", "local", "staging/new", "../link/downloads"])
def test_a_target_inside_of_the_source_is_refused(source: Experiment, place: str) -> None:
    Path("link").symlink_to(".tracelet")
    with pytest.raises(ConfigError, match="give a place outside of it"):
        copy(to_backend="local", to_dir=Path(".tracelet", place))


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 129])
def test_an_experiment_has_a_name_that_can_be_asked_for(source: Experiment, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 128 printable characters"):
        copy(to_backend="local", to_experiment=name)


def test_an_empty_path_is_no_directory(source: Experiment) -> None:
    with pytest.raises(ArtifactError, match="is no path"):
        copy(to_backend="local", to_dir="")


def test_a_setting_that_is_none_names_the_nearest(source: Experiment) -> None:
    with pytest.raises(ConfigError, match="scripted has no setting 'plcae': did you mean 'place'"):
        copy(to_set={"plcae": "x"})
    with pytest.raises(ConfigError, match=r"it has .*deadline"):
        copy(to_set={"qqqqqq": "x"})
    with pytest.raises(ConfigError, match="TRACELET_DEADLINE='soon' is not a number"):
        copy(to_set={"deadline": "soon"})


def test_what_is_not_there_is_told_with_the_nearest(source: Experiment) -> None:
    with pytest.raises(UnknownPlugin, match="Did you mean 'scripted'"):
        copy(to_backend="scriptd")
    with pytest.raises(ArtifactNotFound, match="did you mean 'state'"):
        tracelet.copy("trials", "stat", from_backend="local", to_backend="scripted")
    with pytest.raises(ArtifactNotFound, match="no 'net' v9"):
        tracelet.copy("trials", "net@v9", from_backend="local", to_backend="scripted")
    with pytest.raises(ArtifactError):
        tracelet.copy("trials", "../x", from_backend="local", to_backend="scripted")


# -- the command


def test_the_command_shows_what_became_of_each_version(source: Experiment) -> None:
    arguments = ("copy", "trials", "--from", "local", "--to", "scripted")
    dry = run(*arguments, "--dry-run")
    assert "to copy  state      v0" in dry
    assert "7 versions to copy" in dry
    done = run(*arguments)
    assert "copied  net        1.0      1.0" in done
    told = run_json(*arguments)
    assert {one["outcome"] for one in told["versions"]} == {"skipped"}
    assert (told["experiment"], told["failed"], told["dry_run"]) == ("trials", {}, False)


def test_the_command_says_where_it_has_found_nothing(home: Path, scripted: Scripted) -> None:
    out, err = run_both("copy", "nothing", "--from", "local", "--to", "scripted")
    assert "0 versions copied" in out
    assert "nothing is stored in experiment 'nothing' of local" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "local"), "Missing option '--to'"),
        (("--to", "local"), "Missing option '--from'"),
        (("--from", "local", "--to", "scripted", "--to-set", "place"), "give KEY=VALUE"),
        (("--from", "local", "--to", "scripted", "--to-set", "place=a", "--to-set", "place=b"), "is given twice"),
        (("--from", "local", "--to", "local"), "both source and target"),
        (("--from", "local", "--to", "scripted", "--to-dir", "-"), "no stream"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: Experiment, arguments: tuple[str, ...], said: str) -> None:
    assert said in run("copy", "trials", *arguments, code=2)
