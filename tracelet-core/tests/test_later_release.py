"""What a later release wrote into the tracelet directory: nothing of it is lost, deleted or called damaged, and the rest goes on."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commanding import OLD, age, leave_drafts, run, run_json
from making import write

from tracelet import ArtifactType, Experiment, NewerFormat, TraceletArtifact
from tracelet.core.capture.journal import Head, Journal, Kept
from tracelet.core.delivery.drafts import seal_draft
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.puts import note_put, read_put
from tracelet.core.delivery.uses import Use, Uses
from tracelet.core.plugins.detector import Detection
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.system import saves as claims
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import BackendUnavailable
from tracelet.plugin import Manifest, announce_save, share, unshare

DEAD = ProcessId(current().host, 2**22 + 1, "1")
RUN = RunInfo("run", "trials", 1.0)
UPGRADE = "was written by a later Tracelet"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracelet directory with two drafts of a killed process."""
    return leave_drafts(tmp_path_factory.mktemp("killed"), first="content", second="content")


@pytest.fixture
def directory(left: Path, home: Path) -> Path:
    return Path(shutil.copytree(left, home / ".tracelet"))


def draft(directory: Path) -> Path:
    return next((directory / "outbox" / "trials" / "~drafts").glob("*~first.json"))


def delivery(directory: Path) -> Path:
    outbox = Outbox(directory)
    for path in outbox.drafts.files():
        assert [*seal_draft(path, outbox, outbox.store, None)]
    return next((directory / "outbox" / "trials" / "local").glob("*~first.json"))


def change(path: Path, **changes: Any) -> bytes:
    """Write a record as another release does; None takes a field away. Return its bytes."""
    plain = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in plain.items() if value is not None}))
    return path.read_bytes()


def journal(directory: Path) -> Path:
    """The journal of a dead process that captured one file."""
    folder = directory / "staging" / f"abc~{DEAD.pid}~{DEAD.started}~{DEAD.host}"
    head = Head(owner=DEAD, run=RUN, backends=["local"], routing="by-type", folder=folder)
    notes = Journal.begun(directory, head)
    notes.open()
    notes.kept(Kept(0, "/data/seen.txt", Detection(path=Path("/data/seen.txt"), name="seen")))
    notes.let_go()
    write(folder / "0", "captured")
    return next((directory / "captured" / "trials").glob("*.jsonl"))


def change_head(path: Path, **changes: Any) -> None:
    first, _, rest = path.read_text().partition("\n")
    plain = {key: value for key, value in (json.loads(first) | changes).items() if value is not None}
    path.write_text(f"{json.dumps(plain)}\n{rest}")


def put(directory: Path) -> Path:
    """The note of a put of a dead process, with its lease gone."""
    manifest = Manifest("third", ArtifactType.CONFIG, "put3", 1.0)
    parcel = Parcel("local", RUN, Labels(), {}, manifest, 1.0, order=1)
    path = note_put(directory, {"local": parcel})
    change(path, owner={"host": DEAD.host, "pid": DEAD.pid, "started": DEAD.started})
    return path


def stored() -> list[str]:
    return sorted(one.name for one in Experiment("trials", artifacts=True).list_artifacts())


@pytest.mark.parametrize("kind", [draft, delivery, journal, put])
def test_what_waits_of_a_later_release_waits_on_and_says_to_upgrade(
    directory: Path, kind: Callable[[Path], Path]
) -> None:
    path = kind(directory)
    if kind is journal:
        change_head(path, schema=2)
    else:
        change(path, schema=2)
    before = path.read_bytes()
    told = run_json("sync", code=1)
    assert [one["reason"] for one in told["left"] if str(path) in one["reason"] and "upgrade" in one["reason"]]
    assert {one["name"] for one in told["delivered"]} >= {"second"}
    (check,) = [one for one in run_json("doctor", code=1)["checks"] if one["subject"] == "newer"]
    assert UPGRADE in check["detail"]
    assert "upgrade tracelet" in check["advice"]
    assert "delete" not in check["advice"]
    with Experiment("trials", artifacts=True):
        pass
    assert path.read_bytes() == before
    assert "first" not in stored() or kind in {journal, put}


@pytest.mark.parametrize("kind", [draft, delivery, journal, put])
def test_gc_keeps_what_a_later_release_may_need(directory: Path, kind: Callable[[Path], Path]) -> None:
    path = kind(directory)
    change_head(path, schema=2) if kind is journal else change(path, schema=2)
    orphan = write(directory / "staging" / f"orphan~{DEAD.pid}~{DEAD.started}~{DEAD.host}" / "0")
    age(directory)
    before = {path: path.read_bytes() for path in (directory / "staging").rglob("*") if path.is_file()}
    before |= {path: path.read_bytes() for path in (directory / "objects").rglob("*") if path.is_file()}
    told = run_json("gc", code=1)
    assert [why for why in told["failed"].values() if "upgrade tracelet" in why]
    kept = {path: path.read_bytes() for path in before if path.exists()}
    assert kept == before or (kind is delivery and set(before) - set(kept) == {orphan})


def within_manifest(path: Path, **changes: Any) -> None:
    """Give the manifest of a delivery, a draft or a put fields that it has in a backend alone."""
    plain = json.loads(path.read_text())
    (holder,) = [one for one in (plain, plain.get("draft"), plain.get("parcel")) if one and "manifest" in one]
    holder["manifest"] |= changes
    path.write_text(json.dumps(plain, indent=1))


@pytest.mark.parametrize("kind", [draft, delivery, put])
def test_a_delivery_whose_manifest_alone_is_of_a_later_release_waits_on(
    directory: Path, kind: Callable[[Path], Path]
) -> None:
    path = kind(directory)
    within_manifest(path, schema=2)
    before = path.read_bytes()
    orphan = write(directory / "staging" / f"orphan~{DEAD.pid}~{DEAD.started}~{DEAD.host}" / "0")
    told = run_json("sync", code=1)
    assert [one["reason"] for one in told["left"] if str(path) in one["reason"] and "upgrade" in one["reason"]]
    age(directory)
    assert "upgrade tracelet" in run_json("gc", code=1)["failed"]["blobs"]
    assert path.read_bytes() == before
    assert orphan.exists() == (kind is not delivery)


def test_what_a_later_release_says_of_a_put_is_in_each_delivery_that_it_becomes(directory: Path) -> None:
    path = put(directory)
    plain = json.loads(path.read_text())
    plain["parcel"]["run"]["user"] = plain["parcel"]["colour"] = "red"
    plain["targets"] = {"local": {}, "archive": {}}
    path.write_text(json.dumps(plain))
    for parcel in read_put(path).parcels:
        Outbox(directory).add(SealedArtifact(parcel.manifest, {}), parcel)
        (file,) = (directory / "outbox" / "trials" / parcel.backend).glob("*~third.json")
        noted = json.loads(file.read_text())
        assert (noted["schema"], noted["colour"], noted["run"]["user"]) == (1, "red", "red")


def test_what_a_later_release_says_of_the_run_and_the_labels_of_a_draft_is_in_its_delivery(directory: Path) -> None:
    path = draft(directory)
    plain = json.loads(path.read_text())
    change(path, run=plain["run"] | {"user": "ada"}, labels=plain["labels"] | {"stage": "test"})
    noted = json.loads(delivery(directory).read_text())
    assert (noted["run"]["user"], noted["labels"]["stage"]) == ("ada", "test")


@pytest.mark.parametrize("kind", [draft, delivery])
def test_a_manifest_that_bears_a_digest_before_it_is_stored_is_stored_with_its_own(
    directory: Path, kind: Callable[[Path], Path]
) -> None:
    within_manifest(kind(directory), schema=1, digest="0" * 64)
    run("sync")
    assert stored() == ["first", "second"]


def test_a_journal_whose_every_line_is_new_says_to_upgrade(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = journal(directory)
    path.write_text('{"schema": 2, "by": "somebody"}\n\n{"schema": 2, "seen": []}\n')
    (check,) = [one for one in run_json("doctor", code=1)["checks"] if one["subject"] == "newer"]
    assert str(path) in check["advice"]
    assert UPGRADE in caplog.text
    assert "whose captures" not in caplog.text


def test_gc_keeps_the_snapshots_of_a_journal_with_a_line_of_a_later_release(directory: Path) -> None:
    path = journal(directory)
    with path.open("a") as stream:
        stream.write('\n{"schema": 2, "seen": []}\n')
    age(directory)
    snapshots = [*(directory / "staging").rglob("0")]
    assert "upgrade tracelet" in run_json("gc", code=1)["failed"]["staging folders"]
    assert [*(directory / "staging").rglob("0")] == snapshots


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
@pytest.mark.parametrize("place", ["puts/trials/1~put~thing.json", "captured/trials/1~abc.jsonl"])
def test_a_pipe_where_a_record_belongs_keeps_nobody_waiting(home: Path, place: str) -> None:
    pipe = home / ".tracelet" / place
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    run("doctor")
    run("sync")
    run("gc")


def test_the_log_tells_of_it_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(delivery(directory), schema=2)
    outbox = Outbox(directory)
    (key, _) = outbox.waiting("trials", "local")
    assert outbox.load("trials", "local", key) is None
    assert outbox.load("trials", "local", key) is None
    assert caplog.text.count(UPGRADE) == 1


def test_what_an_earlier_release_wrote_has_no_schema_and_is_delivered(directory: Path) -> None:
    captured = journal(directory)
    change_head(captured, schema=None)
    change(draft(directory), schema=None)
    run("sync")
    assert stored() == ["first", "second", "seen"]


def test_a_field_that_a_later_release_added_stays_in_a_delivery_that_failed(directory: Path) -> None:
    path = delivery(directory)
    change(path, colour="red", run={"id": "run", "experiment": "trials", "started_at": 1.0, "user": "ada"})
    outbox = Outbox(directory)
    parcel = outbox.load("trials", "local", path.stem)
    assert parcel is not None
    outbox.failed(parcel, BackendUnavailable("away"), final=False)
    noted = json.loads(path.read_text())
    assert (noted["colour"], noted["run"]["user"], noted["attempts"], noted["error"]) == ("red", "ada", 1, "away")
    parcel = outbox.load("trials", "local", path.stem)
    assert parcel is not None
    outbox.failed(parcel, BackendUnavailable("never"), final=True)
    noted = json.loads(outbox.refusal(parcel).read_text())
    assert (noted["colour"], noted["attempts"], noted["error"]) == ("red", 2, "never")


def test_a_delivery_whose_file_was_damaged_meanwhile_is_noted_anew(directory: Path) -> None:
    path = delivery(directory)
    outbox = Outbox(directory)
    parcel = outbox.load("trials", "local", path.stem)
    assert parcel is not None
    for rubbish in ("[]", "{"):
        path.write_text(rubbish)
        outbox.failed(parcel, BackendUnavailable("away"), final=False)
        assert outbox.load("trials", "local", path.stem) is not None


def test_a_lease_of_a_later_release_is_somebodys_for_a_day(directory: Path) -> None:
    path = delivery(directory)
    outbox = Outbox(directory)
    parcel = outbox.load("trials", "local", path.stem)
    assert parcel is not None
    assert outbox.take(parcel, [DEAD], 60)
    change(path.with_suffix(".lease"), schema=2)
    assert not outbox.take(parcel, [current()], 60)
    os.utime(path.with_suffix(".lease"), (OLD, OLD))
    assert outbox.take(parcel, [current()], 60)


def test_a_use_of_a_later_release_waits_and_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uses = Uses(tmp_path)
    uses.add(Use("local", RUN, "thing", "v0", "0" * 64))
    (path,) = (tmp_path / "uses").rglob("*.json")
    assert len(uses.everything()) == 1
    change(path, schema=2)
    assert uses.everything() == []
    assert path.exists()
    assert UPGRADE in caplog.text
    assert str(path) in caplog.text
    change(path, schema=None)
    assert len(uses.everything()) == 1, "an earlier release wrote none"


def test_a_claim_of_a_later_release_is_passed_over(tmp_path: Path) -> None:
    file = announce_save(tmp_path / "claims", [tmp_path / "a"])
    share(tmp_path / "claims", os.getpid())
    try:
        assert claims.being_saved(tmp_path / "a")
        change(file, schema=2)
        assert not claims.being_saved(tmp_path / "a")
    finally:
        unshare(tmp_path / "claims")


# -- the catalogue of `local`


@pytest.fixture
def two_versions(home: Path) -> Path:
    with Experiment("trials", artifacts=True) as exp:
        for text in ("one", "two"):
            exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"text": text}, "text"))
    return home / ".tracelet" / "local"


def test_a_version_of_a_later_release_does_not_hide_the_others_and_is_not_called_damaged(two_versions: Path) -> None:
    path = two_versions / "trials" / "versions" / "thing" / "v1.json"
    before = change(path, schema=2)
    exp = Experiment("trials", artifacts=True)
    with pytest.raises(NewerFormat, match="upgrade tracelet") as raised:
        exp.get_artifact("thing", "v1")
    assert str(path) in str(raised.value)
    assert "delete it" not in str(raised.value)
    assert exp.get_artifact("thing", "v0").load_object("text") == {"text": "one"}
    assert "thing" in run("ls", "trials", code=1)
    with exp:
        results = exp.log_artifact(TraceletArtifact("thing", ArtifactType.CONFIG).add_object({"text": "three"}, "text"))
    assert results["local"].version == "v2"
    assert path.read_bytes() == before


def test_gc_keeps_the_bytes_of_a_version_of_a_later_release(
    two_versions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(two_versions / "trials" / "versions" / "thing" / "v1.json", schema=2)
    age(two_versions)
    blobs = sorted((two_versions / "blobs").rglob("*"))
    with caplog.at_level(logging.WARNING):
        run("gc")
    assert sorted((two_versions / "blobs").rglob("*")) == blobs
    assert "bytes are kept that may be garbage" in caplog.text


@pytest.mark.parametrize("asked", ["find", "list", "log", "gc"])
def test_a_catalogue_of_a_later_release_is_left_as_it_is(
    two_versions: Path, asked: str, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue = two_versions / "trials" / "catalogue.json"
    assert json.loads(catalogue.read_text()) == {"schema": 1, "experiment": "trials"}
    change(catalogue, schema=2)
    age(two_versions)
    before = {path: path.read_bytes() for path in two_versions.rglob("*") if path.is_file()}
    exp = Experiment("trials", artifacts=True)
    if asked == "find":
        with pytest.raises(NewerFormat, match="upgrade tracelet"):
            exp.get_artifact("thing")
    elif asked == "list":
        with pytest.raises(NewerFormat, match="upgrade tracelet"):
            exp.list_artifacts()
    elif asked == "log":
        with exp:
            results = exp.log_artifact(TraceletArtifact("other", ArtifactType.CONFIG).add_object(1, "one"))
        assert "upgrade tracelet" in str(results.queued["local"])
    else:
        run("gc")
        assert "bytes are kept that may be garbage" in caplog.text
    assert {path: path.read_bytes() for path in two_versions.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", [None, "", "[1]", "{", '{"schema": "x"}'])
def test_a_catalogue_that_lost_its_schema_is_one_of_the_first(two_versions: Path, text: str | None) -> None:
    catalogue = two_versions / "trials" / "catalogue.json"
    catalogue.unlink() if text is None else catalogue.write_text(text)
    assert len(Experiment("trials", artifacts=True).list_artifacts()) == 2
